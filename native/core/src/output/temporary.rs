//! Names and locks of temporaries, so that those of dead processes can be told and removed.

use std::collections::hash_map::RandomState;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::sys;

const SUFFIX: &str = ".bmerge-tmp";

/// File systems allow 255 bytes; the rest is for dots, pid, random digits and suffix.
const NAME_LIMIT: usize = 200;

/// A temporary this old was locked long ago if it ever will be.
const GRACE: Duration = Duration::from_secs(60);

/// The folder that holds a path.
pub(super) fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Create and lock a temporary `.{name}.{pid}-{random}.bmerge-tmp` beside the target.
pub(super) fn create(target: &Path) -> Result<(PathBuf, File)> {
    let Some(name) = target.file_name() else {
        let error = io::ErrorKind::InvalidInput.into();
        return Err(Error::io(target, "name output file", error));
    };
    let name = name.to_string_lossy();
    let name = shorten(&name);
    loop {
        let random = RandomState::new().build_hasher().finish();
        let file_name = format!(".{name}.{}-{random:016x}{SUFFIX}", std::process::id());
        let path = folder(target).join(file_name);
        match OpenOptions::new().read(true).write(true).create_new(true).open(&path) {
            Ok(file) => {
                // Some network file systems have no locks; the name's pid still tells then.
                let _ = sys::try_lock(&file);
                return Ok((path, file));
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::io(target, "create output file", error)),
        }
    }
}

/// The longest prefix within the limit that ends between characters.
fn shorten(name: &str) -> &str {
    let end = (0..=NAME_LIMIT.min(name.len())).rev().find(|end| name.is_char_boundary(*end));
    &name[..end.unwrap_or(0)]
}

/// Remove the temporaries of dead processes from a folder; returns their paths, sorted.
///
/// A temporary is dead if nobody holds its lock and either no process has its number or it is
/// older than a minute (numbers are used again, in containers all the time).
pub fn clean_stale(directory: &Path) -> Result<Vec<PathBuf>> {
    let list = |error| Error::io(directory, "list folder", error);
    let mut removed = Vec::new();
    for entry in fs::read_dir(directory).map_err(list)? {
        let path = entry.map_err(list)?.path();
        if is_stale(&path) && fs::remove_file(&path).is_ok() {
            removed.push(path);
        }
    }
    removed.sort();
    Ok(removed)
}

fn is_stale(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let Some(pid) = name.and_then(owner) else {
        return false;
    };
    let Ok(metadata) = path.symlink_metadata() else {
        return false;
    };
    if !metadata.is_file() || (sys::process_exists(pid) && is_young(&metadata)) {
        return false;
    }
    let Ok(file) = OpenOptions::new().read(true).write(true).open(path) else {
        return false;
    };
    matches!(sys::try_lock(&file), Ok(true))
}

fn is_young(metadata: &fs::Metadata) -> bool {
    let age = metadata.modified().ok().and_then(|time| time.elapsed().ok());
    age.is_none_or(|age| age < GRACE)
}

/// The process number in the name of a temporary.
fn owner(name: &str) -> Option<i32> {
    let rest = name.strip_prefix('.')?.strip_suffix(SUFFIX)?;
    let (pid, random) = rest.rsplit_once('.')?.1.split_once('-')?;
    let hexadecimal = random.len() == 16 && random.bytes().all(|byte| byte.is_ascii_hexdigit());
    let pid = pid.parse::<i32>().ok()?;
    (hexadecimal && pid > 0).then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owner_reads_only_our_names() {
        assert_eq!(owner(".a.b.12-0123456789abcdef.bmerge-tmp"), Some(12));
        assert_eq!(owner(".a.-12-0123456789abcdef.bmerge-tmp"), None);
        assert_eq!(owner(".a.12-xyz.bmerge-tmp"), None);
        assert_eq!(owner("a.12-0123456789abcdef.bmerge-tmp"), None);
    }

    #[test]
    fn shorten_keeps_characters_whole() {
        assert_eq!(shorten("model"), "model");
        assert_eq!(shorten(&"é".repeat(150)).len(), 200);
        assert_eq!(shorten(&"€".repeat(150)).len(), 198);
    }
}
