//! No list of nodes makes the compiler panic, and what it accepts runs.
#![no_main]

use bmerge_core::merge::{
    run, Input, IoMode, Job, OnNonFinite, Options, Plain, Progress, Request, Rounding, SharedBytes, Sink,
    Source,
};
use bmerge_core::{Dtype, Program};
use libfuzzer_sys::fuzz_target;

const OPS: &[&str] = &[
    "input", "scalar", "constant", "row_index", "rows", "numel", "random_uniform",
    "random_normal", "neg", "abs", "sign", "sqrt", "square", "exp", "log", "sin", "cos", "acos",
    "tanh", "floor", "ceil", "trunc", "round", "isnan", "isfinite", "logical_not", "add",
    "subtract", "multiply", "divide", "pow", "minimum", "maximum", "copysign", "less",
    "less_equal", "greater", "greater_equal", "equal", "not_equal", "logical_and", "logical_or",
    "where", "sum", "mean", "vector_norm", "vecdot", "min", "max", "any", "all", "kth_abs",
];

/// Op, arguments, constants.
type Step = (u8, Vec<u8>, Vec<f64>);

fuzz_target!(|input: (Vec<Step>, u8, [u8; 3])| {
    let (steps, output, shape) = input;
    let nodes: Vec<_> = steps
        .into_iter()
        .map(|(op, args, constants)| {
            let name = OPS[usize::from(op) % OPS.len()].to_owned();
            (name, args.into_iter().map(usize::from).collect(), constants)
        })
        .collect();
    let Ok(program) = Program::new(&nodes, usize::from(output)) else {
        return;
    };
    let shape: Vec<u64> = shape.iter().map(|size| u64::from(*size % 40)).collect();
    let count = shape.iter().product::<u64>() as usize;
    let source = vec![0x3c; 4 * count];
    let mut sink = vec![0; 4 * count];
    let input: Input = Plain { source: 0, offset: 0, dtype: Dtype::F32 }.into();
    let request = Request {
        programs: vec![&program],
        sources: vec![Source::Bytes(&source)],
        sinks: vec![Sink::Bytes(SharedBytes::new(&mut sink))],
        jobs: vec![Job {
            program: 0,
            inputs: vec![input; program.inputs()],
            scalars: vec![0.5; program.scalars()],
            shape,
            sink: 0,
            offset: 0,
            dtype: Dtype::F32,
            seed: 1,
            base: None,
            wanted: None,
            encoding: None,
        }],
        copies: Vec::new(),
        maps: None,
        findings: None,
        options: Options {
            threads: 2,
            memory: 1 << 22,
            on_nonfinite: OnNonFinite::Report,
            io: IoMode::Read,
            rounding: Rounding::Stochastic,
        },
    };
    run(&request, &Progress::new(), || true).unwrap();
});
