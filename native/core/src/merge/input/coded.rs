//! Weights that are stored as codes with scales.

use super::super::check::check_source;
use super::super::Sources;
use super::raw::{Range, Raw};
use crate::codec::blocks::{Codec, Runs, Window};
use crate::error::{Error, Result};

/// The part that scales are, where they may lie in tiles. Laid row by row they have a buffer after those
/// of all parts.
const SCALES: usize = 1;

/// Where a part of a coded tensor begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Index of the source.
    pub source: usize,
    /// First byte.
    pub offset: u64,
}

/// A tensor of codes; [`Codec`] says what its parts are.
#[derive(Debug, Clone, PartialEq)]
pub struct Coded {
    /// How elements are stored.
    pub codec: Codec,
    /// Where the parts lie.
    pub parts: Vec<Place>,
}

impl Coded {
    /// Bytes of the parts that elements before that one have a share in, in proportion: what two
    /// neighbours share counts once.
    pub(super) fn bytes_before(&self, element: u64) -> u64 {
        let all = self.codec.sizes().map_or(0, |sizes| sizes.iter().sum::<u64>());
        let share = u128::from(all) * u128::from(element);
        (share / u128::from(self.codec.elements().max(1))) as u64
    }

    /// Check that its sources have all parts, and it has so many elements.
    pub(super) fn check(&self, sources: &Sources, elements: u64) -> Result<()> {
        let sizes =
            self.codec.sizes().map_err(|error| Error::Program(format!("codes: {error}")))?;
        if sizes.len() != self.parts.len() {
            let (given, needed) = (self.parts.len(), sizes.len());
            return Err(Error::Program(format!("codes have {given} parts; they take {needed}")));
        }
        for (part, size) in self.parts.iter().zip(sizes) {
            check_source(sources, part.source, part.offset, size)?;
        }
        if elements <= self.codec.elements() {
            return Ok(());
        }
        let has = self.codec.elements();
        Err(Error::Program(format!("codes of {has} elements; {elements} are asked for")))
    }

    /// Whether its bytes take a buffer.
    pub(super) fn needs_buffer(&self, sources: &Sources) -> bool {
        let buffered = |part: &Place| sources[part.source].needs_buffer();
        self.codec.is_scattered() || self.parts.iter().any(buffered)
    }

    /// The bytes of a part that elements from `begin` up to `end` take.
    pub(super) fn range(&self, part: usize, begin: u64, end: u64) -> Range {
        let Place { source, offset } = self.parts[part];
        let runs = self.codec.runs(part, begin, end);
        Range { source, runs: Runs { begin: offset + runs.begin, ..runs } }
    }

    /// Bring the bytes of elements into memory, unless they are there, and scales in order.
    pub(super) fn load(
        &self,
        sources: &Sources,
        (begin, end): (u64, u64),
        buffers: &mut Vec<Raw>,
    ) -> Result<()> {
        buffers.resize_with(buffers.len().max(self.parts.len() + 1), Raw::default);
        let (buffers, rows) = buffers.split_at_mut(self.parts.len());
        for (part, buffer) in buffers.iter_mut().enumerate() {
            buffer.load(sources, self.range(part, begin, end))?;
        }
        if self.codec.has_tiles() {
            let tiles = buffers[SCALES].view(sources, self.range(SCALES, begin, end));
            self.codec.untile((begin, end), tiles, rows[0].replace());
        }
        Ok(())
    }

    /// Elements after [`Coded::load`].
    pub(super) fn view<'b>(
        &'b self,
        sources: &'b Sources,
        (begin, end): (u64, u64),
        buffers: &'b [Raw],
    ) -> Window<'b> {
        let (buffers, rows) = buffers.split_at(self.parts.len());
        let views = buffers.iter().enumerate().map(|(part, buffer)| match part {
            SCALES if self.codec.has_tiles() => rows[0].replaced(),
            _ => buffer.view(sources, self.range(part, begin, end)),
        });
        Window::new(&self.codec, views, (begin, end))
    }

    /// Be done with elements after [`Coded::view`].
    pub(super) fn release(&self, sources: &Sources, (begin, end): (u64, u64)) -> Result<()> {
        let mut parts = 0..self.parts.len();
        parts.try_for_each(|part| self.range(part, begin, end).release(sources))
    }

    /// Decode elements from `first` on.
    pub(super) fn read(
        &self,
        sources: &Sources,
        first: u64,
        target: &mut [f32],
        buffers: &mut Vec<Raw>,
    ) -> Result<()> {
        let elements = (first, first + target.len() as u64);
        self.load(sources, elements, buffers)?;
        self.view(sources, elements, buffers).read(target);
        self.release(sources, elements)
    }
}
