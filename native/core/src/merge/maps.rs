//! Maps that stay from run to run.
//!
//! A study merges the same checkpoints into live tensors again and again. To map their pages anew
//! takes a third of such a merge, though all of them are in the page cache already. Mapped pages are
//! still the page cache's: the kernel takes them back when it needs memory.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::mapping::Mapping;
use crate::sys;

/// Files stay mapped as long as together they are no larger than one of so many parts of the memory
/// that is available.
const PART: u64 = 2;

/// Keeps the files of runs mapped until it is dropped.
#[derive(Debug, Default)]
pub struct Maps(Mutex<HashMap<PathBuf, Kept>>);

#[derive(Debug)]
struct Kept {
    /// Device, number and size of the file: another one may have its name by now.
    file: [u64; 3],
    mapping: Arc<Mapping>,
}

impl Maps {
    /// The map of a file, made if there is none; `None` if it is not to be kept.
    pub(super) fn of(
        &self,
        path: &Path,
        file: &File,
        metadata: &Metadata,
    ) -> io::Result<Option<Arc<Mapping>>> {
        let identity = [metadata.dev(), metadata.ino(), metadata.len()];
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, kept| kept.mapping.intact());
        if let Some(kept) = kept.get(path).filter(|kept| kept.file == identity) {
            return Ok(Some(Arc::clone(&kept.mapping)));
        }
        kept.remove(path);
        let size: u64 = kept.values().map(|kept| kept.file[2]).sum();
        if sys::available_memory().is_none_or(|bytes| size + metadata.len() > bytes / PART) {
            return Ok(None);
        }
        let Some(mapping) = Mapping::new(file, metadata.len(), None)?.map(Arc::new) else {
            return Ok(None);
        };
        let new = Kept { file: identity, mapping: Arc::clone(&mapping) };
        kept.insert(path.to_owned(), new);
        Ok(Some(mapping))
    }
}
