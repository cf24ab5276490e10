//! Some elements of a coded tensor, ready to be decoded.

use super::scaled::Reader;
use super::{Codec, Ggml, Levels, Packed};
use crate::codec::{all_finite, Isa};
use crate::vm::simd::Task;
use crate::vm::Level;

/// Most parts of a codec.
const PARTS: usize = 5;

/// The bytes of each part that some elements take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts<'a> {
    pub(super) bytes: [&'a [u8]; PARTS],
    /// First element.
    pub(super) begin: u64,
    /// One past the last.
    pub(super) end: u64,
}

/// Elements of a coded tensor, with the bytes of each part that they take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window<'a> {
    begin: u64,
    coded: Coded<'a>,
}

/// What is known before any element is decoded.
#[derive(Debug, Clone, Copy)]
enum Coded<'a> {
    Scaled(Reader<'a>),
    Levels(&'a Levels, Parts<'a>),
    Ggml(&'a Ggml, Parts<'a>),
    Packed(&'a Packed, Parts<'a>),
}

impl<'a> Window<'a> {
    /// Elements from `begin` up to `end`, given the bytes of each part; those of scales in tiles as
    /// [`Codec::untile`] lays them.
    pub(crate) fn new(
        codec: &'a Codec,
        parts: impl IntoIterator<Item = &'a [u8]>,
        (begin, end): (u64, u64),
    ) -> Self {
        let mut all: [&[u8]; PARTS] = [&[]; PARTS];
        for (all, part) in all.iter_mut().zip(parts) {
            *all = part;
        }
        let parts = Parts { bytes: all, begin, end };
        let coded = match codec {
            Codec::Scaled(scaled) => Coded::Scaled(Reader::new(scaled, &parts)),
            Codec::Levels(levels) => Coded::Levels(levels, parts),
            Codec::Ggml(ggml) => Coded::Ggml(ggml, parts),
            Codec::Packed(packed) => Coded::Packed(packed, parts),
        };
        Self { begin, coded }
    }

    /// Decode elements from number `first` of the tensor on; false if one of them is not finite.
    #[inline(always)]
    pub(crate) fn decode<I: Isa>(&self, first: u64, target: &mut [f32]) -> bool {
        match &self.coded {
            Coded::Scaled(reader) => return reader.decode::<I>(first, target),
            Coded::Levels(levels, parts) => levels.decode::<I>(parts, first, target),
            Coded::Ggml(ggml, parts) => ggml.decode(parts, first, target),
            Coded::Packed(packed, parts) => packed.decode(parts, first, target),
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
