//! Maps that stay from run to run.
//!
//! A study merges the same checkpoints into live tensors again and again. To map their pages anew
//! takes a third of such a merge, though all of them are in the page cache already. Mapped pages are
//! still the page cache's: the kernel takes them back when it needs memory.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::mapping::Mapping;
use crate::sys::{self, Identity};

/// Without a limit of their own, files stay mapped as long as together they are no larger than one of
/// so many parts of the memory that is available.
const PART: u64 = 2;

/// More files than a merge has are not kept, the latest of several merges.
const MOST: usize = 16;

/// Keeps the files of runs mapped until it is dropped.
#[derive(Debug, Default)]
pub struct Maps {
    limit: Option<u64>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Number of the run.
    run: u64,
    /// The latest used comes last.
    kept: Vec<Kept>,
}

#[derive(Debug)]
struct Kept {
    path: PathBuf,
    file: Identity,
    mapping: Arc<Mapping>,
    /// The last run that used it.
    run: u64,
}

impl Maps {
    /// Keep files of so many bytes at most, or of half of the memory that is available.
    pub fn new(limit: Option<u64>) -> Self {
        Self { limit, state: Mutex::default() }
    }

    /// Begin a run; what is asked for until the next one stays, and other files as room allows.
    pub(super) fn begin(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.run += 1;
        // Of a file that was removed, the disk has the space back only when it is unmapped.
        state.kept.retain(|kept| {
            let now = sys::identity_at(&kept.path);
            kept.mapping.intact() && now.is_ok_and(|now| now == kept.file)
        });
    }

    /// The map of a file, made if there is none; `None` if it is not to be kept.
    pub(super) fn of(&self, path: &Path, file: &File) -> io::Result<Option<Arc<Mapping>>> {
        let identity = sys::identity(file)?;
        let size = identity[2];
        let mut guard = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { run, kept } = &mut *guard;
        let known = kept.iter().position(|kept| kept.path == path && kept.file == identity);
        if let Some(known) = known.map(|place| kept.remove(place)) {
            let mapping = Arc::clone(&known.mapping);
            kept.push(Kept { run: *run, ..known });
            return Ok(Some(mapping));
        }
        let available = || sys::available_memory().map(|bytes| bytes / PART);
        let Some(room) = self.limit.or_else(available) else {
            return Ok(None);
        };
        let full = |kept: &[Kept]| {
            let kept_size: u64 = kept.iter().map(|kept| kept.file[2]).sum();
            kept.len() >= MOST || kept_size + size > room
        };
        while full(kept) && kept.first().is_some_and(|first| first.run != *run) {
            kept.remove(0);
        }
        if full(kept) {
            return Ok(None);
        }
        let Some(mapping) = Mapping::new(file, size, None)?.map(Arc::new) else {
            return Ok(None);
        };
        let path = path.to_owned();
        kept.push(Kept { path, file: identity, mapping: Arc::clone(&mapping), run: *run });
        Ok(Some(mapping))
    }
}
