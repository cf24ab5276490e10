//! What a stage computes, as the tokens of a formula.

use super::frame::Frame;
use crate::codec::formula::Token;
use crate::program::stage::{Collect, Collector, Instruction, Operand, Register, Scaled};
use crate::program::{Axis, Binary, Reduction, Unary};

/// Longer formulas have no loop of their own.
const LONGEST: usize = 64;

/// Tokens with the inputs (places in the stage's) and scalars that their numbers stand for.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Tree {
    pub(super) tokens: Vec<Token>,
    pub(super) inputs: Vec<usize>,
    pub(super) scalars: Vec<f32>,
}

/// A token that is not numbered yet.
#[derive(Debug, Clone, Copy)]
enum Leaf {
    Input(u16),
    Scalar(f32),
    Step(Token),
}

impl Tree {
    /// What a stage stores; `None` if it does something that no formula does.
    pub(super) fn of_output(frame: &Frame) -> Option<Self> {
        let output = frame.stage.output?;
        let mut values = values(frame)?;
        Some(Self::numbered(&values[usize::from(output)].take()?))
    }

    /// The sums of products over the whole tensor that a stage collects; `None` if it collects
    /// something else too.
    pub(super) fn of_products(frame: &Frame) -> Option<Self> {
        let mut all = Vec::new();
        let values = values(frame)?;
        for collect in &frame.stage.collects {
            let value = |register: Register| values[usize::from(register)].as_ref();
            all.extend_from_slice(value(collect.x)?);
            match collect.what {
                Collector::Reduce(Reduction::VectorNorm, Axis::Whole) => {
                    all.push(Leaf::Step(Token::Norm));
                }
                Collector::Reduce(Reduction::Vecdot, Axis::Whole) => {
                    all.extend_from_slice(value(collect.y)?);
                    all.push(Leaf::Step(Token::Dot));
                }
                _ => return None,
            }
        }
        Some(Self::numbered(&all))
    }

    /// The inputs, places in the stage's, whose differences k-th values are taken of.
    pub(super) fn of_changes(frame: &Frame) -> Option<Vec<[usize; 2]>> {
        let values = values(frame)?;
        let collects = frame.stage.collects.iter();
        let change = |collect: &Collect| match (collect.what, &values[usize::from(collect.x)]) {
            (Collector::KthBracket | Collector::KthValue, Some(value)) => match value[..] {
                [Leaf::Input(x), Leaf::Input(y), Leaf::Step(Token::Minus)] => {
                    Some([usize::from(x), usize::from(y)])
                }
                _ => None,
            },
            _ => None,
        };
        collects.map(change).collect()
    }

    fn numbered(leaves: &[Leaf]) -> Self {
        let mut tree = Self::default();
        for leaf in leaves {
            let token = match *leaf {
                Leaf::Step(token) => token,
                Leaf::Scalar(value) => {
                    tree.scalars.push(value);
                    Token::Scalar(tree.scalars.len() - 1)
                }
                Leaf::Input(input) => {
                    let (input, known) = (usize::from(input), &mut tree.inputs);
                    let place = known.iter().position(|other| *other == input);
                    Token::Input(place.unwrap_or_else(|| {
                        known.push(input);
                        known.len() - 1
                    }))
                }
            };
            tree.tokens.push(token);
        }
        tree
    }
}

/// What each register holds after the body; `None` if one holds what no formula has.
fn values(frame: &Frame) -> Option<Vec<Option<Vec<Leaf>>>> {
    let stage = frame.stage;
    if !stage.prologue.is_empty() || stage.body.len() > LONGEST {
        return None;
    }
    let mut values = vec![None; stage.registers];
    for instruction in &stage.body {
        let value = value(frame, instruction, &values)?;
        if value.len() > LONGEST {
            return None;
        }
        values[usize::from(instruction.target())] = Some(value);
    }
    Some(values)
}

fn value(
    frame: &Frame,
    instruction: &Instruction,
    values: &[Option<Vec<Leaf>>],
) -> Option<Vec<Leaf>> {
    let known = |register: Register| values[usize::from(register)].as_deref();
    let scalar = |at: u16| Leaf::Scalar(frame.scalars[usize::from(at)]);
    Some(match instruction {
        Instruction::Load { input, .. } => vec![Leaf::Input(*input)],
        Instruction::Unary { op, x, .. } => {
            let token = match op {
                Unary::Sqrt => Token::Root,
                Unary::Square => Token::Squared,
                _ => return None,
            };
            [known(*x)?, &[Leaf::Step(token)]].concat()
        }
        Instruction::Binary { op, x, y, .. } => {
            let token = match op {
                Binary::Add => Token::Plus,
                Binary::Subtract => Token::Minus,
                Binary::Multiply => Token::Times,
                Binary::Copysign => Token::Signed,
                _ => return None,
            };
            let step = [Leaf::Step(token)];
            match (*x, *y) {
                (Operand::Register(x), Operand::Register(y)) => {
                    [known(x)?, known(y)?, &step].concat()
                }
                (Operand::Register(x), Operand::Scalar(y)) => {
                    [known(x)?, &[scalar(y)], &step].concat()
                }
                // A product is the same either way.
                (Operand::Scalar(x), Operand::Register(y)) if token == Token::Times => {
                    [known(y)?, &[scalar(x)], &step].concat()
                }
                _ => return None,
            }
        }
        Instruction::Scaled { op, x, y, .. } => {
            // To subtract a product is to add that with the negative number, to the bit; a product
            // with 1 is exact; and a sum is the same either way.
            let sign = if *op == Binary::Subtract { -1.0 } else { 1.0 };
            let term = |(register, scale): &Scaled, sign: f32| {
                let scale = scale.map_or(1.0, |at| frame.scalars[usize::from(at)]);
                let product = [Leaf::Scalar(sign * scale), Leaf::Step(Token::Times)];
                Some([known(*register)?, &product].concat())
            };
            let (x, y) = (term(x, 1.0)?, term(y, sign)?);
            let (x, y) = if x.len() > y.len() { (y, x) } else { (x, y) };
            [&x[..], &y, &[Leaf::Step(Token::Plus)]].concat()
        }
        Instruction::Trim { x, y, least, factor, .. } => {
            let factor = factor.map_or(Leaf::Scalar(1.0), scalar);
            let step = [scalar(*least), factor, Leaf::Step(Token::Trimmed)];
            match y {
                Some(y) => [known(*x)?, known(*y)?, &[Leaf::Step(Token::Minus)], &step].concat(),
                None => [known(*x)?, &step].concat(),
            }
        }
        Instruction::Vote { values, count: 2, by_count, weights: Some(weights), .. } => {
            let vote = if *by_count { Token::CountedVote } else { Token::Vote };
            let step = [scalar(weights[0]), scalar(weights[1]), Leaf::Step(vote)];
            [known(values[0])?, known(values[1])?, &step].concat()
        }
        _ => return None,
    })
}
