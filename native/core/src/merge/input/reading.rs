//! Parts of inputs in memory.

use super::super::Sources;
use super::{Input, Plain, Run, Stored};
use crate::codec::{self, Portable};
use crate::dtype::Dtype;
use crate::error::Result;

/// Where a thread keeps a part of an input, if it does not lie in memory by itself.
#[derive(Debug, Default)]
pub(in super::super) struct Buffer {
    bytes: Vec<u8>,
    /// What has to be decoded before it is put into `bytes`.
    raw: Vec<u8>,
}

impl Input {
    /// Bring elements from `begin` up to `end` into the buffer, unless they are in memory.
    pub(in super::super) fn load(
        &self,
        sources: &Sources,
        begin: u64,
        end: u64,
        buffer: &mut Buffer,
    ) -> Result<()> {
        if let Some(plain) = self.plain() {
            let (first, length) = plain.place(begin, end - begin);
            return sources[plain.source].load(first, length, &mut buffer.bytes);
        }
        let dtype = self.dtype();
        let length = (end - begin) as usize * dtype.bytes();
        if buffer.bytes.len() < length {
            buffer.bytes.resize(length, 0);
        }
        let mut rest = &mut buffer.bytes[..length];
        for run in self.runs(begin, end) {
            let (target, others) = rest.split_at_mut(run.count as usize * dtype.bytes());
            run.read(sources, dtype, &mut buffer.raw, target)?;
            rest = others;
        }
        Ok(())
    }

    /// The bytes of elements after [`Input::load`], of [`Input::dtype`].
    pub(in super::super) fn view<'b>(
        &self,
        sources: &'b Sources,
        begin: u64,
        end: u64,
        buffer: &'b Buffer,
    ) -> &'b [u8] {
        if let Some(plain) = self.plain() {
            let (first, length) = plain.place(begin, end - begin);
            return sources[plain.source].view(first, length, &buffer.bytes);
        }
        &buffer.bytes[..(end - begin) as usize * self.dtype().bytes()]
    }

    /// Be done with elements after [`Input::view`].
    pub(in super::super) fn release(&self, sources: &Sources, begin: u64, end: u64) -> Result<()> {
        let Some(plain) = self.plain() else {
            return Ok(()); // copied already
        };
        let (first, length) = plain.place(begin, end - begin);
        sources[plain.source].release(first, length)
    }

    /// The values of elements from `begin` on.
    pub(in super::super) fn values(
        &self,
        sources: &Sources,
        begin: u64,
        target: &mut [f32],
        buffer: &mut Buffer,
    ) -> Result<()> {
        let end = begin + target.len() as u64;
        self.load(sources, begin, end, buffer)?;
        let bytes = self.view(sources, begin, end, buffer);
        codec::decode::<Portable>(self.dtype(), bytes, target);
        self.release(sources, begin, end)
    }
}

impl Run<'_> {
    /// Read the elements as numbers of a type: that in which they are stored, or F32.
    fn read(
        &self,
        sources: &Sources,
        dtype: Dtype,
        raw: &mut Vec<u8>,
        target: &mut [u8],
    ) -> Result<()> {
        let Stored::Plain(plain) = self.stored;
        let (first, length) = plain.place(self.first, self.count);
        let source = &sources[plain.source];
        if plain.dtype == dtype {
            return source.read(first, target);
        }
        source.load(first, length, raw)?;
        widen(plain, source.view(first, length, raw), target);
        source.release(first, length)
    }
}

/// Decode numbers to bytes of F32.
fn widen(plain: &Plain, source: &[u8], target: &mut [u8]) {
    const STEP: usize = 256;
    let mut values = [0.0; STEP];
    let chunks = source.chunks(STEP * plain.dtype.bytes());
    for (source, target) in chunks.zip(target.chunks_mut(STEP * 4)) {
        let values = &mut values[..target.len() / 4];
        codec::decode::<Portable>(plain.dtype, source, values);
        codec::encode::<Portable>(Dtype::F32, values, target);
    }
}
