//! Source files as memory maps, whose pages may be dropped behind the reader.
//!
//! They are dropped by large chunks and some time after they were read: the kernel maps as much as
//! a chunk at once where the page cache has it in one piece, and to drop a part of that costs more
//! than to copy it. What was read last stays, for it is what the next pass begins with.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::sync::{Mutex, PoisonError};

use crate::sys::View;

/// Bytes that are dropped together: the largest piece that the kernel maps at once.
const CHUNK: usize = 2 * 1024 * 1024;

/// A whole file, mapped for reading.
///
/// Where the file may shrink under the map, whoever reads asks [`Mapping::intact`] afterwards.
#[derive(Debug)]
pub(super) struct Mapping {
    view: View,
    length: usize,
    /// Chunks that were read and not dropped since, in the order in which they were first read.
    read: Mutex<VecDeque<usize>>,
    /// So many stay at most, the latest; all if that is not given.
    kept: Option<usize>,
}

impl Mapping {
    /// Map a file of a known size, of which about `resident` bytes may stay in memory, or all that
    /// was read; `None` if there are too many maps already.
    pub(super) fn new(file: &File, size: u64, resident: Option<u64>) -> io::Result<Option<Self>> {
        let length = usize::try_from(size).map_err(io::Error::other)?;
        if length == 0 {
            return Ok(None); // nothing to map, and nothing to read either
        }
        let kept = resident.map(|bytes| (bytes / CHUNK as u64).max(1) as usize);
        let view = View::new(file, length)?;
        Ok(view.map(|view| Self { view, length, read: Mutex::default(), kept }))
    }

    /// The bytes of a range within the file.
    pub(super) fn bytes(&self, begin: usize, length: usize) -> &[u8] {
        self.view.bytes(begin, length)
    }

    /// Whether nothing was read that the file no longer had.
    pub(super) fn intact(&self) -> bool {
        self.view.intact()
    }

    /// Be done with a range; pages that others are reading may go too, and come back.
    pub(super) fn forget(&self, begin: usize, length: usize) {
        let Some(kept) = self.kept else {
            return;
        };
        let mut chunks: Vec<usize> = {
            let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
            for chunk in begin / CHUNK..(begin + length).div_ceil(CHUNK) {
                if !read.contains(&chunk) {
                    read.push_back(chunk);
                }
            }
            let surplus = if self.intact() { read.len().saturating_sub(kept) } else { 0 };
            read.drain(..surplus).collect()
        };
        chunks.sort_unstable();
        // Neighbours in one call: every other thread is interrupted for each.
        for run in chunks.chunk_by(|one, next| one + 1 == *next) {
            let (begin, end) = (run[0] * CHUNK, (run[0] + run.len()) * CHUNK);
            self.view.discard(begin, end.min(self.length));
        }
    }
}
