//! Programs over buffers in memory, on one thread: what arithmetic costs without files.
//!
//! Throughput is bytes read and written. The roofline is `copy`: as many bytes by `memcpy`, within
//! the cache and beyond it. What is near it is bound by memory, what is far below by arithmetic.
//! To start the run's thread is part of each measurement: about 0.05 ms.
#![allow(missing_docs)] // criterion's macros make public items without any
#![allow(clippy::unwrap_used)] // a panic is a failed test

#[path = "../../core/tests/it/common.rs"]
mod common;

use std::time::Duration;

use bmerge_core::merge::{Job, Plain, Source};
use bmerge_core::program::{Binary, Unary};
use bmerge_core::{Dtype, Program};
use common::{lerp, node, options, run_jobs};
use criterion::{criterion_group, criterion_main, BenchmarkGroup, Criterion, Throughput};

const COUNT: u64 = 1 << 20;

const DTYPES: [Dtype; 6] =
    [Dtype::F16, Dtype::BF16, Dtype::F32, Dtype::F64, Dtype::F8_E4M3, Dtype::F8_E5M2];

/// A program of two inputs that ends in one operation.
fn ending(op: &str, args: &[usize], constants: &[f64]) -> Program {
    let nodes = [
        node("input", &[], &[0.0]),
        node("input", &[], &[1.0]),
        node("scalar", &[], &[0.0]),
        node("less", &[0, 1], &[]),
        node(op, args, constants),
    ];
    Program::new(&nodes, 4).unwrap()
}

/// Every operation that leaves an element for an element, and some that look at all of a tensor.
fn operations() -> Vec<(String, Program)> {
    let unary = Unary::ALL.iter().map(|(op, name)| {
        let argument = if *op == Unary::LogicalNot { 3 } else { 0 };
        (*name, ending(name, &[argument], &[]))
    });
    let binary = Binary::ALL.iter().map(|(op, name)| {
        let logical = matches!(op, Binary::LogicalAnd | Binary::LogicalOr);
        (*name, ending(name, if logical { &[3, 3] } else { &[0, 1] }, &[]))
    });
    let others = [
        ("where", ending("where", &[3, 0, 1], &[])),
        ("row_index", ending("row_index", &[], &[])),
        ("random_uniform", ending("random_uniform", &[], &[0.0])),
        ("random_normal", ending("random_normal", &[], &[0.0])),
        ("vector_norm whole", ending("vector_norm", &[0], &[-2.0])),
        ("vector_norm rows", ending("vector_norm", &[0], &[0.0])),
        ("vector_norm last", ending("vector_norm", &[0], &[-1.0])),
        ("kth_abs", ending("kth_abs", &[0, 2], &[])),
    ];
    let all = unary.chain(binary).chain(others);
    all.map(|(name, program)| (name.to_owned(), program)).collect()
}

/// Measure one program, from one type to another.
fn measure<M: criterion::measurement::Measurement>(
    group: &mut BenchmarkGroup<M>,
    name: &str,
    program: &Program,
    (from, to): (Dtype, Dtype),
) {
    let size = |dtype: Dtype| (COUNT * dtype.bits() / 8) as usize;
    // Numbers near each other in size, none of them special, in any of these types.
    let pattern = |shift: usize| (0..size(from)).map(|i| 0x2c + ((i + shift) % 7) as u8).collect();
    let (a, b): (Vec<u8>, Vec<u8>) = (pattern(0), pattern(3));
    let mut output = vec![0; size(to)];
    let input = |source| Plain { source, offset: 0, dtype: from }.into();
    let job = Job {
        program: 0,
        inputs: (0..program.inputs()).map(input).collect(),
        scalars: vec![0.3; program.scalars()],
        shape: vec![1024, COUNT / 1024],
        sink: 0,
        offset: 0,
        dtype: to,
        seed: 1,
        base: None,
        wanted: None,
        encoding: None,
    };
    let bytes = program.inputs() * size(from) + size(to);
    group.throughput(Throughput::Bytes(bytes as u64));
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            let sources = vec![Source::Bytes(&a), Source::Bytes(&b)];
            run_jobs(&[program], sources, &mut output, vec![job.clone()], options(1, 1 << 25))
        });
    });
}

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("roofline");
    for bytes in [1 << 18, 1 << 22, 1 << 27] {
        let (source, mut target) = (vec![1_u8; bytes], vec![0_u8; bytes]);
        group.throughput(Throughput::Bytes(2 * bytes as u64));
        group.bench_function(format!("copy {} KiB", bytes >> 10), |bencher| {
            bencher.iter(|| target.copy_from_slice(std::hint::black_box(&source)));
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("codec");
    let identity = Program::new(&[node("input", &[], &[0.0])], 0).unwrap();
    for dtype in DTYPES {
        let name = dtype.name();
        measure(&mut group, &format!("decode {name}"), &identity, (dtype, Dtype::F32));
        measure(&mut group, &format!("encode {name}"), &identity, (Dtype::F32, dtype));
        measure(&mut group, &format!("lerp {name}"), &lerp(), (dtype, dtype));
    }
    group.finish();

    let mut group = criterion.benchmark_group("operations");
    for (name, program) in operations() {
        measure(&mut group, &name, &program, (Dtype::F32, Dtype::F32));
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600));
    targets = bench
}
criterion_main!(benches);
