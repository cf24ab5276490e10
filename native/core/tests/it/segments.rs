//! Inputs that are put together from runs of several stored tensors.

use std::fs;

use crate::common::{bytes, job, lerp, lerped, node, numbers, options, run_jobs};
use bmerge_core::merge::{
    decode, run, Base, Input, IoMode, Job, Plain, Progress, Request, Segment, SharedBytes, Sink,
    Source, Stored,
};
use bmerge_core::{Dtype, Program};

/// Several units, and no round number.
const COUNT: usize = 300_007;

/// Runs of [`COUNT`] elements: (first, count), laid in an order of their own; one is empty.
const RUNS: [(usize, usize); 6] =
    [(200_001, 100_006), (0, 1), (100_000, 0), (2, 16_383), (1, 1), (16_385, 183_616)];

fn segment(source: usize, first: usize, count: usize, dtype: Dtype) -> Segment {
    let stored = Stored::Plain(Plain { source, offset: 3, dtype });
    Segment { stored, first: first as u64, count: count as u64 }
}

/// Three bytes, and then numbers that make [`numbers`] when they are laid in the order of [`RUNS`].
fn shuffled(seed: u64) -> Vec<u8> {
    let whole = numbers(COUNT, seed);
    let mut stored = vec![0.0; COUNT];
    let mut place = 0;
    for (first, count) in RUNS {
        stored[first..first + count].copy_from_slice(&whole[place..place + count]);
        place += count;
    }
    [vec![7; 3], bytes(&stored)].concat()
}

#[test]
fn runs_of_several_files_are_one_tensor_in_every_read_mode() {
    let folder = tempfile::tempdir().unwrap();
    let paths = [1, 2].map(|source| folder.path().join(format!("{source}.bin")));
    for (path, seed) in paths.iter().zip([1, 1]) {
        fs::write(path, shuffled(seed)).unwrap();
    }
    let program = lerp();
    let plain = bytes(&numbers(COUNT, 2));
    let runs = RUNS.iter().enumerate();
    // Turn and turn about from both files, which are equal.
    let segments =
        runs.map(|(index, (first, count))| segment(index % 2, *first, *count, Dtype::F32));
    let mut work = job(&program, &[COUNT as u64]);
    work.inputs[0] = Input::Segments(segments.collect());
    work.inputs[1] = Plain { source: 2, offset: 0, dtype: Dtype::F32 }.into();
    for io in [IoMode::Read, IoMode::Mmap] {
        for (threads, memory) in [(1, 1 << 20), (4, 1 << 20), (2, 1 << 28)] {
            let mut output = vec![0; 4 * COUNT];
            let mut options = options(threads, memory);
            options.io = io;
            let request = Request {
                programs: vec![&program],
                sources: paths
                    .iter()
                    .cloned()
                    .map(Source::Path)
                    .chain([Source::Bytes(&plain)])
                    .collect(),
                sinks: vec![Sink::Bytes(SharedBytes::new(&mut output))],
                jobs: vec![work.clone()],
                copies: Vec::new(),
                maps: None,
                findings: None,
                options,
            };
            let progress = Progress::new();
            let report = run(&request, &progress, || true).unwrap();
            assert_eq!(report.bytes_read, 8 * COUNT as u64);
            assert_eq!(progress.bytes_done(), progress.bytes_total());
            assert!(output == lerped(COUNT, 1, 2), "{io:?} {threads} {memory}");
        }
    }
}

/// The mean of all elements, as often as there are elements.
fn mean() -> Program {
    let nodes = [node("input", &[], &[0.0]), node("mean", &[0], &[-2.0])];
    Program::new(&nodes, 1).unwrap()
}

#[test]
fn segments_of_several_types_are_decoded_and_blamed() {
    let halves: Vec<u8> =
        (0..COUNT).flat_map(|index| ((index % 64) as u16).to_le_bytes()).collect();
    let halves = [vec![0; 3], halves].concat(); // subnormals of F16: index × 2^-24
    let mut floats = vec![0.5; COUNT];
    floats[COUNT - 1] = f32::INFINITY;
    let floats = [vec![0; 3], bytes(&floats)].concat();
    let program = mean();
    let merged = |last: usize| {
        let segments = vec![segment(1, 0, 100, Dtype::F32), segment(0, 64, 64, Dtype::F16)];
        let end = segment(1, last, 1, Dtype::F32);
        let input = Input::Segments([segments, vec![end]].concat());
        let mut output = vec![0; 4 * 165];
        let sources = vec![Source::Bytes(&halves), Source::Bytes(&floats)];
        let mut whole = vec![0; 4 * 165];
        decode(&sources, &input, &mut whole).unwrap();
        let whole = whole.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
        let whole: Vec<f32> = whole.collect();
        let job = Job { inputs: vec![input], ..job(&program, &[165]) };
        let report = run_jobs(&[&program], sources, &mut output, vec![job], options(1, 1 << 20));
        (report.unwrap(), output, whole)
    };
    let (report, output, whole) = merged(0);
    let expected = (101.0 * 0.5 + 63.0 * 32.0 / f64::from(1 << 24)) / 165.0;
    assert_eq!(output[..4], (expected as f32).to_le_bytes());
    assert_eq!(report.bytes_read, 101 * 4 + 64 * 2); // the pass that stores needs the mean alone
    let halves = (0..64).map(|index| index as f32 / (1 << 24) as f32);
    let expected: Vec<f32> = [0.5; 100].into_iter().chain(halves).chain([0.5]).collect();
    assert_eq!(whole, expected);
    let (report, _, whole) = merged(COUNT - 1);
    assert_eq!(report.nonfinite.into_iter().collect::<Vec<_>>(), [(0, Some(0))]);
    assert!(whole[164].is_infinite());
}

#[test]
fn a_base_of_segments_is_put_together() {
    let program = lerp();
    let (a, b) = (bytes(&numbers(COUNT, 1)), bytes(&numbers(COUNT, 2)));
    let stored = shuffled(1);
    let segments = RUNS.iter().map(|(first, count)| segment(2, *first, *count, Dtype::F32));
    let plain = Plain { source: 0, offset: 0, dtype: Dtype::F32 };
    let rounded = |input: Input| {
        let base = Some(Base { input, sample: 70_000 });
        let job = Job { dtype: Dtype::BF16, base, ..job(&program, &[COUNT as u64]) };
        let sources = vec![Source::Bytes(&a), Source::Bytes(&b), Source::Bytes(&stored)];
        let mut output = vec![0; 2 * COUNT];
        let report = run_jobs(&[&program], sources, &mut output, vec![job], options(2, 1 << 20));
        report.unwrap().rounded_by_job()
    };
    assert_eq!(rounded(Input::Segments(segments.collect())), rounded(plain.into()));
}
