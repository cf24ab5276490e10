//! Programs and runs in memory, for the tests.
#![allow(dead_code)] // not every test uses everything

use std::path::PathBuf;

use bmerge_core::merge::{
    run, IoMode, Job, OnNonFinite, Options, Plain, Progress, Report, Request, Rounding,
    SharedBytes, Sink, Source,
};
use bmerge_core::{Dtype, Program, Result};

/// A node as a caller gives it.
pub fn node(name: &str, args: &[usize], constants: &[f64]) -> (String, Vec<usize>, Vec<f64>) {
    (name.to_owned(), args.to_vec(), constants.to_vec())
}

/// a * (1 - s) + b * s.
pub fn lerp() -> Program {
    let nodes = [
        node("input", &[], &[0.0]),
        node("input", &[], &[1.0]),
        node("scalar", &[], &[0.0]),
        node("constant", &[], &[1.0]),
        node("subtract", &[3, 2], &[]),
        node("multiply", &[0, 4], &[]),
        node("multiply", &[1, 2], &[]),
        node("add", &[5, 6], &[]),
    ];
    Program::new(&nodes, 7).unwrap()
}

/// The options of a test.
pub fn options(threads: usize, memory: u64) -> Options {
    Options {
        threads,
        memory,
        on_nonfinite: OnNonFinite::Report,
        io: IoMode::Auto,
        rounding: Rounding::Nearest,
    }
}

/// Numbers of both signs and of several magnitudes, none special.
pub fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / 8_388_608.0 - 1.0
    };
    (0..count).map(|index| next() * [1.0, 0.01, 30.0][index % 3]).collect()
}

/// What [`lerp`] gives with 0.3 of as many [`numbers`] of two seeds, as bytes.
pub fn lerped(count: usize, first: u64, second: u64) -> Vec<u8> {
    let (low, high) = ((1.0 - 0.3_f64) as f32, 0.3_f64 as f32);
    let pairs = numbers(count, first).into_iter().zip(numbers(count, second));
    bytes(&pairs.map(|(a, b)| a * low + b * high).collect::<Vec<_>>())
}

/// Little-endian bytes.
pub fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// A job on two F32 sources that writes F32 to the first sink.
pub fn job(program: &Program, shape: &[u64]) -> Job {
    let input = |source| Plain { source, offset: 0, dtype: Dtype::F32 }.into();
    Job {
        program: 0,
        inputs: (0..program.inputs()).map(input).collect(),
        scalars: vec![0.3; program.scalars()],
        shape: shape.to_vec(),
        sink: 0,
        offset: 0,
        dtype: Dtype::F32,
        seed: 42,
        base: None,
        wanted: None,
        encoding: None,
    }
}

/// Run one program over two tensors in memory; the output's bytes.
pub fn run_f32(program: &Program, shape: &[u64], threads: usize, memory: u64) -> Vec<u8> {
    let count = shape.iter().product::<u64>() as usize;
    let (a, b) = (bytes(&numbers(count, 1)), bytes(&numbers(count, 2)));
    let mut output = vec![0; 4 * count];
    let sources = vec![Source::Bytes(&a), Source::Bytes(&b)];
    let job = job(program, shape);
    run_jobs(&[program], sources, &mut output, vec![job], options(threads, memory)).unwrap();
    output
}

/// One job on two files of F32.
pub fn from_files<'a>(
    program: &'a Program,
    paths: &[PathBuf],
    sink: Sink<'a>,
    count: usize,
    options: Options,
) -> Request<'a> {
    Request {
        programs: vec![program],
        sources: paths.iter().cloned().map(Source::Path).collect(),
        sinks: vec![sink],
        jobs: vec![job(program, &[count as u64])],
        copies: Vec::new(),
        maps: None,
        findings: None,
        options,
    }
}

/// Run jobs that write to one buffer.
pub fn run_jobs(
    programs: &[&Program],
    sources: Vec<Source>,
    output: &mut [u8],
    jobs: Vec<Job>,
    options: Options,
) -> Result<Report> {
    let request = Request {
        programs: programs.to_vec(),
        sources,
        sinks: vec![Sink::Bytes(SharedBytes::new(output))],
        jobs,
        copies: Vec::new(),
        maps: None,
        findings: None,
        options,
    };
    run(&request, &Progress::new(), || true)
}
