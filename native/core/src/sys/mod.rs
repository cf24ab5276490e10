//! The operating system: what the standard library does not have, or not under one name.
//!
//! No other module names a system. Each has the same functions here:
//!
//! - files: [`read_exact_at`], [`write_all_at`], [`allocate`], [`start_writeback`], [`replace`],
//!   [`sync_folder`], [`hold`], [`Identity`] by [`identity`] and [`identity_at`], and with it
//!   [`Version`] by [`version`];
//! - memory: [`View`] of a file, [`available_memory`].

use std::fs::File;
use std::time::{Duration, SystemTime};

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

pub(crate) use system::file::{
    allocate, hold, identity, identity_at, read_exact_at, replace, start_writeback, sync_folder,
    write_all_at,
};
pub(crate) use system::memory::{available_memory, View};

/// Volume, number and size of a file: another one may have its name by now.
pub(crate) type Identity = [u64; 3];

/// A file that was changed less than this ago may be changed again without having a later time; the
/// coarsest file system counts in steps of two seconds.
const SETTLED: Duration = Duration::from_millis(2500);

/// Which contents a file has, as far as its size and the time of its last change tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Version {
    file: Identity,
    changed: SystemTime,
}

/// The version of a file; `None` if it was changed just now, or nobody tells when.
pub(crate) fn version(file: &File) -> Option<Version> {
    let changed = file.metadata().and_then(|metadata| metadata.modified()).ok()?;
    let settled = changed.elapsed().is_ok_and(|age| age >= SETTLED);
    let file = identity(file).ok()?;
    settled.then_some(Version { file, changed })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io;

    use super::*;

    #[test]
    fn memory_that_can_be_had_is_less_than_a_petabyte() {
        if let Some(bytes) = available_memory() {
            assert!((1 << 20..1 << 50).contains(&bytes), "{bytes}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn folders_whose_file_system_cannot_flush_them_are_no_failure() {
        let folder = std::path::Path::new("/proc");
        assert_eq!(
            File::open(folder).unwrap().sync_all().unwrap_err().kind(),
            io::ErrorKind::InvalidInput
        );
        sync_folder(folder).unwrap();
        assert!(sync_folder(std::path::Path::new("/not/there")).is_err());
    }

    #[test]
    fn positioned_reads_and_writes_meet() {
        let file = tempfile::tempfile().unwrap();
        allocate(&file, 9).unwrap();
        write_all_at(&file, b"later", 4).unwrap();
        write_all_at(&file, b"soon", 0).unwrap();
        let mut bytes = [0; 6];
        read_exact_at(&file, &mut bytes, 2).unwrap();
        assert_eq!(&bytes, b"onlate");
        let error = read_exact_at(&file, &mut bytes, 4).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(file.metadata().unwrap().len(), 9);
    }

    #[test]
    #[cfg_attr(windows, ignore = "Wine does not replace what is open, as Windows 10 does")]
    fn a_file_that_is_being_read_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| folder.path().join(name));
        fs::write(&from, b"new").unwrap();
        fs::write(&to, b"old").unwrap();
        let reader = File::open(&to).unwrap();
        let view = View::new(&reader, 3).unwrap().unwrap();
        let held = File::options().write(true).open(&from).unwrap();
        hold(&held);
        replace(&from, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"new");
        assert_eq!(view.bytes(0, 3), b"old");
    }

    #[test]
    fn identities_tell_files_of_one_size_apart() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["a", "b"].map(|name| folder.path().join(name));
        let [a, b] = paths.each_ref().map(|path| {
            fs::write(path, b"same").unwrap();
            identity(&File::open(path).unwrap()).unwrap()
        });
        assert_ne!(a, b);
        assert_eq!([a, b], paths.each_ref().map(|path| identity_at(path).unwrap()));
    }
}
