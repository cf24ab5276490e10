//! Memory: views of files, and how much of it there is.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};

use super::fault::Guard;

/// A whole file, mapped for reading.
///
/// The file may shrink under the map; [`Guard`] keeps that from killing the process, and whoever
/// reads asks [`View::intact`] afterwards.
#[derive(Debug)]
pub(crate) struct View {
    start: NonNull<u8>,
    length: usize,
    guard: Guard,
}

// SAFETY: the memory is only read, and unmapped by the owner alone.
unsafe impl Send for View {}
// SAFETY: as above.
unsafe impl Sync for View {}

impl View {
    /// Map a file of a known size, not 0; `None` if there are too many maps to guard them all.
    pub(crate) fn new(file: &File, length: usize) -> io::Result<Option<Self>> {
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
        Ok(Some(Self { start, length, guard }))
    }

    /// The bytes of a range within the file.
    pub(crate) fn bytes(&self, begin: usize, length: usize) -> &[u8] {
        let end = begin.checked_add(length).filter(|end| *end <= self.length);
        assert!(end.is_some(), "range was checked when the run began");
        // SAFETY: the range was found to lie within the map.
        let start = unsafe { self.start.as_ptr().add(begin) };
        // SAFETY: the memory stays mapped while `self` is borrowed and is never written by us.
        unsafe { std::slice::from_raw_parts(start, length) }
    }

    /// Whether no page of the map had to be replaced because the file had shrunk.
    pub(crate) fn intact(&self) -> bool {
        self.guard.intact()
    }

    /// Let pages go that will not be read soon; who does read them gets them again. The range ends
    /// within the file, and begins with a page.
    pub(crate) fn discard(&self, begin: usize, end: usize) {
        // SAFETY: callers keep the range within the map, but for the rest of its last page.
        let start = unsafe { self.start.as_ptr().add(begin) };
        // SAFETY: this advice does not change what the bytes of a shared file map are.
        unsafe { libc::madvise(start.cast(), end - begin, libc::MADV_DONTNEED) };
    }
}

impl Drop for View {
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

/// Bytes of memory that can be had without swapping, the page cache among them; `None` if nobody
/// tells.
pub(crate) fn available_memory() -> Option<u64> {
    let all = fs::read_to_string("/proc/meminfo").ok()?;
    let line = all.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}
