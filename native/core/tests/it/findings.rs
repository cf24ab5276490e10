//! What passes find, kept from run to run: the results stay the same bits, and less is read.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::common::{bytes, from_files, node, numbers, options};
use bmerge_core::merge::{run, Findings, Progress, SharedBytes, Sink};
use bmerge_core::Program;

/// Large enough for a sample where k-th values are looked for.
const COUNT: usize = 300_000;

/// A file that was written some time ago.
fn write(path: &Path, values: &[f32], age: u64) {
    fs::write(path, bytes(values)).unwrap();
    let then = SystemTime::now() - Duration::from_secs(age);
    File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
}

/// `a * s + b * (norm of b + k-th magnitude of a)`, k being a share of all elements.
fn program(share: f64) -> Program {
    let nodes = [
        node("input", &[], &[0.0]),
        node("input", &[], &[1.0]),
        node("scalar", &[], &[0.0]),
        node("vector_norm", &[1], &[-2.0]),
        node("constant", &[], &[(COUNT as f64 * share).round()]),
        node("kth_abs", &[0, 4], &[]),
        node("add", &[3, 5], &[]),
        node("multiply", &[0, 2], &[]),
        node("multiply", &[1, 6], &[]),
        node("add", &[7, 8], &[]),
    ];
    Program::new(&nodes, 9).unwrap()
}

/// The output of a merge, and the bytes that it read.
fn merged(folder: &Path, scalar: f64, share: f64, findings: Option<&Findings>) -> (Vec<u8>, u64) {
    let program = program(share);
    let paths = ["a", "b"].map(|name| folder.join(name));
    let mut output = vec![0; 4 * COUNT];
    let sink = Sink::Bytes(SharedBytes::new(&mut output));
    let mut request = from_files(&program, &paths, sink, COUNT, options(2, 1 << 22));
    request.jobs[0].scalars = vec![scalar];
    request.findings = findings;
    let progress = Progress::new();
    let report = run(&request, &progress, || true).unwrap();
    assert_eq!(progress.bytes_done(), progress.bytes_total());
    drop(request);
    (output, report.bytes_read)
}

/// A folder with two files of that age in seconds.
fn pair(age: u64) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("a"), &numbers(COUNT, 1), age);
    write(&folder.path().join("b"), &numbers(COUNT, 2), age);
    folder
}

const ONCE: u64 = 2 * 4 * COUNT as u64;

#[test]
fn what_depends_on_files_alone_is_found_once() {
    let folder = pair(60);
    let findings = Findings::default();
    for (trial, scalar) in [0.3, 0.7, 0.3].into_iter().enumerate() {
        let (expected, all) = merged(folder.path(), scalar, 0.5, None);
        let (output, read) = merged(folder.path(), scalar, 0.5, Some(&findings));
        assert!(output == expected);
        assert_eq!(read, if trial == 0 { all } else { ONCE });
    }
}

#[test]
fn what_depends_on_a_parameter_is_found_for_each_of_its_values() {
    let folder = pair(60);
    let findings = Findings::default();
    for share in [0.5, 0.8, 0.5, 0.8] {
        let (expected, _) = merged(folder.path(), 0.3, share, None);
        assert!(merged(folder.path(), 0.3, share, Some(&findings)).0 == expected);
    }
}

#[test]
fn what_was_found_in_a_file_is_forgotten_with_its_contents() {
    let folder = pair(60);
    let (b, other) = (folder.path().join("b"), folder.path().join("other"));
    let findings = Findings::default();
    let same = || {
        let (expected, _) = merged(folder.path(), 0.3, 0.5, None);
        let (output, read) = merged(folder.path(), 0.3, 0.5, Some(&findings));
        assert!(output == expected);
        read
    };
    assert!(same() > ONCE);
    assert_eq!(same(), ONCE);
    // Other contents in the same file, and another file of the same size and age.
    write(&b, &numbers(COUNT, 3), 50);
    assert!(same() > ONCE);
    assert_eq!(same(), ONCE);
    write(&other, &numbers(COUNT, 4), 50);
    fs::rename(&other, &b).unwrap();
    assert!(same() > ONCE);
}

#[test]
fn nothing_is_kept_of_a_file_that_was_changed_just_now() {
    let folder = pair(0);
    let findings = Findings::default();
    for seed in [2, 3, 4] {
        write(&folder.path().join("b"), &numbers(COUNT, seed), 0);
        let (expected, all) = merged(folder.path(), 0.3, 0.5, None);
        let (output, read) = merged(folder.path(), 0.3, 0.5, Some(&findings));
        assert!(output == expected);
        assert_eq!(read, all);
    }
}

#[test]
fn an_input_that_is_not_finite_is_told_each_time() {
    let folder = pair(60);
    let mut values = numbers(COUNT, 2);
    values[COUNT / 2] = f32::NAN;
    write(&folder.path().join("b"), &values, 60);
    let findings = Findings::default();
    for _ in 0..2 {
        let program = program(0.5);
        let paths = ["a", "b"].map(|name| folder.path().join(name));
        let mut output = vec![0; 4 * COUNT];
        let sink = Sink::Bytes(SharedBytes::new(&mut output));
        let mut request = from_files(&program, &paths, sink, COUNT, options(2, 1 << 22));
        request.findings = Some(&findings);
        let report = run(&request, &Progress::new(), || true).unwrap();
        assert!(report.nonfinite.contains(&(0, Some(1))));
        assert!(report.bytes_read > ONCE);
    }
}
