//! Files.
//!
//! The standard library opens them such that others may read, write, rename and remove them
//! meanwhile, and takes names with drive letters and of any length.

use std::fs::{self, File};
use std::io;
use std::mem::MaybeUninit;
use std::os::windows::fs::FileExt;
use std::os::windows::io::AsRawHandle;
use std::path::Path;
use std::thread;
use std::time::Duration;

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_SHARING_VIOLATION, ERROR_USER_MAPPED_FILE,
};
use windows_sys::Win32::Storage::FileSystem::{
    GetFileInformationByHandle, BY_HANDLE_FILE_INFORMATION,
};

use crate::sys::Identity;

/// How often to try to replace a file that somebody has open, and how long to wait in between:
/// scanners look at new files for a moment.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(50);

/// Fill a buffer from a position on.
pub(crate) fn read_exact_at(file: &File, mut target: &mut [u8], offset: u64) -> io::Result<()> {
    let mut offset = offset;
    while !target.is_empty() {
        match file.seek_read(target, offset)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                target = &mut target[count..];
                offset += count as u64;
            }
        }
    }
    Ok(())
}

/// Write all bytes of a buffer from a position on.
pub(crate) fn write_all_at(file: &File, mut bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut offset = offset;
    while !bytes.is_empty() {
        match file.seek_write(bytes, offset)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            count => {
                bytes = &bytes[count..];
                offset += count as u64;
            }
        }
    }
    Ok(())
}

/// Say that a file is in use. Here the number of the process in its name tells it: no two worlds
/// of processes share a folder of one machine.
pub(crate) fn hold(_file: &File) {}

/// Let a file take the place of another, at once; one that others have open too, if they let it be
/// removed meanwhile.
pub(crate) fn replace(from: &Path, to: &Path) -> io::Result<()> {
    let busy = [ERROR_ACCESS_DENIED, ERROR_SHARING_VIOLATION, ERROR_USER_MAPPED_FILE];
    for _ in 1..TRIES {
        match fs::rename(from, to) {
            Err(error)
                if error.raw_os_error().is_some_and(|code| busy.contains(&(code as u32))) =>
            {
                thread::sleep(PAUSE);
            }
            other => return other,
        }
    }
    fs::rename(from, to)
}

/// Names are in the file system's journal; there is nothing to wait for.
#[allow(clippy::unnecessary_wraps)] // others can fail
pub(crate) fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

/// Which file it is.
pub(crate) fn identity(file: &File) -> io::Result<Identity> {
    let mut found = MaybeUninit::<BY_HANDLE_FILE_INFORMATION>::zeroed();
    // SAFETY: the handle is open while `file` is borrowed; `found` is writable and of the type.
    let done = unsafe { GetFileInformationByHandle(file.as_raw_handle(), found.as_mut_ptr()) };
    if done == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so the structure is filled (and was zeroed before).
    let found = unsafe { found.assume_init() };
    let whole = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
    Ok([
        found.dwVolumeSerialNumber.into(),
        whole(found.nFileIndexHigh, found.nFileIndexLow),
        whole(found.nFileSizeHigh, found.nFileSizeLow),
    ])
}

/// Which file has a path now.
pub(crate) fn identity_at(path: &Path) -> io::Result<Identity> {
    identity(&File::open(path)?)
}

/// Give a file its size, and with it its space.
pub(crate) fn allocate(file: &File, size: u64) -> io::Result<()> {
    file.set_len(size)
}

/// The system writes behind on its own.
pub(crate) fn start_writeback(_file: &File) {}
