//! Memory: views of files, and how much of it there is.

use std::fs::File;
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr::{self, NonNull};

use windows_sys::Win32::System::Memory::{
    CreateFileMappingW, MapViewOfFile, UnmapViewOfFile, VirtualUnlock, FILE_MAP_READ,
    MEMORY_MAPPED_VIEW_ADDRESS, PAGE_READONLY,
};
use windows_sys::Win32::System::SystemInformation::{GlobalMemoryStatusEx, MEMORYSTATUSEX};

/// A whole file, mapped for reading. The system lets nobody shorten it meanwhile.
#[derive(Debug)]
pub(crate) struct View {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the memory is only read, and unmapped by the owner alone.
unsafe impl Send for View {}
// SAFETY: as above.
unsafe impl Sync for View {}

impl View {
    /// Map a file of a known size, not 0.
    #[allow(clippy::unnecessary_wraps)] // on other systems only so many files can be mapped
    pub(crate) fn new(file: &File, length: usize) -> io::Result<Option<Self>> {
        let handle = file.as_raw_handle();
        // SAFETY: the handle is open while `file` is borrowed; no name and no attributes are given.
        let section =
            unsafe { CreateFileMappingW(handle, ptr::null(), PAGE_READONLY, 0, 0, ptr::null()) };
        if section.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a fresh handle that nobody else has. The view outlives it.
        let section = unsafe { OwnedHandle::from_raw_handle(section) };
        // SAFETY: a fresh view at an address of the system's choice touches no other memory.
        let view = unsafe { MapViewOfFile(section.as_raw_handle(), FILE_MAP_READ, 0, 0, length) };
        let start = NonNull::new(view.Value.cast()).ok_or_else(io::Error::last_os_error)?;
        Ok(Some(Self { start, length }))
    }

    /// The bytes of a range within the file.
    pub(crate) fn bytes(&self, begin: usize, length: usize) -> &[u8] {
        let end = begin.checked_add(length).filter(|end| *end <= self.length);
        assert!(end.is_some(), "range was checked when the run began");
        // SAFETY: the range was found to lie within the view.
        let start = unsafe { self.start.as_ptr().add(begin) };
        // SAFETY: the memory stays mapped while `self` is borrowed and is never written by us.
        unsafe { std::slice::from_raw_parts(start, length) }
    }

    /// Always: a file cannot shrink while it is mapped.
    #[allow(clippy::unused_self)] // on other systems it can
    pub(crate) fn intact(&self) -> bool {
        true
    }

    /// Let pages go that will not be read soon; who does read them gets them again. The range ends
    /// within the file, and begins with a page.
    pub(crate) fn discard(&self, begin: usize, end: usize) {
        // SAFETY: callers keep the range within the view.
        let start = unsafe { self.start.as_ptr().add(begin) };
        // Pages that were not locked leave the working set by this, and it says that they were not.
        // SAFETY: this does not change what the bytes are.
        unsafe { VirtualUnlock(start.cast(), end - begin) };
    }
}

impl Drop for View {
    fn drop(&mut self) {
        let view = MEMORY_MAPPED_VIEW_ADDRESS { Value: self.start.as_ptr().cast() };
        // SAFETY: exactly what was mapped, and the owner is being dropped.
        unsafe { UnmapViewOfFile(view) };
    }
}

/// Bytes of memory that can be had without swapping, the file cache among them; `None` if nobody
/// tells.
pub(crate) fn available_memory() -> Option<u64> {
    let length = size_of::<MEMORYSTATUSEX>() as u32;
    let mut status = MEMORYSTATUSEX { dwLength: length, ..MEMORYSTATUSEX::default() };
    // SAFETY: `status` is writable, of the right type, and says how long it is.
    let done = unsafe { GlobalMemoryStatusEx(&raw mut status) };
    (done != 0).then_some(status.ullAvailPhys)
}
