//! Source files as memory maps, whose pages may be dropped behind the reader.
//!
//! They are dropped by large chunks and some time after they were read: the kernel maps as much as
//! a chunk at once where the page cache has it in one piece, and to drop a part of that costs more
//! than to copy it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::guard::Guard;

/// Bytes that are dropped together: the largest piece that the kernel maps at once.
const CHUNK: usize = 2 * 1024 * 1024;

/// More chunks than this gain nothing (measured).
const MOST: u64 = 8;

/// A whole file, mapped for reading.
///
/// The file may shrink under the map; [`Guard`] keeps that from killing the process, and whoever
/// reads asks [`Mapping::intact`] afterwards.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<u8>,
    length: usize,
    guard: Guard,
    /// Chunks that were read and not dropped since.
    read: Mutex<BTreeSet<usize>>,
    /// So many are dropped together; none ever if that is not given.
    kept: Option<usize>,
}

// SAFETY: the memory is only read, and unmapped by the owner alone.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Map a file of a known size, of which about `resident` bytes may stay in memory, or all that
    /// was read; `None` if there are too many maps to guard them all.
    pub(super) fn new(file: &File, size: u64, resident: Option<u64>) -> io::Result<Option<Self>> {
        let length = usize::try_from(size).map_err(io::Error::other)?;
        if length == 0 {
            return Ok(None); // nothing to map, and nothing to read either
        }
        // SAFETY: a fresh map at an address of the kernel's choice touches no other memory.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_READ,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        let start = NonNull::new(start.cast::<u8>()).filter(|at| at.as_ptr().addr() != usize::MAX);
        let start = start.ok_or_else(io::Error::last_os_error)?;
        let Some(guard) = Guard::new(start.as_ptr().addr(), length)? else {
            unmap(start, length);
            return Ok(None);
        };
        let kept = resident.map(|bytes| (bytes / CHUNK as u64).clamp(1, MOST) as usize);
        Ok(Some(Self { start, length, guard, read: Mutex::default(), kept }))
    }

    /// The bytes of a range within the file.
    pub(super) fn bytes(&self, begin: usize, length: usize) -> &[u8] {
        let end = begin.checked_add(length).filter(|end| *end <= self.length);
        assert!(end.is_some(), "range was checked when the run began");
        // SAFETY: the range was found to lie within the map.
        let start = unsafe { self.start.as_ptr().add(begin) };
        // SAFETY: the memory stays mapped while `self` is borrowed and is never written by us.
        unsafe { std::slice::from_raw_parts(start, length) }
    }

    /// Whether no page of the map had to be replaced because the file had shrunk.
    pub(super) fn intact(&self) -> bool {
        self.guard.intact()
    }

    /// Be done with a range; pages that others are reading may go too, and come back.
    pub(super) fn forget(&self, begin: usize, length: usize) {
        let Some(kept) = self.kept else {
            return;
        };
        let chunks = {
            let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
            read.extend(begin / CHUNK..(begin + length).div_ceil(CHUNK));
            if read.len() < kept || !self.intact() {
                return;
            }
            std::mem::take(&mut *read)
        };
        // Neighbours in one call: every other thread is interrupted for each.
        let chunks: Vec<usize> = chunks.into_iter().collect();
        for run in chunks.chunk_by(|one, next| one + 1 == *next) {
            let (begin, end) = (run[0] * CHUNK, (run[0] + run.len()) * CHUNK);
            self.advise(begin, end.min(self.length), libc::MADV_DONTNEED);
        }
    }

    fn advise(&self, begin: usize, end: usize, advice: libc::c_int) {
        // SAFETY: callers keep the range within the map, but for the rest of its last page.
        let start = unsafe { self.start.as_ptr().add(begin) };
        // SAFETY: this advice does not change what the bytes of a shared file map are.
        unsafe { libc::madvise(start.cast(), end - begin, advice) };
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // The guard goes first: nothing else may be at these addresses while it watches them.
        self.guard.end();
        unmap(self.start, self.length);
    }
}

fn unmap(start: NonNull<u8>, length: usize) {
    // SAFETY: exactly what was mapped; the owner is being dropped or was never made.
    unsafe { libc::munmap(start.as_ptr().cast(), length) };
}

/// The size of a page.
pub(super) fn page() -> usize {
    static PAGE: OnceLock<usize> = OnceLock::new();
    *PAGE.get_or_init(|| {
        // SAFETY: sysconf takes no pointers.
        let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        usize::try_from(size).unwrap_or(4096)
    })
}
