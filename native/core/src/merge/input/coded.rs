//! Weights that are stored as codes with scales.

use super::super::check::check_source;
use super::super::source::Opened;
use super::super::Sources;
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

    /// Decode elements from `first` on.
    pub(super) fn read(
        &self,
        sources: &Sources,
        first: u64,
        target: &mut [f32],
        buffers: &mut Vec<Vec<u8>>,
    ) -> Result<()> {
        let end = first + target.len() as u64;
        buffers.resize_with(buffers.len().max(self.parts.len()), Vec::new);
        let places = self.parts.iter().enumerate().map(|(index, part)| {
            let runs = self.codec.runs(index, first, end);
            (&sources[part.source], part.offset + runs.begin, runs)
        });
        let places: Vec<_> = places.collect();
        for ((source, begin, runs), buffer) in places.iter().zip(&mut *buffers) {
            if runs.count == 1 {
                source.load(*begin, runs.bytes(), buffer)?;
            } else {
                gather(source, *begin, *runs, buffer)?;
            }
        }
        let views = places.iter().zip(&*buffers);
        let views: Vec<&[u8]> = views
            .map(|((source, begin, runs), buffer)| match runs.count {
                1 => source.view(*begin, runs.bytes(), buffer),
                _ => &buffer[..runs.bytes()],
            })
            .collect();
        blocks::decode(&self.codec, &views, first, target);
        let viewed = places.iter().filter(|(.., runs)| runs.count == 1);
        viewed
            .into_iter()
            .try_for_each(|(source, begin, runs)| source.release(*begin, runs.bytes()))
    }
}

/// Lay runs that were checked against the size one after another.
fn gather(source: &Opened<'_>, begin: u64, runs: Runs, buffer: &mut Vec<u8>) -> Result<()> {
    if buffer.len() < runs.bytes() {
        buffer.resize(runs.bytes(), 0);
    }
    let targets = buffer[..runs.bytes()].chunks_exact_mut(runs.length.max(1) as usize);
    targets.zip(0..).try_for_each(|(target, run)| source.read(begin + run * runs.stride, target))
}
