//! Some elements of a coded tensor, ready to be decoded.

use super::Codec;
use crate::codec::{all_finite, Isa};
use crate::vm::simd::Task;
use crate::vm::Level;

/// Most parts of a codec.
const PARTS: usize = 5;

/// Elements of a coded tensor, with the bytes of each part that they take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window<'a> {
    codec: &'a Codec,
    pub(super) parts: [&'a [u8]; PARTS],
    /// First element.
    pub(super) begin: u64,
    /// One past the last.
    pub(super) end: u64,
}

impl<'a> Window<'a> {
    /// Elements from `begin` up to `end`, given the bytes of each part.
    pub(crate) fn new(
        codec: &'a Codec,
        parts: impl IntoIterator<Item = &'a [u8]>,
        (begin, end): (u64, u64),
    ) -> Self {
        let mut all: [&[u8]; PARTS] = [&[]; PARTS];
        for (part, bytes) in all.iter_mut().zip(parts) {
            *part = bytes;
        }
        Self { codec, parts: all, begin, end }
    }

    /// Decode elements from number `first` of the tensor on; false if one of them is not finite.
    #[inline(always)]
    pub(crate) fn decode<I: Isa>(&self, first: u64, target: &mut [f32]) -> bool {
        match self.codec {
            Codec::Scaled(scaled) => return scaled.decode::<I>(self, first, target),
            Codec::Levels(levels) => levels.decode::<I>(self, first, target),
            Codec::Ggml(ggml) => ggml.decode(self, first, target),
            Codec::Packed(packed) => packed.decode(self, first, target),
        }
        all_finite(target)
    }

    /// Decode all elements with the instructions of this processor.
    pub(crate) fn read(&self, target: &mut [f32]) {
        self.read_at(Level::detect(), self.begin, target);
    }

    /// The same of some elements with those of a level; false if one of them is not finite.
    pub(super) fn read_at(&self, level: Level, first: u64, target: &mut [f32]) -> bool {
        target.is_empty() || level.run(Decode { window: self, first, target })
    }
}

/// See [`Window::read`].
struct Decode<'a> {
    window: &'a Window<'a>,
    first: u64,
    target: &'a mut [f32],
}

impl Task for Decode<'_> {
    type Output = bool;

    #[inline(always)]
    fn run<I: Isa>(self) -> bool {
        self.window.decode::<I>(self.first, self.target)
    }
}
