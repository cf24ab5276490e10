//! One input, or a weighted sum of two, in runs that are longer than strips.
//!
//! Where weights are codes a strip is soon decoded: to find out where its codes and scales lie took as
//! long as to decode it. Two runs of numbers are all that such a stage needs in the first-level cache.

use super::direct::is;
use super::frame::Frame;
use super::tree::Tree;
use crate::codec::formula::{In, Sum};
use crate::codec::Isa;

/// Numbers of a run.
pub(super) const RUN: usize = 4096;

/// What a stage stores, of inputs by their places in it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Long {
    One(usize),
    Two([usize; 2], [f32; 2]),
}

impl Long {
    /// What a stage stores and does not collect, if it is one of these.
    pub(super) fn of(frame: &Frame) -> Option<Self> {
        let tree = Tree::of_output(frame).filter(|_| frame.stage.collects.is_empty())?;
        match (&tree.inputs[..], &tree.scalars[..]) {
            ([x], _) if is::<In<0>, 1, 0>(&tree) => Some(Self::One(*x)),
            ([x, y], [s, t]) if is::<Sum, 2, 2>(&tree) => Some(Self::Two([*x, *y], [*s, *t])),
            _ => None,
        }
    }

    /// Compute numbers from `offset` of the frame on, with as many to spare as a run has. Inputs that are
    /// not finite are noted.
    #[inline(always)]
    pub(super) fn compute<I: Isa>(
        self,
        (frame, offset): (&Frame, usize),
        nonfinite: &mut [bool],
        spare: &mut [f32],
        target: &mut [f32],
    ) {
        let mut decode = |input: usize, offset: usize, target: &mut [f32]| {
            nonfinite[input] |= !frame.inputs[input].decode::<I>(frame.begin, offset, target);
        };
        for (offset, target) in (offset..).step_by(RUN).zip(target.chunks_mut(RUN)) {
            match self {
                Self::One(input) => decode(input, offset, target),
                Self::Two([x, y], [s, t]) => {
                    let others = &mut spare[..target.len()];
                    decode(x, offset, target);
                    decode(y, offset, others);
                    for (number, other) in target.iter_mut().zip(others) {
                        *number = *number * s + *other * t;
                    }
                }
            }
        }
    }
}
