//! Runs: files and memory, copies, cancelling, sources that shrink, bad requests.

use std::fs;
use std::path::PathBuf;

use crate::common::{bytes, from_files, job, lerp, lerped, node, numbers, options, run_jobs};
use bmerge_core::merge::{
    run, Copy, Input, IoMode, Job, OnNonFinite, Plain, Progress, Request, Segment, SharedBytes,
    Sink, Source, Stored,
};
use bmerge_core::{Dtype, Error, OutputFile, Program};

/// 7 MB, several chunks of a map and a rest.
const COUNT: usize = 1_777_777;

fn files(folder: &tempfile::TempDir) -> Vec<PathBuf> {
    (1..=2)
        .map(|seed| {
            let path = folder.path().join(format!("{seed}.bin"));
            fs::write(&path, bytes(&numbers(COUNT, seed))).unwrap();
            path
        })
        .collect()
}

#[test]
fn files_give_the_same_bytes_in_every_read_mode() {
    let folder = tempfile::tempdir().unwrap();
    let paths = files(&folder);
    let program = lerp();
    for io in [IoMode::Read, IoMode::Mmap, IoMode::Auto] {
        for (threads, memory) in [(1, 1 << 20), (4, 1 << 20), (2, 1 << 28)] {
            let target = folder.path().join("out.bin");
            let output = OutputFile::create(&target, 4 * COUNT as u64).unwrap();
            let mut options = options(threads, memory);
            options.io = io;
            let request = from_files(&program, &paths, Sink::File(&output), COUNT, options);
            let progress = Progress::new();
            let report = run(&request, &progress, || true).unwrap();
            assert_eq!(
                (report.bytes_read, report.bytes_written),
                (8 * COUNT as u64, 4 * COUNT as u64)
            );
            assert_eq!(progress.bytes_done(), progress.bytes_total());
            assert_eq!(progress.jobs_done(), 1);
            output.commit(false).unwrap();
            assert!(fs::read(&target).unwrap() == lerped(COUNT, 1, 2));
        }
    }
}

#[test]
fn copies_go_between_files_and_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = files(&folder).remove(0);
    let whole = fs::read(&path).unwrap();
    let size = whole.len() as u64;
    let target = folder.path().join("out.bin");
    let output = OutputFile::create(&target, 2 * size).unwrap();
    let mut memory = vec![0; 2 * whole.len()];
    let copy = |source, sink, offset| Copy { source, source_offset: 0, length: size, sink, offset };
    let request = Request {
        programs: Vec::new(),
        sources: vec![Source::Path(path), Source::Bytes(&whole)],
        sinks: vec![Sink::File(&output), Sink::Bytes(SharedBytes::new(&mut memory))],
        jobs: Vec::new(),
        copies: vec![copy(0, 0, 0), copy(1, 0, size), copy(0, 1, size), copy(1, 1, 0)],
        maps: None,
        findings: None,
        options: options(3, 1 << 22),
    };
    let report = run(&request, &Progress::new(), || true).unwrap();
    assert_eq!(report.bytes_copied, 4 * size);
    output.commit(true).unwrap();
    let twice = [&whole[..], &whole[..]].concat();
    assert!(fs::read(&target).unwrap() == twice);
    assert!(memory == twice);
}

/// Make a file shorter; whether it is. Windows lets nobody do that to what is mapped.
fn shorten(file: &fs::File, size: u64, io: IoMode) -> bool {
    let result = file.set_len(size);
    assert!(result.is_ok() || cfg!(windows) && io == IoMode::Mmap, "{result:?}");
    result.is_ok()
}

#[test]
fn a_source_that_shrinks_is_an_error_in_every_read_mode() {
    for io in [IoMode::Read, IoMode::Mmap] {
        let folder = tempfile::tempdir().unwrap();
        let paths = files(&folder);
        let program = lerp();
        let mut output = vec![0; 4 * COUNT];
        let mut options = options(1, 1 << 20);
        options.io = io;
        // Many passes over the same bytes, so that there is time to shrink the file.
        let sink = Sink::Bytes(SharedBytes::new(&mut output));
        let request = from_files(&program, &paths, sink, COUNT, options);
        // A truncated length within a page, which a map reads as zeros without a signal.
        let progress = Progress::new();
        let file = fs::OpenOptions::new().write(true).open(&paths[1]).unwrap();
        let shrunk = std::thread::scope(|scope| {
            let run = scope.spawn(|| run(&request, &progress, || true));
            while progress.bytes_total() == 0 {
                std::hint::spin_loop();
            }
            shorten(&file, 5001, io);
            run.join().unwrap()
        });
        // The run may have been over before; it never crashes or gives another error.
        if let Err(error) = shrunk {
            assert!(matches!(error, Error::Range { .. }), "{error}");
            assert!(error.to_string().contains("2.bin"), "{error}");
        }
    }
}

/// A sum of sines that takes long enough for something to happen meanwhile.
fn slow() -> Program {
    let mut nodes = vec![node("input", &[], &[0.0]), node("input", &[], &[1.0])];
    for _ in 0..40 {
        nodes.push(node("sin", &[nodes.len() - 1], &[]));
    }
    nodes.push(node("add", &[0, nodes.len() - 1], &[]));
    Program::new(&nodes, nodes.len() - 1).unwrap()
}

#[test]
fn a_source_that_loses_its_last_bytes_is_an_error_in_every_read_mode() {
    for io in [IoMode::Read, IoMode::Mmap] {
        for lost in [1, 3, 4095] {
            let folder = tempfile::tempdir().unwrap();
            let paths = files(&folder);
            let program = slow();
            let mut output = vec![0; 4 * COUNT];
            let mut options = options(1, 1 << 20);
            options.io = io;
            let sink = Sink::Bytes(SharedBytes::new(&mut output));
            let request = from_files(&program, &paths, sink, COUNT, options);
            // While the first elements are computed, long before the last ones are read.
            let file = fs::OpenOptions::new().write(true).open(&paths[1]).unwrap();
            let mut shrunk = None;
            let result = run(&request, &Progress::new(), || {
                shrunk.get_or_insert_with(|| shorten(&file, 4 * COUNT as u64 - lost, io));
                true
            });
            if !shrunk.expect("the run was too short to be disturbed") {
                result.unwrap();
                continue;
            }
            let error = result.unwrap_err();
            assert!(matches!(error, Error::Range { .. }), "{io:?}, {lost} bytes: {error}");
            assert!(error.to_string().contains("2.bin"), "{error}");
        }
    }
}

#[test]
fn cancelling_ends_the_run() {
    let program = lerp();
    let values = bytes(&numbers(COUNT, 1));
    let mut output = vec![0; 4 * COUNT];
    let request = Request {
        programs: vec![&program],
        sources: vec![Source::Bytes(&values), Source::Bytes(&values)],
        sinks: vec![Sink::Bytes(SharedBytes::new(&mut output))],
        jobs: vec![job(&program, &[COUNT as u64])],
        copies: Vec::new(),
        maps: None,
        findings: None,
        options: options(2, 1 << 20),
    };
    let progress = Progress::new();
    progress.cancel();
    assert!(matches!(run(&request, &progress, || true), Err(Error::Cancelled)));
}

#[test]
fn values_that_are_not_finite_are_told() {
    let program = lerp();
    let (good, mut bad) = (numbers(3000, 1), numbers(3000, 2));
    bad[2999] = f32::NAN;
    let (good, bad) = (bytes(&good), bytes(&bad));
    let mut output = vec![0; 12_000];
    let sources = || vec![Source::Bytes(&good), Source::Bytes(&bad)];
    let jobs = || vec![job(&program, &[3000])];
    let programs = [&program];
    let report = run_jobs(&programs, sources(), &mut output, jobs(), options(1, 1 << 20)).unwrap();
    assert_eq!(report.nonfinite.into_iter().collect::<Vec<_>>(), [(0, Some(1))]);
    let mut strict = options(1, 1 << 20);
    strict.on_nonfinite = OnNonFinite::Error;
    let error = run_jobs(&programs, sources(), &mut output, jobs(), strict).unwrap_err();
    assert!(matches!(error, Error::NonFinite { job: 0, input: Some(1) }));
    let product = [
        node("input", &[], &[0.0]),
        node("constant", &[], &[1e39]),
        node("multiply", &[0, 1], &[]),
    ];
    let product = Program::new(&product, 2).unwrap();
    let jobs = vec![job(&product, &[3000])];
    let report = run_jobs(&[&product], sources(), &mut output, jobs, options(1, 1 << 20)).unwrap();
    assert_eq!(report.nonfinite.into_iter().collect::<Vec<_>>(), [(0, None)]);
}

#[test]
fn a_large_tensor_of_eight_bits_is_the_same_as_its_parts() {
    const LARGE: u64 = 1 << 20;
    let program = lerp();
    let finite = |byte: u8| if byte & 0x7f == 0x7f { 0 } else { byte };
    let pattern = |factor: u64| (0..LARGE).map(move |i| finite(((i * factor) >> 3) as u8));
    let (a, mut b): (Vec<u8>, Vec<u8>) = (pattern(7).collect(), pattern(11).collect());
    b[777_777] = 0xff; // a NaN
    let job = |begin: u64, count: u64, scalar: f64| {
        let mut job = job(&program, &[count]);
        job.inputs = [0, 1]
            .map(|source| Plain { source, offset: begin, dtype: Dtype::F8_E4M3 }.into())
            .to_vec();
        (job.offset, job.dtype, job.scalars) = (begin, Dtype::F8_E4M3, vec![scalar]);
        job
    };
    let merged = |jobs: Vec<Job>, threads: usize| {
        let mut output = vec![0; LARGE as usize];
        let sources = vec![Source::Bytes(&a), Source::Bytes(&b)];
        let report = run_jobs(&[&program], sources, &mut output, jobs, options(threads, 1 << 22));
        (report.unwrap().nonfinite, output)
    };
    for scalar in [0.3, 0.9] {
        let (blamed, whole) = merged(vec![job(0, LARGE, scalar)], 2);
        assert_eq!(blamed.into_iter().collect::<Vec<_>>(), [(0, Some(1))]);
        let small = (0..LARGE).step_by(1 << 12).map(|begin| job(begin, 1 << 12, scalar));
        let (blamed, parts) = merged(small.collect(), 3);
        assert_eq!(blamed.into_iter().collect::<Vec<_>>(), [(777_777 >> 12, Some(1))]);
        assert!(whole == parts);
    }
}

#[test]
fn bad_requests_are_refused_before_work() {
    let program = lerp();
    let values = bytes(&numbers(8, 1));
    let good = job(&program, &[8]);
    let mut cases = Vec::new();
    let mut case = |expected: &'static str, change: &dyn Fn(&mut Job)| {
        let mut bad = good.clone();
        change(&mut bad);
        cases.push((expected, bad));
    };
    case("program 7", &|job| job.program = 7);
    case("1 inputs", &|job| job.inputs.truncate(1));
    case("0 scalars", &|job| job.scalars.clear());
    let plain = |source, offset| Plain { source, offset, dtype: Dtype::F32 };
    case("source 9", &|job| job.inputs[0] = plain(9, 0).into());
    case("source 0 (buffer)", &|job| job.inputs[0] = plain(0, 4).into());
    case("source 0 (buffer)", &|job| job.inputs[0] = plain(0, u64::MAX).into());
    let segments = |runs: &[(u64, u64)]| {
        let stored = Stored::Plain(plain(0, 0));
        let segment = |&(first, count)| Segment { stored: stored.clone(), first, count };
        Input::Segments(runs.iter().map(segment).collect())
    };
    case("have 7 elements", &|job| job.inputs[0] = segments(&[(0, 3), (2, 4)]));
    case("source 0 (buffer)", &|job| job.inputs[0] = segments(&[(0, 4), (5, 4)]));
    case("end overflows", &|job| job.inputs[0] = segments(&[(u64::MAX, 8)]));
    case("sink 3", &|job| job.sink = 3);
    case("sink 0, which has 32", &|job| job.offset = 4);
    case("overflows", &|job| job.shape = vec![u64::MAX, 2]);
    case("overflows", &|job| job.shape = vec![0, u64::MAX, 2]);
    for (expected, job) in cases {
        let mut output = vec![0; 32];
        let sources = vec![Source::Bytes(&values), Source::Bytes(&values)];
        let error = run_jobs(&[&program], sources, &mut output, vec![job], options(1, 1 << 20));
        let message = error.unwrap_err().to_string();
        assert!(message.contains(expected), "{expected}: {message}");
    }
}

#[test]
fn no_byte_is_written_by_two_jobs_or_copies() {
    let program = lerp();
    let values = bytes(&numbers(8, 1));
    let attempt = |job_at: u64, copy_at: u64, length: u64| {
        let mut output = vec![0; 96];
        let request = Request {
            programs: vec![&program],
            sources: vec![Source::Bytes(&values), Source::Bytes(&values)],
            sinks: vec![Sink::Bytes(SharedBytes::new(&mut output))],
            jobs: vec![Job { offset: job_at, ..job(&program, &[8]) }],
            copies: vec![Copy { source: 0, source_offset: 0, length, sink: 0, offset: copy_at }],
            maps: None,
            findings: None,
            options: options(1, 1 << 20),
        };
        run(&request, &Progress::new(), || true)
    };
    // The job writes 32 bytes. Beside it, and nothing within it, is as it should be.
    for (job_at, copy_at, length) in [(32, 64, 32), (32, 0, 32), (32, 40, 0), (0, 32, 1)] {
        assert!(attempt(job_at, copy_at, length).is_ok(), "{job_at} {copy_at} {length}");
    }
    for (job_at, copy_at, length) in [(32, 63, 32), (32, 1, 32), (0, 31, 1)] {
        let error = attempt(job_at, copy_at, length).unwrap_err().to_string();
        assert!(error.contains("two jobs or copies"), "{job_at} {copy_at} {length}: {error}");
    }
}
