//! Parts of inputs in memory.

use super::super::Sources;
use super::patched::Scratch;
use super::raw::{Range, Raw};
use super::{Input, Plain, Stored};
use crate::codec::blocks::Runs;
use crate::codec::{self, Isa};
use crate::dtype::Dtype;
use crate::error::Result;
use crate::vm::simd::{Level, Task};
use crate::vm::view::View;

/// Where a thread keeps a part of an input, if it does not lie in memory by itself.
#[derive(Debug, Default)]
pub(in super::super) struct Buffer {
    /// As it is stored, of one type.
    bytes: Vec<u8>,
    /// Decoded.
    values: Vec<f32>,
    decoding: Decoding,
}

/// What decoding takes beside its result.
#[derive(Debug, Default)]
struct Decoding {
    /// What is decoded.
    raw: Vec<Raw>,
    patched: Option<Box<Scratch>>,
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
        if let Some(coded) = self.coded() {
            return coded.load(sources, (begin, end), &mut buffer.decoding.raw);
        }
        let count = (end - begin) as usize;
        if !self.is_decoded() {
            return self.gather(sources, begin, end, &mut buffer.bytes);
        }
        if buffer.values.len() < count {
            buffer.values.resize(count, 0.0);
        }
        self.decode(sources, begin, &mut buffer.values[..count], &mut buffer.decoding)?;
        // Programs take the bytes of a file.
        let little = |value: &mut f32| *value = f32::from_bits(value.to_bits().to_le());
        buffer.values[..count].iter_mut().for_each(little);
        Ok(())
    }

    /// Elements after [`Input::load`].
    pub(in super::super) fn view<'b>(
        &'b self,
        sources: &'b Sources,
        begin: u64,
        end: u64,
        buffer: &'b Buffer,
    ) -> View<'b> {
        let count = (end - begin) as usize;
        let bytes = match self {
            Self::One(Stored::Coded(coded)) => {
                return View::Coded(coded.view(sources, (begin, end), &buffer.decoding.raw));
            }
            Self::One(Stored::Plain(plain)) => {
                let (first, length) = plain.place(begin, end - begin);
                sources[plain.source].view(first, length, &buffer.bytes)
            }
            _ if self.is_decoded() => bytes_of(&buffer.values[..count]),
            _ => &buffer.bytes[..count * self.dtype().bytes()],
        };
        View::Plain(bytes, self.dtype())
    }

    /// Be done with elements after [`Input::view`].
    pub(in super::super) fn release(&self, sources: &Sources, begin: u64, end: u64) -> Result<()> {
        match self {
            Self::One(Stored::Plain(plain)) => {
                let (first, length) = plain.place(begin, end - begin);
                sources[plain.source].release(first, length)
            }
            Self::One(Stored::Coded(coded)) => coded.release(sources, (begin, end)),
            Self::One(Stored::Patched(_)) | Self::Segments(_) => Ok(()), // copied already
        }
    }

    /// The values of elements from `begin` on.
    pub(in super::super) fn values(
        &self,
        sources: &Sources,
        begin: u64,
        target: &mut [f32],
        buffer: &mut Buffer,
    ) -> Result<()> {
        self.decode(sources, begin, target, &mut buffer.decoding)
    }

    /// Read segments of one type, one after another.
    fn gather(&self, sources: &Sources, begin: u64, end: u64, bytes: &mut Vec<u8>) -> Result<()> {
        let size = self.dtype().bytes();
        let length = (end - begin) as usize * size;
        if bytes.len() < length {
            bytes.resize(length, 0);
        }
        let mut rest = &mut bytes[..length];
        for run in self.runs(begin, end) {
            let (target, others) = rest.split_at_mut(run.count as usize * size);
            if let Stored::Plain(plain) = run.stored {
                sources[plain.source].read(plain.place(run.first, run.count).0, target)?;
            }
            rest = others;
        }
        Ok(())
    }

    /// Read and decode segments, one after another.
    fn decode(
        &self,
        sources: &Sources,
        begin: u64,
        target: &mut [f32],
        decoding: &mut Decoding,
    ) -> Result<()> {
        let Decoding { raw, patched } = decoding;
        let end = begin + target.len() as u64;
        let mut rest = target;
        for run in self.runs(begin, end) {
            let (target, others) = rest.split_at_mut(run.count as usize);
            match run.stored {
                Stored::Plain(plain) => widen(plain, sources, run.first, target, raw)?,
                Stored::Coded(coded) => coded.read(sources, run.first, target, raw)?,
                Stored::Patched(stored) => {
                    let scratch = patched.get_or_insert_default();
                    stored.read(sources, run.first, target, scratch)?;
                }
            }
            rest = others;
        }
        Ok(())
    }
}

/// Read and decode plain numbers.
fn widen(
    plain: &Plain,
    sources: &Sources,
    first: u64,
    target: &mut [f32],
    raw: &mut Vec<Raw>,
) -> Result<()> {
    raw.resize_with(raw.len().max(1), Raw::default);
    let (begin, length) = plain.place(first, target.len() as u64);
    let range = Range { source: plain.source, runs: Runs::one(begin, begin + length as u64) };
    raw[0].load(sources, range)?;
    let bytes = raw[0].view(sources, range);
    Level::detect().run(Decode { dtype: plain.dtype, bytes, target });
    range.release(sources)
}

/// Plain numbers that are decoded as fast as this processor does it.
pub(super) struct Decode<'a> {
    pub(super) dtype: Dtype,
    pub(super) bytes: &'a [u8],
    pub(super) target: &'a mut [f32],
}

impl Task for Decode<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        codec::decode::<I>(self.dtype, self.bytes, self.target);
    }
}

fn bytes_of(values: &[f32]) -> &[u8] {
    // SAFETY: any byte of a float is a byte; the length is that of the same memory.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}
