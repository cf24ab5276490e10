//! The commonest merges straight from the inputs' bytes to the output's.
//!
//! The general way leaves each step's block in memory for the next one; here a number stays in the
//! processor's registers from beginning to end, with the same roundings.

use super::frame::{Encoding, Frame};
use crate::codec::{combine, Formula, Isa, Sum, SumOfDifference};
use crate::dtype::Dtype;
use crate::program::stage::Instruction::{self, Load, Scaled};
use crate::program::stage::{self, Operand, Stage};
use crate::program::Binary;

/// A formula, and the places in [`Stage::inputs`] of what it takes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Direct {
    Sum([usize; 2], Sum),
    SumOfDifference([usize; 3], SumOfDifference),
}

/// What a register holds, by places of inputs.
#[derive(Debug, Clone, Copy)]
enum Value {
    Input(usize),
    Difference(usize, usize),
}

impl Direct {
    /// What a stage stores, if it is one of these, of inputs and the output of one 16-bit type.
    pub(crate) fn of(frame: &Frame) -> Option<Self> {
        let Stage { prologue, body, output, .. } = frame.stage;
        let Encoding { dtype, by_chance } = frame.encoding;
        let same = frame.inputs.iter().all(|input| input.1 == dtype);
        if by_chance || !same || !matches!(dtype, Dtype::F16 | Dtype::BF16) {
            return None;
        }
        let (Scaled { op, target, x, y }, steps) = body.split_last()? else {
            return None;
        };
        if !prologue.is_empty() || *output != Some(*target) {
            return None;
        }
        let values = values(frame.stage, steps)?;
        let [first, second] = [x, y].map(|term| values[usize::from(term.0)]);
        let scale = |term: &stage::Scaled| term.1.map_or(1.0, |at| frame.scalars[usize::from(at)]);
        // To subtract a product is to add that with the negative number, to the bit.
        let sign = if *op == Binary::Subtract { -1.0 } else { 1.0 };
        match (first?, second?) {
            (Value::Input(one), Value::Input(two)) => {
                Some(Self::Sum([one, two], Sum([scale(x), sign * scale(y)])))
            }
            (Value::Input(one), Value::Difference(two, three)) if x.1.is_none() => {
                let formula = SumOfDifference(sign * scale(y));
                Some(Self::SumOfDifference([one, two, three], formula))
            }
            (Value::Difference(two, three), Value::Input(one)) if y.1.is_none() && sign > 0.0 => {
                Some(Self::SumOfDifference([one, two, three], SumOfDifference(scale(x))))
            }
            _ => None,
        }
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
        match self {
            Self::Sum(inputs, sum) => run::<I, 2>(frame, offset, *inputs, sum, nonfinite, target),
            Self::SumOfDifference(inputs, sum) => {
                run::<I, 3>(frame, offset, *inputs, sum, nonfinite, target)
            }
        }
    }
}

/// What each register holds after steps; `None` if one holds something else.
fn values(stage: &Stage, steps: &[Instruction]) -> Option<Vec<Option<Value>>> {
    let mut values = vec![None; stage.registers];
    for step in steps {
        let value = match step {
            Load { input, .. } => Value::Input(usize::from(*input)),
            Instruction::Binary { op: Binary::Subtract, x, y, .. } => {
                let (Operand::Register(x), Operand::Register(y)) = (x, y) else {
                    return None;
                };
                let (Value::Input(x), Value::Input(y)) =
                    (values[usize::from(*x)]?, values[usize::from(*y)]?)
                else {
                    return None;
                };
                Value::Difference(x, y)
            }
            _ => return None,
        };
        values[usize::from(step.target())] = Some(value);
    }
    Some(values)
}

#[inline(always)]
fn run<I: Isa, const N: usize>(
    frame: &Frame,
    offset: usize,
    inputs: [usize; N],
    formula: &impl Formula<N>,
    nonfinite: &mut [bool],
    target: &mut [u8],
) -> bool {
    let dtype = frame.encoding.dtype;
    let begin = offset * dtype.bytes();
    let mut arguments: [&[u8]; N] = [&[]; N];
    for (bytes, input) in arguments.iter_mut().zip(inputs) {
        *bytes = &frame.inputs[input].0[begin..begin + target.len()];
    }
    let (finite, result) = combine::<I, N>(dtype, arguments, formula, target);
    for (input, finite) in inputs.into_iter().zip(finite) {
        nonfinite[input] |= !finite;
    }
    result
}
