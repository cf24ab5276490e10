//! Names and locks of temporaries, by which those of dead processes are told and removed
//! (`bmerge.temporaries` does that).

use std::collections::hash_map::RandomState;
use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::sys;

const SUFFIX: &str = ".bmerge-tmp";

/// File systems allow 255 bytes; the rest is for dots, pid, random digits and suffix.
const NAME_LIMIT: usize = 200;

/// The folder that holds a path.
pub(super) fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Create and lock a temporary `.{name}.{pid}-{random}.bmerge-tmp` beside the target.
pub(super) fn create(target: &Path) -> Result<(PathBuf, File)> {
    loop {
        let path = fresh_path(target)?;
        match OpenOptions::new().read(true).write(true).create_new(true).open(&path) {
            Ok(file) => {
                sys::hold(&file);
                return Ok((path, file));
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::io(target, "create output file", error)),
        }
    }
}

/// Lock a file that is there and make it the temporary of a target in the same folder.
pub(super) fn take(existing: &Path, target: &Path) -> Result<(PathBuf, File)> {
    let failed = |error| Error::io(existing, "take file", error);
    let file = OpenOptions::new().read(true).write(true).open(existing).map_err(failed)?;
    sys::hold(&file);
    let path = fresh_path(target)?;
    sys::replace(existing, &path).map_err(failed)?;
    Ok((path, file))
}

/// A name for a temporary that is as good as sure not to be there.
fn fresh_path(target: &Path) -> Result<PathBuf> {
    let Some(name) = target.file_name() else {
        let error = io::ErrorKind::InvalidInput.into();
        return Err(Error::io(target, "name output file", error));
    };
    let name = name.to_string_lossy();
    let name = shorten(&name);
    let random = RandomState::new().build_hasher().finish();
    let file_name = format!(".{name}.{}-{random:016x}{SUFFIX}", std::process::id());
    Ok(folder(target).join(file_name))
}

/// The longest prefix within the limit that ends between characters.
fn shorten(name: &str) -> &str {
    let end = (0..=NAME_LIMIT.min(name.len())).rev().find(|end| name.is_char_boundary(*end));
    &name[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shorten_keeps_characters_whole() {
        assert_eq!(shorten("model"), "model");
        assert_eq!(shorten(&"é".repeat(150)).len(), 200);
        assert_eq!(shorten(&"€".repeat(150)).len(), 198);
    }
}
