//! Output files: complete under their name or not there.

use std::fs;

use bmerge_core::{Error, OutputFile};

fn names(folder: &tempfile::TempDir) -> Vec<String> {
    let entries = fs::read_dir(folder.path()).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn commit_replaces_the_target() {
    for sync in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.bin");
        fs::write(&target, b"old").unwrap();
        let output = OutputFile::create(&target, 6).unwrap();
        output.write_at(3, b"def").unwrap();
        output.write_at(0, b"abc").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"old");
        output.commit(sync).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"abcdef");
        assert!(output.commit(sync).is_err());
        assert!(output.write_at(0, b"x").is_err());
        drop(output);
        assert_eq!(names(&folder), ["a.bin"]);
    }
}

#[test]
fn without_commit_nothing_remains() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("a.bin");
    drop(OutputFile::create(&target, 6).unwrap());
    OutputFile::create(&target, 0).unwrap().discard();
    assert!(names(&folder).is_empty());
}

#[test]
fn a_file_is_rewritten_in_parts_without_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old.bin"), folder.path().join("new.bin"));
    fs::write(&old, b"abcdef").unwrap();
    let output = OutputFile::rewrite(&old, &new).unwrap();
    assert_eq!(output.size(), 6);
    output.write_at(2, b"xy").unwrap();
    assert!(matches!(output.write_at(4, b"xyz"), Err(Error::Range { .. })));
    assert!(!old.exists() && !new.exists());
    output.commit(false).unwrap();
    assert_eq!(fs::read(&new).unwrap(), b"abxyef");
    drop(output);
    drop(OutputFile::rewrite(&new, &old).unwrap());
    assert!(names(&folder).is_empty());
    assert!(OutputFile::rewrite(&old, &new).is_err());
    assert!(names(&folder).is_empty());
}

#[test]
fn writes_outside_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let output = OutputFile::create(&folder.path().join("a.bin"), 6).unwrap();
    for offset in [4, 7, u64::MAX] {
        assert!(matches!(output.write_at(offset, b"abc"), Err(Error::Range { .. })));
    }
}

#[test]
fn impossible_files_fail_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let create = |name: &str, size| OutputFile::create(&folder.path().join(name), size);
    assert!(create("a.bin", 1 << 60).is_err());
    assert!(create("a.bin", u64::MAX).is_err());
    assert!(create("none/a.bin", 1).is_err());
    assert!(create("", 1).is_err());
    assert!(names(&folder).is_empty());
}
