//! Maps that stay from run to run: what is read through them, and how long they stay.
#![cfg(target_os = "linux")] // elsewhere nobody tells how much memory there is, and none stays

use std::fs;
use std::path::Path;

use crate::common::{bytes, job, lerp, lerped, numbers, options};
use bmerge_core::merge::{run, IoMode, Maps, Progress, Request, SharedBytes, Sink, Source};
use bmerge_core::{Error, OutputFile, Result};
use tempfile::TempDir;

const COUNT: usize = 700_000;

fn write(path: &Path, seed: u64) {
    fs::write(path, bytes(&numbers(COUNT, seed))).unwrap();
}

/// A folder with two files.
fn pair() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("a"), 1);
    write(&folder.path().join("b"), 2);
    folder
}

fn expected(first: u64, second: u64) -> Vec<u8> {
    lerped(COUNT, first, second)
}

/// Merge two files into memory, or into a third file.
fn merged(folder: &Path, maps: &Maps, io: IoMode, target: Option<&Path>) -> Result<Vec<u8>> {
    let program = lerp();
    let mut memory = vec![0; 4 * COUNT];
    let output = target.map(|path| OutputFile::create(path, 4 * COUNT as u64).unwrap());
    let mut options = options(2, 1 << 22);
    options.io = io;
    let request = Request {
        programs: vec![&program],
        sources: ["a", "b"].map(|name| Source::Path(folder.join(name))).into(),
        sinks: vec![output
            .as_ref()
            .map_or_else(|| Sink::Bytes(SharedBytes::new(&mut memory)), Sink::File)],
        jobs: vec![job(&program, &[COUNT as u64])],
        copies: Vec::new(),
        maps: Some(maps),
        findings: None,
        options,
    };
    run(&request, &Progress::new(), || true)?;
    drop(request);
    Ok(memory)
}

/// How many files of a folder this process has mapped.
fn mapped(folder: &Path) -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains(folder.to_str().unwrap())).count()
}

#[test]
fn files_stay_mapped_until_their_keeper_is_dropped() {
    let folder = pair();
    let folder = folder.path();
    let maps = Maps::default();
    for _ in 0..2 {
        assert!(merged(folder, &maps, IoMode::Auto, None).unwrap() == expected(1, 2));
        assert_eq!(mapped(folder), 2);
    }
    drop(maps);
    assert_eq!(mapped(folder), 0);
}

#[test]
fn files_of_other_runs_stay_mapped_until_they_are_many_or_removed() {
    let maps = Maps::default();
    let folders: Vec<_> = (0..10).map(|_| pair()).collect();
    let paths = || folders.iter().map(TempDir::path);
    for folder in paths() {
        assert!(merged(folder, &maps, IoMode::Auto, None).unwrap() == expected(1, 2));
    }
    // Of the last eight merges, sixteen files.
    let counts: Vec<usize> = paths().map(mapped).collect();
    assert_eq!(counts, [0, 0, 2, 2, 2, 2, 2, 2, 2, 2]);
    fs::remove_file(folders[5].path().join("a")).unwrap();
    merged(folders[9].path(), &maps, IoMode::Auto, None).unwrap();
    assert_eq!(mapped(folders[5].path()), 1);
}

#[test]
fn no_more_stays_mapped_than_is_allowed() {
    let folder = pair();
    let folder = folder.path();
    let maps = Maps::new(Some(7 * COUNT as u64));
    for _ in 0..2 {
        assert!(merged(folder, &maps, IoMode::Auto, None).unwrap() == expected(1, 2));
        assert_eq!(mapped(folder), 1);
    }
}

#[test]
fn nothing_stays_mapped_of_reads_and_of_merges_into_files() {
    let folder = pair();
    let folder = folder.path();
    let maps = Maps::default();
    assert!(merged(folder, &maps, IoMode::Read, None).unwrap() == expected(1, 2));
    merged(folder, &maps, IoMode::Mmap, Some(&folder.join("out"))).unwrap();
    assert_eq!(mapped(folder), 0);
}

#[test]
fn what_is_read_is_what_the_file_holds_now() {
    let folder = pair();
    let folder = folder.path();
    let (b, other) = (folder.join("b"), folder.join("other"));
    let maps = Maps::default();
    let merge = || merged(folder, &maps, IoMode::Auto, None);
    assert!(merge().unwrap() == expected(1, 2));
    // Another file of the same size and name.
    write(&other, 3);
    fs::rename(&other, &b).unwrap();
    assert!(merge().unwrap() == expected(1, 3));
    // The same file with other contents.
    fs::write(&b, bytes(&numbers(COUNT, 4))).unwrap();
    assert!(merge().unwrap() == expected(1, 4));
    // A shorter one, and a whole one again.
    fs::OpenOptions::new().write(true).open(&b).unwrap().set_len(5001).unwrap();
    assert!(matches!(merge(), Err(Error::Range { .. })));
    write(&b, 5);
    assert!(merge().unwrap() == expected(1, 5));
    assert_eq!(mapped(folder), 2);
}
