//! Weights that are stored as codes with scales.

use super::super::check::check_source;
use super::super::Sources;
use super::raw::{Range, Raw};
use crate::codec::blocks::{self, Codec, Runs};
use crate::error::{Error, Result};

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

    /// The bytes of a part that elements from `begin` up to `end` take.
    pub(super) fn range(&self, part: usize, begin: u64, end: u64) -> Range {
        let Place { source, offset } = self.parts[part];
        let runs = self.codec.runs(part, begin, end);
        Range { source, runs: Runs { begin: offset + runs.begin, ..runs } }
    }

    /// Decode elements from `first` on.
    pub(super) fn read(
        &self,
        sources: &Sources,
        first: u64,
        target: &mut [f32],
        buffers: &mut Vec<Raw>,
    ) -> Result<()> {
        let end = first + target.len() as u64;
        buffers.resize_with(buffers.len().max(self.parts.len()), Raw::default);
        let ranges = (0..self.parts.len()).map(|part| self.range(part, first, end));
        let ranges: Vec<_> = ranges.collect();
        for (range, buffer) in ranges.iter().zip(&mut *buffers) {
            buffer.load(sources, *range)?;
        }
        let views = ranges.iter().zip(&*buffers);
        let views: Vec<&[u8]> = views.map(|(range, buffer)| buffer.view(sources, *range)).collect();
        blocks::decode(&self.codec, &views, first, target);
        ranges.iter().try_for_each(|range| range.release(sources))
    }
}
