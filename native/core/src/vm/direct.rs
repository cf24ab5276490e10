//! A weighted sum of two inputs straight from their bytes to its own.
//!
//! It is what most merges are. The general way leaves each step's block in memory for the next
//! one; here a number stays in the processor's registers from beginning to end, with the same
//! roundings.

use super::frame::{Encoding, Frame};
use crate::dtype::Dtype;
use crate::program::stage::Instruction::{Load, Scaled};
use crate::program::stage::{self, Stage};
use crate::program::Binary;

/// An input's place in [`Stage::inputs`] and what it is multiplied with.
pub(crate) type Weighted = (usize, f32);

/// The two terms and the type of their numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Direct {
    pub(crate) dtype: Dtype,
    pub(crate) terms: [Weighted; 2],
}

impl Direct {
    /// The sum that a stage stores, if it is one of two inputs and the output of the same 16-bit
    /// type.
    pub(crate) fn of(frame: &Frame) -> Option<Self> {
        let Stage { prologue, body, output, .. } = frame.stage;
        let [Load { target: first, input: one }, Load { input: two, .. }, sum] = &body[..] else {
            return None;
        };
        let Scaled { op, target, x, y } = sum else {
            return None;
        };
        let Encoding { dtype, by_chance } = frame.encoding;
        let same = frame.inputs.iter().all(|input| input.1 == dtype);
        let stored = prologue.is_empty() && *output == Some(*target);
        if by_chance || !stored || !same || !matches!(dtype, Dtype::F16 | Dtype::BF16) {
            return None;
        }
        let term = |(register, scale): stage::Scaled, sign: f32| {
            let input = if register == *first { one } else { two };
            let scale = scale.map_or(1.0, |scale| frame.scalars[usize::from(scale)]);
            (usize::from(*input), sign * scale)
        };
        // To subtract a product is to add that with the negative number, to the bit.
        let sign = if *op == Binary::Subtract { -1.0 } else { 1.0 };
        Some(Self { dtype, terms: [term(*x, 1.0), term(*y, sign)] })
    }
}
