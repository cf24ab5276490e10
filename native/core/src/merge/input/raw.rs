//! A range of a source, which is not read again where it is the one before: neighbours share scales.

use super::super::source::Opened;
use super::super::Sources;
use crate::codec::blocks::Runs;
use crate::error::Result;

/// Where a range is kept, if it does not lie in memory by itself.
#[derive(Debug, Default)]
pub(in super::super) struct Raw {
    bytes: Vec<u8>,
    holds: Option<Range>,
}

/// Bytes of a source, which were checked against its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Range {
    /// Index of the source.
    pub(super) source: usize,
    /// Where they lie in it.
    pub(super) runs: Runs,
}

impl Raw {
    /// Bring a range into memory, unless it is there.
    pub(super) fn load(&mut self, sources: &Sources, range: Range) -> Result<()> {
        let Range { source, runs } = range;
        if range.lies_in(&sources[source]) || self.holds == Some(range) {
            return Ok(());
        }
        self.holds = None;
        if runs.count == 1 {
            sources[source].load(runs.begin, runs.bytes(), &mut self.bytes)?;
        } else {
            gather(&sources[source], runs, &mut self.bytes)?;
        }
        self.holds = Some(range);
        Ok(())
    }

    /// Put something else in its place.
    pub(super) fn replace(&mut self) -> &mut Vec<u8> {
        self.holds = None;
        &mut self.bytes
    }

    /// What is in its place after [`Raw::replace`].
    pub(super) fn replaced(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes of a range after [`Raw::load`].
    pub(super) fn view<'b>(&'b self, sources: &'b Sources, range: Range) -> &'b [u8] {
        let Range { source, runs } = range;
        match runs.count {
            1 => sources[source].view(runs.begin, runs.bytes(), &self.bytes),
            _ => &self.bytes[..runs.bytes()],
        }
    }
}

impl Range {
    /// Be done with it.
    pub(super) fn release(self, sources: &Sources) -> Result<()> {
        match self.runs.count {
            1 => sources[self.source].release(self.runs.begin, self.runs.bytes()),
            _ => Ok(()), // copied already
        }
    }

    /// Whether it takes no buffer.
    fn lies_in(&self, source: &Opened) -> bool {
        self.runs.count == 1 && !source.needs_buffer()
    }
}

/// Lay runs one after another.
fn gather(source: &Opened, runs: Runs, buffer: &mut Vec<u8>) -> Result<()> {
    if buffer.len() < runs.bytes() {
        buffer.resize(runs.bytes(), 0);
    }
    let targets = buffer[..runs.bytes()].chunks_exact_mut(runs.length.max(1) as usize);
    targets
        .zip(0..)
        .try_for_each(|(target, run)| source.read(runs.begin + run * runs.stride, target))
}
