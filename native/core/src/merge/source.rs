//! Where inputs are read from.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::mapping::Mapping;
use crate::error::{Error, Result};
use crate::sys::{self, Version};

/// A file or memory.
#[derive(Debug)]
pub enum Source<'a> {
    /// A file, opened once for the run.
    Path(PathBuf),
    /// Bytes that do not change during the run.
    Bytes(&'a [u8]),
}

/// A source that is ready to be read.
#[derive(Debug)]
pub(super) enum Opened<'a> {
    File { file: File, path: &'a Path, size: u64 },
    Mapped { mapping: Arc<Mapping>, file: File, path: &'a Path, size: u64 },
    Bytes(&'a [u8]),
}

impl Opened<'_> {
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::File { size, .. } | Self::Mapped { size, .. } => *size,
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }

    /// Which contents it has; `None` if that may change unseen.
    pub(super) fn version(&self) -> Option<Version> {
        match self {
            Self::File { file, .. } | Self::Mapped { file, .. } => sys::version(file),
            Self::Bytes(_) => None,
        }
    }

    /// Whether reading takes a buffer.
    pub(super) fn needs_buffer(&self) -> bool {
        matches!(self, Self::File { .. })
    }

    /// An error about a range of this source, which is number `index`.
    pub(super) fn range_error(&self, index: usize, message: String) -> Error {
        match self {
            Self::File { path, .. } | Self::Mapped { path, .. } => {
                let name = path.display().to_string();
                Error::Range { path: Some(path.to_path_buf()), name, message }
            }
            Self::Bytes(_) => {
                Error::Range { path: None, name: format!("source {index} (buffer)"), message }
            }
        }
    }

    /// Bring a range that was checked against the size into `buffer`, unless it is in memory.
    pub(super) fn load(&self, begin: u64, length: usize, buffer: &mut Vec<u8>) -> Result<()> {
        match self {
            Self::File { .. } => {
                if buffer.len() < length {
                    buffer.resize(length, 0);
                }
                self.read(begin, &mut buffer[..length])
            }
            Self::Mapped { .. } | Self::Bytes(_) => Ok(()),
        }
    }

    /// Copy a range that was checked against the size.
    pub(super) fn read(&self, begin: u64, target: &mut [u8]) -> Result<()> {
        if let Self::File { file, path, .. } = self {
            return sys::read_exact_at(file, target, begin).map_err(|error| {
                if error.kind() == io::ErrorKind::UnexpectedEof {
                    return shrunk(file, path, begin + target.len() as u64);
                }
                Error::io(*path, "read file", error)
            });
        }
        target.copy_from_slice(self.view(begin, target.len(), &[]));
        self.release(begin, target.len())
    }

    /// The bytes of a range after [`Opened::load`].
    pub(super) fn view<'b>(&'b self, begin: u64, length: usize, buffer: &'b [u8]) -> &'b [u8] {
        match self {
            Self::File { .. } => &buffer[..length],
            Self::Mapped { mapping, .. } => mapping.bytes(begin as usize, length),
            Self::Bytes(bytes) => &bytes[begin as usize..begin as usize + length],
        }
    }
}

impl Opened<'_> {
    /// Be done with a range; an error if the file had shrunk before it was read.
    pub(super) fn release(&self, begin: u64, length: usize) -> Result<()> {
        let Self::Mapped { mapping, file, path, .. } = self else {
            return Ok(());
        };
        if !mapping.intact() {
            return Err(shrunk(file, path, begin + length as u64));
        }
        mapping.forget(begin as usize, length);
        Ok(())
    }

    /// After all reads: an error if a file has shrunk by less than a page, of which zeros were read
    /// without a signal.
    pub(super) fn check_whole(&self) -> Result<()> {
        let Self::Mapped { file, path, size, .. } = self else {
            return Ok(());
        };
        let now = file.metadata().map_or(0, |metadata| metadata.len());
        if now < *size {
            return Err(shrunk(file, path, *size));
        }
        Ok(())
    }
}

/// The error about a file that was longer when it was opened.
fn shrunk(file: &File, path: &Path, needed: u64) -> Error {
    let size = file.metadata().map_or(0, |metadata| metadata.len());
    Error::Range {
        path: Some(path.to_owned()),
        name: path.display().to_string(),
        message: format!("file shrank while it was read: {size} bytes left, {needed} needed"),
    }
}
