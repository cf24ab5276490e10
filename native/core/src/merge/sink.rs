//! Where outputs are written to.

use std::marker::PhantomData;

use super::stream::{end_streams, stream};
use crate::error::Result;
use crate::output::{OutputFile, Writing};

/// A file or memory.
#[derive(Debug)]
pub enum Sink<'a> {
    /// A file that its owner commits after the run.
    File(&'a OutputFile),
    /// Memory.
    Bytes(SharedBytes<'a>),
}

/// Memory that several threads write to, each to ranges of its own.
#[derive(Debug)]
pub struct SharedBytes<'a> {
    start: *mut u8,
    length: usize,
    owner: PhantomData<&'a mut [u8]>,
}

// SAFETY: it stands for an exclusive borrow of bytes, which may move between threads.
unsafe impl Send for SharedBytes<'_> {}
// SAFETY: through a shared reference only `range` gives access; its caller keeps ranges apart.
unsafe impl Sync for SharedBytes<'_> {}

impl<'a> SharedBytes<'a> {
    /// Borrow bytes for a run.
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Self { start: bytes.as_mut_ptr(), length: bytes.len(), owner: PhantomData }
    }

    /// A range to write to.
    ///
    /// # Safety
    /// The range is within the bytes and no other range in use at the same time overlaps it.
    #[allow(clippy::mut_from_ref)] // the point of the type; see Safety
    pub(super) unsafe fn range(&self, begin: usize, length: usize) -> &mut [u8] {
        debug_assert!(begin + length <= self.length);
        // SAFETY: the caller keeps the range within the allocation.
        let start = unsafe { self.start.add(begin) };
        // SAFETY: the caller keeps ranges apart, and the borrow behind `owner` outlives this.
        unsafe { std::slice::from_raw_parts_mut(start, length) }
    }
}

impl Sink<'_> {
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::File(file) => file.size(),
            Self::Bytes(bytes) => bytes.length as u64,
        }
    }

    /// How much one call writes to a file, if that was found out.
    pub(super) fn writing(&self) -> Option<Writing> {
        match self {
            Self::File(file) => file.writing(),
            Self::Bytes(_) => None,
        }
    }

    pub(super) fn is_memory(&self) -> bool {
        matches!(self, Self::Bytes(_))
    }

    /// Let `fill` put the bytes of a range of memory where they belong, past the caches; into a file as
    /// [`Sink::write`] does.
    ///
    /// # Safety
    /// The range is within the sink and no other range in use at the same time overlaps it.
    pub(super) unsafe fn write_in_place<T>(
        &self,
        begin: u64,
        length: usize,
        buffer: &mut Vec<u8>,
        fill: impl FnOnce(&mut [u8]) -> Result<T>,
    ) -> Result<T> {
        let Self::Bytes(bytes) = self else {
            // SAFETY: what this function asks of its caller.
            return unsafe { self.write(begin, length, buffer, fill) };
        };
        // SAFETY: what this function asks of its caller.
        let result = fill(unsafe { bytes.range(begin as usize, length) });
        end_streams();
        result
    }

    /// Let `fill` produce the bytes of a range and put them there.
    ///
    /// # Safety
    /// The range is within the sink and no other range in use at the same time overlaps it.
    pub(super) unsafe fn write<T>(
        &self,
        begin: u64,
        length: usize,
        buffer: &mut Vec<u8>,
        fill: impl FnOnce(&mut [u8]) -> Result<T>,
    ) -> Result<T> {
        if buffer.len() < length {
            buffer.resize(length, 0);
        }
        let result = fill(&mut buffer[..length])?;
        match self {
            Self::File(file) => file.write_behind(begin, buffer, length)?,
            Self::Bytes(bytes) => {
                // SAFETY: what this function asks of its caller.
                stream(&buffer[..length], unsafe { bytes.range(begin as usize, length) });
            }
        }
        Ok(result)
    }
}
