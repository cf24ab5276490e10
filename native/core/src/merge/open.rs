//! Opening the sources of a request: plainly, or as maps into memory.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::mapping::Mapping;
use super::maps::Maps;
use super::request::{IoMode, Request};
use super::sink::Sink;
use super::source::{Opened, Source};
use crate::error::{Error, Result};

/// More bytes of a map gain nothing where they are read once, and little where they are read again.
const ONCE: u64 = 16 * 1024 * 1024;
const AGAIN: u64 = 32 * 1024 * 1024;

/// Bytes of each source that may stay in memory while it is a map.
fn resident(request: &Request) -> u64 {
    let again = request.programs.iter().any(|program| program.passes() > 1);
    let share = request.options.memory / request.sources.len().max(1) as u64;
    share.min(if again { AGAIN } else { ONCE })
}

/// Open every source.
pub(super) fn open_all<'a>(request: &'a Request) -> Result<Vec<Opened<'a>>> {
    let (sources, resident) = (&request.sources, resident(request));
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
    let resident = resident(request);
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
