//! The commonest merges straight from the inputs' bytes to the output's, or to the sums that a pass
//! collects.
//!
//! The general way leaves each step's block in memory for the next one; here a number stays in the
//! processor's registers from beginning to end, with the same roundings, and sums are added up in the
//! same order.

use super::frame::{Encoding, Frame};
use super::tree::Tree;
use super::view::View;
use crate::codec::formula::{
    ChangeAngle, Formula, InputAngle, Products, SideNorms, Sum, SumOfChange, SumOfChanges,
    SumOfSides, SumOfVote,
};
use crate::codec::{change, combine, products, Isa, Summed};
use crate::dtype::Dtype;
use crate::reduce::Local;

/// Most inputs and scalars of a formula.
const INPUTS: usize = 3;
const SCALARS: usize = 8;

/// Most differences of which k-th values are looked for without registers.
const CHANGES: usize = 8;

/// What a formula takes: places in the stage's inputs, and scalars.
#[derive(Debug, Clone, Copy)]
struct Arguments {
    inputs: [usize; INPUTS],
    scalars: [f32; SCALARS],
}

/// The formula of what a stage stores.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Direct {
    formula: Known,
    arguments: Arguments,
}

/// The sums of products that a stage collects.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DirectProducts {
    products: KnownProducts,
    arguments: Arguments,
    dtype: Dtype,
}

/// The differences of inputs whose k-th values a stage looks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DirectChanges {
    pairs: [[usize; 2]; CHANGES],
    count: usize,
    dtype: Dtype,
}

#[derive(Debug, Clone, Copy)]
enum Known {
    Sum,
    SumOfChange,
    SumOfChanges,
    SumOfSides,
    SumOfVote,
    SumOfCountedVote,
}

#[derive(Debug, Clone, Copy)]
enum KnownProducts {
    InputAngle,
    ChangeAngle,
    SideNorms,
}

impl Direct {
    /// What a stage stores, if there is a loop for it, of inputs and the output of one 16-bit type.
    pub(crate) fn of(frame: &Frame) -> Option<Self> {
        let Encoding { dtype, by_chance } = frame.encoding;
        let same = frame.inputs.iter().all(|input| input.dtype() == Some(dtype));
        if by_chance || !same || !matches!(dtype, Dtype::F16 | Dtype::BF16) {
            return None;
        }
        let tree = Tree::of_output(frame)?;
        let formula = if is::<Sum, 2, 2>(&tree) {
            Known::Sum
        } else if is::<SumOfChange, 3, 2>(&tree) {
            Known::SumOfChange
        } else if is::<SumOfChanges, 3, 2>(&tree) {
            Known::SumOfChanges
        } else if is::<SumOfSides, 3, 6>(&tree) {
            Known::SumOfSides
        } else if is::<SumOfVote<false>, 3, 8>(&tree) {
            Known::SumOfVote
        } else if is::<SumOfVote<true>, 3, 8>(&tree) {
            Known::SumOfCountedVote
        } else {
            return None;
        };
        Some(Self { formula, arguments: Arguments::of(&tree) })
    }

    /// Compute a block, its length that of `target`; whether it is finite. Inputs that are not are
    /// noted.
    #[inline(always)]
    pub(crate) fn run<I: Isa>(
        &self,
        frame: &Frame,
        offset: usize,
        nonfinite: &mut [bool],
        target: &mut [u8],
    ) -> bool {
        let place = (frame, offset);
        match self.formula {
            Known::Sum => run::<I, Sum, 2, 2>(&self.arguments, place, nonfinite, target),
            Known::SumOfChange => {
                run::<I, SumOfChange, 3, 2>(&self.arguments, place, nonfinite, target)
            }
            Known::SumOfChanges => {
                run::<I, SumOfChanges, 3, 2>(&self.arguments, place, nonfinite, target)
            }
            Known::SumOfSides => {
                run::<I, SumOfSides, 3, 6>(&self.arguments, place, nonfinite, target)
            }
            Known::SumOfVote => {
                run::<I, SumOfVote<false>, 3, 8>(&self.arguments, place, nonfinite, target)
            }
            Known::SumOfCountedVote => {
                run::<I, SumOfVote<true>, 3, 8>(&self.arguments, place, nonfinite, target)
            }
        }
    }
}

impl DirectProducts {
    /// What a stage collects, if there is a loop for it, of inputs of one type.
    pub(crate) fn of(frame: &Frame) -> Option<Self> {
        let dtype = plain(frame)?;
        let tree = Tree::of_products(frame)?;
        let products = if has::<InputAngle, 2, 0>(&tree) {
            KnownProducts::InputAngle
        } else if has::<ChangeAngle, 3, 0>(&tree) {
            KnownProducts::ChangeAngle
        } else if has::<SideNorms, 3, 2>(&tree) {
            KnownProducts::SideNorms
        } else {
            return None;
        };
        Some(Self { products, arguments: Arguments::of(&tree), dtype })
    }

    /// Add the products of a block to the collectors' shares. Inputs that are not finite are noted.
    #[inline(always)]
    pub(crate) fn run<I: Isa>(
        &self,
        frame: &Frame,
        (offset, length): (usize, usize),
        nonfinite: &mut [bool],
        local: &mut Local,
    ) {
        let block = (frame, self.dtype, offset, length);
        let summed = match self.products {
            KnownProducts::InputAngle => {
                summed::<I, InputAngle, 2, 0>(&self.arguments, block, nonfinite)
            }
            KnownProducts::ChangeAngle => {
                summed::<I, ChangeAngle, 3, 0>(&self.arguments, block, nonfinite)
            }
            KnownProducts::SideNorms => {
                summed::<I, SideNorms, 3, 2>(&self.arguments, block, nonfinite)
            }
        };
        let width = summed.lanes[0].len();
        for (collector, (lanes, rest)) in summed.lanes.iter().zip(&summed.rest).enumerate() {
            let lanes = if length < width { &[] } else { &lanes[..] };
            local.add_sums(collector, lanes, &rest[..length % width]);
        }
    }
}

impl DirectChanges {
    /// What a stage collects, if that is k-th values of differences of inputs of one type.
    pub(crate) fn of(frame: &Frame) -> Option<Self> {
        let (count, dtype) = (frame.stage.collects.len(), plain(frame)?);
        if !(1..=CHANGES).contains(&count) {
            return None;
        }
        let mut pairs = [[0; 2]; CHANGES];
        pairs[..count].copy_from_slice(&Tree::of_changes(frame)?);
        Some(Self { pairs, count, dtype })
    }

    /// Add a block of differences, which lies at `within` in its tile, to the collectors' shares.
    #[inline(always)]
    pub(crate) fn run<I: Isa>(
        &self,
        frame: &Frame,
        (offset, within): (usize, usize),
        (nonfinite, local): (&mut [bool], &mut Local),
        differences: &mut [f32],
    ) {
        for (collector, inputs) in self.pairs[..self.count].iter().enumerate() {
            let width = self.dtype.bytes();
            let (begin, length) = (offset * width, differences.len() * width);
            let bytes = bytes_of(frame, *inputs, begin, length);
            note(nonfinite, *inputs, change::<I>(self.dtype, bytes, differences));
            local.add::<I>(collector, within, differences, differences);
        }
    }
}

/// The type of all inputs, if lanes are made of it and nothing is stored.
fn plain(frame: &Frame) -> Option<Dtype> {
    let first = frame.inputs.first().and_then(View::dtype)?;
    let plain = matches!(first, Dtype::F16 | Dtype::BF16 | Dtype::F32);
    let same = frame.inputs.iter().all(|input| input.dtype() == Some(first));
    (frame.stage.output.is_none() && plain && same).then_some(first)
}

impl Arguments {
    fn of(tree: &Tree) -> Self {
        let mut arguments = Self { inputs: [0; INPUTS], scalars: [0.0; SCALARS] };
        arguments.inputs[..tree.inputs.len()].copy_from_slice(&tree.inputs);
        arguments.scalars[..tree.scalars.len()].copy_from_slice(&tree.scalars);
        arguments
    }

    #[inline(always)]
    fn inputs<const N: usize>(&self) -> [usize; N] {
        std::array::from_fn(|index| self.inputs[index])
    }

    #[inline(always)]
    fn scalars<const S: usize>(&self) -> [f32; S] {
        std::array::from_fn(|index| self.scalars[index])
    }
}

/// Whether a tree is that of a formula.
pub(super) fn is<F: Formula<N, S>, const N: usize, const S: usize>(tree: &Tree) -> bool {
    let mut tokens = Vec::new();
    F::describe(&mut tokens);
    tokens == tree.tokens
}

/// Whether a tree is that of sums of products.
fn has<P: Products<N, S>, const N: usize, const S: usize>(tree: &Tree) -> bool {
    let mut tokens = Vec::new();
    P::describe(&mut tokens);
    tokens == tree.tokens
}

#[inline(always)]
fn run<I: Isa, F: Formula<N, S>, const N: usize, const S: usize>(
    arguments: &Arguments,
    (frame, offset): (&Frame, usize),
    nonfinite: &mut [bool],
    target: &mut [u8],
) -> bool {
    let dtype = frame.encoding.dtype;
    let inputs = arguments.inputs::<N>();
    let bytes = bytes_of(frame, inputs, offset * dtype.bytes(), target.len());
    let (finite, result) =
        combine::<I, F, N, S>(dtype, bytes, arguments.scalars(), target, frame.past);
    note(nonfinite, inputs, finite);
    result
}

#[inline(always)]
fn summed<I: Isa, P: Products<N, S>, const N: usize, const S: usize>(
    arguments: &Arguments,
    (frame, dtype, offset, length): (&Frame, Dtype, usize, usize),
    nonfinite: &mut [bool],
) -> Summed {
    let inputs = arguments.inputs::<N>();
    let bytes = bytes_of(frame, inputs, offset * dtype.bytes(), length * dtype.bytes());
    let (summed, finite) = products::<I, P, N, S>(dtype, bytes, arguments.scalars());
    note(nonfinite, inputs, finite);
    summed
}

#[inline(always)]
fn bytes_of<'f, const N: usize>(
    frame: &Frame<'f>,
    inputs: [usize; N],
    begin: usize,
    length: usize,
) -> [&'f [u8]; N] {
    let mut arguments: [&[u8]; N] = [&[]; N];
    for (bytes, input) in arguments.iter_mut().zip(inputs) {
        *bytes = &frame.inputs[input].bytes()[begin..begin + length];
    }
    arguments
}

#[inline(always)]
fn note<const N: usize>(nonfinite: &mut [bool], inputs: [usize; N], finite: [bool; N]) {
    for (input, finite) in inputs.into_iter().zip(finite) {
        nonfinite[input] |= !finite;
    }
}
