//! The few system calls that the standard library does not have.

use std::fs::{self, File};
use std::io;

#[cfg(unix)]
use std::os::fd::AsRawFd;

/// Turn the result of a system call into a `Result`.
#[cfg(unix)]
fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Take the exclusive lock of a file without waiting; false if another process holds it.
#[cfg(unix)]
pub(crate) fn try_lock(file: &File) -> io::Result<bool> {
    // SAFETY: flock takes no pointers; the descriptor is open for as long as `file` is borrowed.
    let result = check(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) });
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        other => other.map(|()| true),
    }
}

/// Bytes of memory that can be had without swapping, the page cache among them; `None` if nobody
/// tells.
pub(crate) fn available_memory() -> Option<u64> {
    let all = fs::read_to_string("/proc/meminfo").ok()?;
    let line = all.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// Give a file its size and, where the file system can, its space at once.
///
/// Where it cannot, free space is at least looked at: it may be gone later, but a disk that is
/// too small is found before any work.
pub(crate) fn allocate(file: &File, size: u64) -> io::Result<()> {
    if size == 0 {
        return Ok(());
    }
    let length = i64::try_from(size).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))?;
    match fallocate(file, length) {
        Err(error) if unsupported(&error) => {
            if free_space(file).is_some_and(|free| free < size) {
                return Err(io::Error::from_raw_os_error(libc::ENOSPC));
            }
            file.set_len(size)
        }
        other => other,
    }
}

#[cfg(target_os = "linux")]
fn fallocate(file: &File, length: i64) -> io::Result<()> {
    loop {
        // SAFETY: fallocate takes no pointers; the descriptor is open while `file` is borrowed.
        let result = check(unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, length) });
        match result {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn fallocate(_file: &File, _length: i64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Let the disk begin to write what a file has in memory, without waiting for it.
#[cfg(target_os = "linux")]
pub(crate) fn start_writeback(file: &File) {
    // SAFETY: takes no pointers; the descriptor is open for as long as `file` is borrowed.
    // A failure tells nothing that fsync will not tell.
    unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn start_writeback(_file: &File) {}

/// Whether an error says that this file system or kernel lacks the call.
pub(crate) fn unsupported(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
        || matches!(
            error.raw_os_error(),
            Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL | libc::EXDEV | libc::EPERM)
        )
}

/// Bytes that an ordinary user can still write to the file's file system.
fn free_space(file: &File) -> Option<u64> {
    let mut stat = std::mem::MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: `stat` is writable memory of the right type for the call's duration.
    check(unsafe { libc::fstatvfs(file.as_raw_fd(), stat.as_mut_ptr()) }).ok()?;
    // SAFETY: the call succeeded, so the structure is filled (and was zeroed before).
    let stat = unsafe { stat.assume_init() };
    #[allow(clippy::unnecessary_cast)] // the fields are narrower on some systems
    Some((stat.f_bavail as u64).saturating_mul(stat.f_frsize as u64))
}
