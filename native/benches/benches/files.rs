//! One merge from file to file, by every way of reading, against `std::fs::copy`.
//!
//! Files lie in the folder for temporary files and in the page cache: set `TMPDIR` to choose the
//! disk. Sizes are small, so that a run takes seconds; for the real thing see `benchmarks/`.
#![allow(missing_docs)] // criterion's macros make public items without any
#![allow(clippy::unwrap_used)] // a panic is a failed test

#[path = "../../core/tests/it/common.rs"]
mod common;

use std::fs;

use bmerge_core::merge::{run, IoMode, Progress, Sink};
use bmerge_core::OutputFile;
use common::{bytes, from_files, lerp, numbers, options};
use criterion::{criterion_group, criterion_main, Criterion, Throughput};

const COUNT: usize = 1 << 24;

fn bench(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let paths = [1, 2].map(|seed| {
        let path = folder.path().join(format!("{seed}.bin"));
        fs::write(&path, bytes(&numbers(COUNT, seed))).unwrap();
        path
    });
    let target = folder.path().join("out.bin");
    let mut group = criterion.benchmark_group("files");
    group.throughput(Throughput::Bytes(4 * COUNT as u64)).sample_size(10);
    group.bench_function("copy", |bencher| bencher.iter(|| fs::copy(&paths[0], &target)));
    let program = lerp();
    for (name, io) in [("read", IoMode::Read), ("mmap", IoMode::Mmap)] {
        group.bench_function(format!("lerp {name}"), |bencher| {
            bencher.iter(|| {
                let output = OutputFile::create(&target, 4 * COUNT as u64).unwrap();
                let mut options = options(0, 1 << 25);
                options.io = io;
                let request = from_files(&program, &paths, Sink::File(&output), COUNT, options);
                run(&request, &Progress::new(), || true).unwrap();
                output.commit(false)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
