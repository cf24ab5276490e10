//! Where inputs are read from.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::mapping::Mapping;
use super::maps::Maps;
use super::request::{IoMode, Request};
use super::sink::Sink;
use crate::error::{Error, Result};
use crate::sys;

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

/// Open every source.
pub(super) fn open_all<'a>(request: &'a Request) -> Result<Vec<Opened<'a>>> {
    let sources = &request.sources;
    let resident = request.options.memory / sources.len().max(1) as u64;
    // Maps are faster into memory wherever measured; into files it depends, see `ways`.
    let to_memory = request.sinks.iter().all(Sink::is_memory);
    let maps = match request.options.io {
        IoMode::Auto => to_memory,
        IoMode::Read => false,
        IoMode::Mmap => true,
    };
    let kept = request.maps.filter(|_| maps && to_memory);
    if let Some(kept) = kept {
        kept.begin();
    }
    sources
        .iter()
        .map(|source| match source {
            Source::Path(path) => open(path, maps.then_some(resident), kept),
            Source::Bytes(bytes) => Ok(Opened::Bytes(bytes)),
        })
        .collect()
}

/// Open every source as a map that lasts for the run, as far as files can be mapped.
pub(super) fn open_as_maps<'a>(request: &'a Request) -> Result<Vec<Opened<'a>>> {
    let resident = request.options.memory / request.sources.len().max(1) as u64;
    let open = |source: &'a Source| match source {
        Source::Path(path) => open(path, Some(resident), None),
        Source::Bytes(bytes) => Ok(Opened::Bytes(bytes)),
    };
    request.sources.iter().map(open).collect()
}

/// Open sources to read them once, from beginning to end.
pub(super) fn open_plainly<'a>(sources: &'a [Source]) -> Result<Vec<Opened<'a>>> {
    let open = |source: &'a Source| match source {
        Source::Path(path) => open(path, None, None),
        Source::Bytes(bytes) => Ok(Opened::Bytes(bytes)),
    };
    sources.iter().map(open).collect()
}

/// Open a file; if `resident` is given, as a map of which so many bytes may stay in memory, or as
/// one of those that are kept.
fn open<'a>(path: &'a Path, resident: Option<u64>, kept: Option<&Maps>) -> Result<Opened<'a>> {
    let io = |action| move |error| Error::io(path, action, error);
    let file = File::open(path).map_err(io("open file"))?;
    let metadata = file.metadata().map_err(io("read file size"))?;
    if metadata.is_dir() {
        return Err(Error::io(path, "open file", io::ErrorKind::IsADirectory.into()));
    }
    let size = metadata.len();
    let mapping = match resident {
        Some(resident) => map(path, &file, size, resident, kept).map_err(io("map file"))?,
        None => None,
    };
    Ok(match mapping {
        Some(mapping) => Opened::Mapped { mapping, file, path, size },
        None => Opened::File { file, path, size },
    })
}

/// A kept map, or one for this run.
fn map(
    path: &Path,
    file: &File,
    size: u64,
    resident: u64,
    kept: Option<&Maps>,
) -> io::Result<Option<Arc<Mapping>>> {
    if let Some(kept) = kept {
        let mapping = kept.of(path, file)?;
        if mapping.is_some() {
            return Ok(mapping);
        }
    }
    Ok(Mapping::new(file, size, Some(resident))?.map(Arc::new))
}

impl Opened<'_> {
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::File { size, .. } | Self::Mapped { size, .. } => *size,
            Self::Bytes(bytes) => bytes.len() as u64,
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
