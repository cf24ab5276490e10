//! Parts of inputs in memory.

use crate::codec::blocks::Window;
use crate::codec::{self, Isa};
use crate::dtype::Dtype;

/// An input from a frame's first element on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum View<'a> {
    /// Numbers of a type.
    Plain(&'a [u8], Dtype),
    /// Codes, which are decoded strip by strip.
    Coded(Window<'a>),
}

impl<'a> View<'a> {
    /// The type of its numbers; none of codes.
    pub(super) fn dtype(&self) -> Option<Dtype> {
        match self {
            Self::Plain(_, dtype) => Some(*dtype),
            Self::Coded(_) => None,
        }
    }

    /// The bytes of its numbers; none of codes.
    pub(super) fn bytes(&self) -> &'a [u8] {
        match self {
            Self::Plain(bytes, _) => bytes,
            Self::Coded(_) => &[],
        }
    }

    /// Decode numbers at `offset` from the first, which is number `begin` of the tensor; false if one
    /// of them is not finite.
    #[inline(always)]
    pub(super) fn decode<I: Isa>(&self, begin: u64, offset: usize, target: &mut [f32]) -> bool {
        match self {
            Self::Plain(bytes, dtype) => {
                codec::decode::<I>(*dtype, &bytes[offset * dtype.bytes()..], target)
            }
            Self::Coded(window) => window.decode::<I>(begin + offset as u64, target),
        }
    }
}
