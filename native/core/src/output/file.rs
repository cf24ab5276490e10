//! A preallocated temporary beside the target, renamed over it on commit.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use super::backlog::Backlog;
use super::pieces::{Pieces, Writing};
use super::temporary;
use crate::error::{Error, Result};
use crate::sys;

/// Bytes after which the disk is told to go on writing.
const FLUSHED: u64 = 32 * 1024 * 1024;

/// A file of known size that is written in any order and then committed.
///
/// Dropped without [`OutputFile::commit`], the temporary is removed.
#[derive(Debug)]
pub struct OutputFile {
    target: PathBuf,
    temporary: PathBuf,
    file: File,
    size: u64,
    finished: AtomicBool,
    /// Whether the disk writes along.
    flushes: bool,
    written: AtomicU64,
    pieces: Pieces,
    backlog: Backlog,
}

impl OutputFile {
    /// Create the temporary beside `target` and allocate its space.
    pub fn create(target: &Path, size: u64) -> Result<Self> {
        if target.is_dir() {
            let error = io::ErrorKind::IsADirectory.into();
            return Err(Error::io(target, "replace folder", error));
        }
        let output = Self::new(target, temporary::create(target)?, size);
        sys::allocate(&output.file, size).map_err(output.io("allocate space"))?;
        Ok(output)
    }

    /// Make a file that is there the temporary of `target`, in the same folder. It loses its name
    /// at once, and what is not written stays as it is.
    pub fn rewrite(existing: &Path, target: &Path) -> Result<Self> {
        let (temporary, file) = temporary::take(existing, target)?;
        let mut output = Self::new(target, (temporary, file), 0);
        output.size = output.file.metadata().map_err(output.io("look at"))?.len();
        Ok(output)
    }

    fn new(target: &Path, (temporary, file): (PathBuf, File), size: u64) -> Self {
        Self {
            target: target.to_owned(),
            temporary,
            file,
            size,
            finished: AtomicBool::new(false),
            flushes: false,
            written: AtomicU64::new(0),
            pieces: Pieces::default(),
            backlog: Backlog::default(),
        }
    }

    /// Let the disk begin while the file is being written, for one that is committed with `sync`:
    /// little is left to wait for then, and little memory is full of what waits for the disk.
    #[must_use]
    pub fn flushing(mut self, flushes: bool) -> Self {
        self.flushes = flushes;
        self
    }

    /// The path that the file will have.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// The path that the file has until it is committed.
    pub fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// How much one call writes, if that was found out.
    pub(crate) fn writing(&self) -> Option<Writing> {
        self.pieces.found()
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Write bytes at a position within the file.
    pub fn write_at(&self, offset: u64, data: &[u8]) -> Result<()> {
        let end = offset.checked_add(data.len() as u64);
        if end.is_none_or(|end| end > self.size) {
            return Err(Error::Range {
                path: Some(self.target.clone()),
                name: self.target.display().to_string(),
                message: format!(
                    "cannot write {} bytes at {offset}: the file has {}",
                    data.len(),
                    self.size
                ),
            });
        }
        self.check_unfinished()?;
        let (size, timed) = self.pieces.pick(data.len());
        let start = timed.then(Instant::now);
        for (piece, at) in data.chunks(size).zip((offset..).step_by(size)) {
            sys::write_all_at(&self.file, piece, at).map_err(self.io("write"))?;
        }
        if let Some(start) = start {
            self.pieces.note(size, data.len(), start.elapsed());
        }
        self.count(data.len() as u64);
        Ok(())
    }

    /// Write the first bytes of a buffer at a position, or let the thread do it that is writing to
    /// this file. The buffer is another one then; an error may be that of another thread's bytes.
    pub(crate) fn write_behind(
        &self,
        offset: u64,
        buffer: &mut Vec<u8>,
        length: usize,
    ) -> Result<()> {
        let write = |offset, bytes: &[u8]| self.write_at(offset, bytes);
        self.backlog.write(offset, buffer, length, write)?;
        if self.written.load(Ordering::Relaxed) >= self.size {
            self.backlog.shrink(); // many files may be written one after the other
        }
        Ok(())
    }

    /// Note that so many bytes were written.
    fn count(&self, bytes: u64) {
        let before = self.written.fetch_add(bytes, Ordering::Relaxed);
        if self.flushes && before / FLUSHED != (before + bytes) / FLUSHED {
            sys::start_writeback(&self.file);
        }
    }

    /// Rename the temporary over the target; with `sync`, flush file and folder to disk first
    /// and after. On failure the temporary is removed.
    pub fn commit(&self, sync: bool) -> Result<()> {
        self.finish()?;
        let result = self.flush_and_rename(sync);
        if result.is_err() {
            // The first error is the one to tell; what remains is known by its name.
            let _ = fs::remove_file(&self.temporary);
        }
        result
    }

    /// Remove the temporary; does nothing when committed or discarded already.
    pub fn discard(&self) {
        if self.finish().is_ok() {
            // Nothing can be done about a failure here; what remains is known by its name.
            let _ = fs::remove_file(&self.temporary);
        }
    }

    /// An error unless the file can still be written.
    pub(crate) fn check_unfinished(&self) -> Result<()> {
        if self.finished.load(Ordering::Acquire) {
            return Err(self.already_finished());
        }
        Ok(())
    }

    fn finish(&self) -> Result<()> {
        if self.finished.swap(true, Ordering::AcqRel) {
            return Err(self.already_finished());
        }
        Ok(())
    }

    fn already_finished(&self) -> Error {
        let error = io::Error::other("it was committed or discarded already");
        Error::io(&self.target, "use output file", error)
    }

    fn flush_and_rename(&self, sync: bool) -> Result<()> {
        if sync {
            self.file.sync_all().map_err(self.io("flush"))?;
        }
        sys::replace(&self.temporary, &self.target).map_err(self.io("replace"))?;
        if sync {
            let folder = temporary::folder(&self.target);
            sys::sync_folder(folder).map_err(|error| Error::io(folder, "flush folder", error))?;
        }
        Ok(())
    }

    /// Make an error of the operating system ours, naming the target.
    pub(crate) fn io<'a>(&'a self, action: &'static str) -> impl Fn(io::Error) -> Error + 'a {
        move |error| Error::io(&self.target, action, error)
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        self.discard();
    }
}
