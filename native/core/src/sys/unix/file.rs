//! Files.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use super::check;
use crate::sys::Identity;

/// Fill a buffer from a position on.
pub(crate) fn read_exact_at(file: &File, target: &mut [u8], offset: u64) -> io::Result<()> {
    file.read_exact_at(target, offset)
}

/// Write all bytes of a buffer from a position on.
pub(crate) fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    file.write_all_at(bytes, offset)
}

/// Say that a file is in use, for as long as it is open: whoever cleans up leaves it alone.
pub(crate) fn hold(file: &File) {
    // Some network file systems have no locks; the number of the process in its name tells then.
    // SAFETY: flock takes no pointers; the descriptor is open for as long as `file` is borrowed.
    unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
}

/// Let a file take the place of another, at once.
pub(crate) fn replace(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

/// Wait until the disk knows which names a folder has, where the file system can be told to.
///
/// Shared folders of virtual machines and some network file systems refuse, and a folder may be
/// one to write into only: a file that is there already is no failure for that.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(error) if REFUSALS.contains(&error.raw_os_error().unwrap_or(0)) => Ok(()),
        result => result,
    }
}

const REFUSALS: [i32; 5] =
    [libc::EINVAL, libc::EBADF, libc::ENOSYS, libc::EOPNOTSUPP, libc::EACCES];

/// Which file it is.
pub(crate) fn identity(file: &File) -> io::Result<Identity> {
    file.metadata().map(|metadata| of(&metadata))
}

/// Which file has a path now.
pub(crate) fn identity_at(path: &Path) -> io::Result<Identity> {
    fs::metadata(path).map(|metadata| of(&metadata))
}

fn of(metadata: &Metadata) -> Identity {
    [metadata.dev(), metadata.ino(), metadata.len()]
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
fn unsupported(error: &io::Error) -> bool {
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
