//! Programs over buffers that stay in cache: what arithmetic costs without files.
#![allow(missing_docs)] // criterion's macros make public items without any
#![allow(clippy::unwrap_used)] // a panic is a failed test

#[path = "../tests/common/mod.rs"]
mod common;

use bmerge_core::merge::{InputRange, Job, Source};
use bmerge_core::{Dtype, Program};
use common::{lerp, node, options, run_jobs};
use criterion::{criterion_group, criterion_main, Criterion, Throughput};

const COUNT: u64 = 1 << 20;

/// A program of two inputs that ends in one operation.
fn ending(op: &str, args: &[usize], constants: &[f64]) -> Program {
    let nodes = [
        node("input", &[], &[0.0]),
        node("input", &[], &[1.0]),
        node("scalar", &[], &[0.0]),
        node("abs", &[0], &[]),
        node(op, args, constants),
    ];
    Program::new(&nodes, 4).unwrap()
}

fn programs() -> Vec<(&'static str, Program)> {
    vec![
        ("lerp", lerp()),
        ("pow", ending("pow", &[3, 2], &[])),
        ("exp", ending("exp", &[0], &[])),
        ("random_uniform", ending("random_uniform", &[], &[0.0])),
        ("vector_norm whole", ending("vector_norm", &[0], &[-2.0])),
        ("vector_norm rows", ending("vector_norm", &[0], &[0.0])),
        ("vector_norm last", ending("vector_norm", &[0], &[-1.0])),
        ("kth_abs", ending("kth_abs", &[0, 2], &[])),
    ]
}

fn job(program: &Program, dtype: Dtype) -> Job {
    let input = |source| InputRange { source, offset: 0, dtype };
    Job {
        program: 0,
        inputs: (0..program.inputs()).map(input).collect(),
        scalars: vec![0.3; program.scalars()],
        shape: vec![1024, COUNT / 1024],
        sink: 0,
        offset: 0,
        dtype,
        seed: 1,
        wanted: None,
    }
}

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("programs");
    group.throughput(Throughput::Elements(COUNT)).sample_size(20);
    for (name, program) in programs() {
        for dtype in [Dtype::F16, Dtype::BF16, Dtype::F32] {
            let size = (COUNT * dtype.bits() / 8) as usize;
            // The same small number everywhere, in any of these types.
            let (a, b) = (vec![0x2e; size], vec![0x2f; size]);
            let mut output = vec![0; size];
            group.bench_function(format!("{name} {}", dtype.name()), |bencher| {
                bencher.iter(|| {
                    let sources = vec![Source::Bytes(&a), Source::Bytes(&b)];
                    let jobs = vec![job(&program, dtype)];
                    run_jobs(&[&program], sources, &mut output, jobs, options(1, 1 << 25))
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
