//! Formulas as types: one description of what is computed, and of how it is recognised.
//!
//! A formula's arithmetic is compiled for each kind of [`Lanes`]; its [`Token`]s are those of the
//! instructions that say the same.

use std::marker::PhantomData;

use super::lanes::Lanes;

/// Sums that are taken together.
pub(crate) const PRODUCTS: usize = 3;

/// A step of a formula, after those of its arguments. Inputs are numbered in the order in which they
/// come first, scalars in that in which they come: each is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    Input(usize),
    Scalar(usize),
    Plus,
    Minus,
    Times,
    Root,
    Signed,
    Squared,
    Trimmed,
    /// Of two; a sign is elected by how many have it.
    CountedVote,
    /// Of two; a sign is elected by that of their sum.
    Vote,
    Norm,
    Dot,
}

/// What is computed of `N` inputs and `S` scalars, each step of it rounded.
pub(crate) trait Formula<const N: usize, const S: usize> {
    /// The inputs, as bits, that a result tells of: where one is not finite, the result is not.
    const SHOWN: u32;
    fn apply<L: Lanes>(inputs: &[L; N], scalars: &[L; S]) -> L;
    fn describe(tokens: &mut Vec<Token>);
}

/// An input.
pub(crate) struct In<const I: usize>;
/// A scalar.
pub(crate) struct Of<const I: usize>;
/// `x + y`.
pub(crate) struct Plus<X, Y>(PhantomData<(X, Y)>);
/// `x - y`.
pub(crate) struct Minus<X, Y>(PhantomData<(X, Y)>);
/// `x * y`.
pub(crate) struct Times<X, Y>(PhantomData<(X, Y)>);
/// The magnitude of x with the sign of y.
pub(crate) struct Signed<X, Y>(PhantomData<(X, Y)>);
/// The square root.
pub(crate) struct Root<X>(PhantomData<X>);
/// `x * x`.
pub(crate) struct Squared<X>(PhantomData<X>);

impl<const I: usize, const N: usize, const S: usize> Formula<N, S> for In<I> {
    const SHOWN: u32 = 1 << I;

    #[inline(always)]
    fn apply<L: Lanes>(inputs: &[L; N], _: &[L; S]) -> L {
        inputs[I]
    }

    fn describe(tokens: &mut Vec<Token>) {
        tokens.push(Token::Input(I));
    }
}

impl<const I: usize, const N: usize, const S: usize> Formula<N, S> for Of<I> {
    const SHOWN: u32 = 0;

    #[inline(always)]
    fn apply<L: Lanes>(_: &[L; N], scalars: &[L; S]) -> L {
        scalars[I]
    }

    fn describe(tokens: &mut Vec<Token>) {
        tokens.push(Token::Scalar(I));
    }
}

macro_rules! two {
    ($($name:ident $step:ident $second:expr;)*) => {$(
        impl<X, Y, const N: usize, const S: usize> Formula<N, S> for $name<X, Y>
        where
            X: Formula<N, S>,
            Y: Formula<N, S>,
        {
            const SHOWN: u32 = X::SHOWN | if $second { Y::SHOWN } else { 0 };

            #[inline(always)]
            fn apply<L: Lanes>(inputs: &[L; N], scalars: &[L; S]) -> L {
                X::apply(inputs, scalars).$step(Y::apply(inputs, scalars))
            }

            fn describe(tokens: &mut Vec<Token>) {
                X::describe(tokens);
                Y::describe(tokens);
                tokens.push(Token::$name);
            }
        }
    )*};
}

// Of the second number of the last, only the sign is left.
two! { Plus add true; Minus subtract true; Times multiply true; Signed signed false; }

impl<X: Formula<N, S>, const N: usize, const S: usize> Formula<N, S> for Root<X> {
    const SHOWN: u32 = X::SHOWN;

    #[inline(always)]
    fn apply<L: Lanes>(inputs: &[L; N], scalars: &[L; S]) -> L {
        X::apply(inputs, scalars).root()
    }

    fn describe(tokens: &mut Vec<Token>) {
        X::describe(tokens);
        tokens.push(Token::Root);
    }
}

impl<X: Formula<N, S>, const N: usize, const S: usize> Formula<N, S> for Squared<X> {
    const SHOWN: u32 = X::SHOWN;

    #[inline(always)]
    fn apply<L: Lanes>(inputs: &[L; N], scalars: &[L; S]) -> L {
        let x = X::apply(inputs, scalars);
        x.multiply(x)
    }

    fn describe(tokens: &mut Vec<Token>) {
        X::describe(tokens);
        tokens.push(Token::Squared);
    }
}

/// What is kept of a change, by a least magnitude, times a factor: scalars.
pub(crate) struct Trimmed<X, const LEAST: usize, const FACTOR: usize>(PhantomData<X>);
/// What two numbers vote for, with weights: scalars.
pub(crate) struct Voted<X, Y, const S: usize, const T: usize, const COUNTED: bool>(
    PhantomData<(X, Y)>,
);

impl<X, const LEAST: usize, const FACTOR: usize, const N: usize, const S: usize> Formula<N, S>
    for Trimmed<X, LEAST, FACTOR>
where
    X: Formula<N, S>,
{
    const SHOWN: u32 = 0;

    #[inline(always)]
    fn apply<L: Lanes>(inputs: &[L; N], scalars: &[L; S]) -> L {
        X::apply(inputs, scalars).trimmed(scalars[LEAST], scalars[FACTOR])
    }

    fn describe(tokens: &mut Vec<Token>) {
        X::describe(tokens);
        tokens.extend([Token::Scalar(LEAST), Token::Scalar(FACTOR), Token::Trimmed]);
    }
}

impl<X, Y, const A: usize, const B: usize, const COUNTED: bool, const N: usize, const S: usize>
    Formula<N, S> for Voted<X, Y, A, B, COUNTED>
where
    X: Formula<N, S>,
    Y: Formula<N, S>,
{
    const SHOWN: u32 = 0;

    #[inline(always)]
    fn apply<L: Lanes>(inputs: &[L; N], scalars: &[L; S]) -> L {
        let values = [X::apply(inputs, scalars), Y::apply(inputs, scalars)];
        L::vote::<COUNTED>(values, [scalars[A], scalars[B]])
    }

    fn describe(tokens: &mut Vec<Token>) {
        X::describe(tokens);
        Y::describe(tokens);
        let vote = if COUNTED { Token::CountedVote } else { Token::Vote };
        tokens.extend([Token::Scalar(A), Token::Scalar(B), vote]);
    }
}

/// `x * s` and what trimmed changes from x vote for.
pub(crate) type SumOfVote<const COUNTED: bool> = Plus<
    Scaled<In<0>, 0>,
    Scaled<Voted<Trimmed<Change<1, 0>, 1, 2>, Trimmed<Change<2, 0>, 3, 4>, 5, 6, COUNTED>, 7>,
>;
/// A number times a scalar.
pub(crate) type Scaled<X, const I: usize> = Times<X, Of<I>>;
/// `x * s + y * t`.
pub(crate) type Sum = Plus<Scaled<In<0>, 0>, Scaled<In<1>, 1>>;
/// An input without another.
pub(crate) type Change<const X: usize, const Y: usize> = Minus<In<X>, In<Y>>;
/// `x * s + (y - z) * t`.
pub(crate) type SumOfChange = Plus<Scaled<In<0>, 0>, Scaled<Change<1, 2>, 1>>;
/// `x + ((y - x) * s + (z - x) * t)`.
pub(crate) type SumOfChanges = Plus<In<0>, Plus<Scaled<Change<1, 0>, 0>, Scaled<Change<2, 0>, 1>>>;
/// `x * s + sqrt(((y - x) * t)^2 + ((z - x) * u)^2) * w`, the root with the sign of
/// `y * v + z * v' - x`.
pub(crate) type SumOfSides = Plus<
    Scaled<In<0>, 0>,
    Scaled<
        Signed<
            Root<Plus<Squared<Scaled<Change<1, 0>, 1>>, Squared<Scaled<Change<2, 0>, 2>>>>,
            Minus<Plus<Scaled<In<1>, 3>, Scaled<In<2>, 4>>, In<0>>,
        >,
        5,
    >,
>;

/// Pairs of factors, whose products are summed.
pub(crate) trait Products<const N: usize, const S: usize> {
    /// The inputs, as bits, that the sums tell of: where one is not finite, not all sums are.
    const SHOWN: u32;
    fn factors<L: Lanes>(inputs: &[L; N], scalars: &[L; S]) -> [[L; 2]; PRODUCTS];
    /// The tokens of each sum, one after the other.
    fn describe(tokens: &mut Vec<Token>);
}

/// Two norms and the dot product of two numbers.
pub(crate) struct Angle<X, Y>(PhantomData<(X, Y)>);
/// Three norms.
pub(crate) struct Norms<X, Y, Z>(PhantomData<(X, Y, Z)>);

impl<X, Y, const N: usize, const S: usize> Products<N, S> for Angle<X, Y>
where
    X: Formula<N, S>,
    Y: Formula<N, S>,
{
    const SHOWN: u32 = X::SHOWN | Y::SHOWN;

    #[inline(always)]
    fn factors<L: Lanes>(inputs: &[L; N], scalars: &[L; S]) -> [[L; 2]; PRODUCTS] {
        let (x, y) = (X::apply(inputs, scalars), Y::apply(inputs, scalars));
        [[x, x], [y, y], [x, y]]
    }

    fn describe(tokens: &mut Vec<Token>) {
        X::describe(tokens);
        tokens.push(Token::Norm);
        Y::describe(tokens);
        tokens.push(Token::Norm);
        X::describe(tokens);
        Y::describe(tokens);
        tokens.push(Token::Dot);
    }
}

impl<X, Y, Z, const N: usize, const S: usize> Products<N, S> for Norms<X, Y, Z>
where
    X: Formula<N, S>,
    Y: Formula<N, S>,
    Z: Formula<N, S>,
{
    const SHOWN: u32 = X::SHOWN | Y::SHOWN | Z::SHOWN;

    #[inline(always)]
    fn factors<L: Lanes>(inputs: &[L; N], scalars: &[L; S]) -> [[L; 2]; PRODUCTS] {
        let x = X::apply(inputs, scalars);
        let y = Y::apply(inputs, scalars);
        let z = Z::apply(inputs, scalars);
        [[x, x], [y, y], [z, z]]
    }

    fn describe(tokens: &mut Vec<Token>) {
        X::describe(tokens);
        tokens.push(Token::Norm);
        Y::describe(tokens);
        tokens.push(Token::Norm);
        Z::describe(tokens);
        tokens.push(Token::Norm);
    }
}

/// Of two inputs.
pub(crate) type InputAngle = Angle<In<0>, In<1>>;
/// Of what two inputs have beyond another.
pub(crate) type ChangeAngle = Angle<Change<0, 1>, Change<2, 1>>;
/// Of the sides of a triangle and of what lies between them.
pub(crate) type SideNorms =
    Norms<Change<0, 1>, Change<2, 1>, Minus<Plus<Scaled<In<0>, 0>, Scaled<In<2>, 1>>, In<1>>>;
