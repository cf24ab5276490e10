//! Reductions against plain float64 loops, over shapes that fit tiles and that do not.

use crate::common::{bytes, job, node, numbers, options, run_f32};
use bmerge_core::merge::{run, Progress, Request, SharedBytes, Sink, Source};
use bmerge_core::Program;

const SHAPES: [&[u64]; 11] = [
    &[],
    &[1],
    &[7],
    &[200_003],
    &[3, 70_001],
    &[70_001, 3],
    &[50, 33, 3, 3],
    &[64, 1, 1],
    &[1, 4096],
    &[5, 7, 9_000],
    &[2, 3, 100_000],
];

/// The elements that belong to the same result as one element, along an axis.
fn group(shape: &[u64], axis: f64, element: usize) -> usize {
    let last = shape.last().copied().unwrap_or(1) as usize;
    let columns = shape.iter().skip(1).product::<u64>() as usize;
    match axis {
        0.0 => element % columns,
        -1.0 => element / last,
        _ => 0,
    }
}

fn fold(op: &str, folded: f64, x: f64, y: f64) -> f64 {
    match op {
        "vector_norm" => folded + x * x,
        "vecdot" => folded + x * y,
        "min" => folded.min(x),
        "max" => folded.max(x),
        _ => folded + x,
    }
}

/// What each element should be after a reduction along an axis.
fn expected(op: &str, shape: &[u64], axis: f64) -> Vec<f32> {
    let count = shape.iter().product::<u64>() as usize;
    let (a, b) = (numbers(count, 1), numbers(count, 2));
    let groups = group(shape, axis, count - 1).max(group(shape, axis, 0)) + 1;
    let groups = (0..count)
        .map(|element| group(shape, axis, element))
        .fold(groups, |most, at| most.max(at + 1));
    let start = match op {
        "min" => f64::INFINITY,
        "max" => f64::NEG_INFINITY,
        _ => 0.0,
    };
    let mut folded = vec![start; groups];
    for (element, (x, y)) in a.iter().zip(&b).enumerate() {
        let place = &mut folded[group(shape, axis, element)];
        *place = fold(op, *place, f64::from(*x), f64::from(*y));
    }
    let per_group = (count / groups) as f64;
    let finish = |folded: f64| match op {
        "mean" => folded / per_group,
        "vector_norm" => folded.sqrt(),
        _ => folded,
    };
    (0..count).map(|element| finish(folded[group(shape, axis, element)]) as f32).collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

#[test]
fn reductions_agree_with_float64_loops_for_any_threads_and_memory() {
    for shape in SHAPES {
        for axis in [-2.0, -1.0, 0.0] {
            for op in ["sum", "mean", "vector_norm", "vecdot", "min", "max"] {
                let args: &[usize] = if op == "vecdot" { &[0, 1] } else { &[0] };
                let nodes = [
                    node("input", &[], &[0.0]),
                    node("input", &[], &[1.0]),
                    node(op, args, &[axis]),
                ];
                let program = Program::new(&nodes, 2).unwrap();
                let got = run_f32(&program, shape, 1, 1 << 25);
                assert!(got == run_f32(&program, shape, 4, 1 << 20), "{op} {axis} {shape:?}");
                let size = shape.iter().product::<u64>() as f32;
                for (got, expected) in floats(&got).iter().zip(expected(op, shape, axis)) {
                    // Sums of both signs may be small beside their terms.
                    let allowed = 1.3e-7 * expected.abs() + 1e-12 * size;
                    assert!(
                        (got - expected).abs() <= allowed,
                        "{op} {axis} {shape:?}: {got} {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_nan_anywhere_is_the_least_and_the_greatest_and_the_sum() {
    // Lanes, their rest, another block, another tile; the first of each and the last.
    let places = [0, 1, 15, 16, 17, 1023, 1024, 65_536, 149_998, 149_999];
    for shape in [&[150_000][..], &[300, 500], &[500, 300], &[3, 50_000]] {
        for axis in [-2.0, -1.0, 0.0] {
            for op in ["min", "max", "sum", "mean", "vector_norm"] {
                let nodes = [node("input", &[], &[0.0]), node(op, &[0], &[axis])];
                let program = Program::new(&nodes, 1).unwrap();
                for place in places {
                    let mut values = numbers(150_000, 1);
                    values[place] = f32::NAN;
                    let got = reduced(&program, &values, shape);
                    let struck = group(shape, axis, place);
                    for (element, x) in got.iter().enumerate() {
                        let expected = group(shape, axis, element) == struck;
                        assert_eq!(x.is_nan(), expected, "{op} {axis} {shape:?}, NaN at {place}");
                    }
                }
            }
        }
    }
}

#[test]
fn any_and_all_look_at_every_element() {
    let run = |op: &str, limit: f64| {
        let nodes = [
            node("input", &[], &[0.0]),
            node("constant", &[], &[limit]),
            node("greater", &[0, 1], &[]),
            node(op, &[2], &[-2.0]),
        ];
        floats(&run_f32(&Program::new(&nodes, 3).unwrap(), &[300, 500], 2, 1 << 20))[0]
    };
    let values = numbers(150_000, 1);
    let greatest = f64::from(values.iter().copied().fold(f32::MIN, f32::max));
    let least = f64::from(values.iter().copied().fold(f32::MAX, f32::min));
    assert_eq!((run("any", greatest), run("any", greatest - 1e-4)), (0.0, 1.0));
    assert_eq!((run("all", least), run("all", least - 1e-4)), (0.0, 1.0));
}

#[test]
fn the_kth_absolute_value_is_exact() {
    for count in [1, 2, 1000, 200_003_u64] {
        let mut sorted: Vec<f32> = numbers(count as usize, 1).into_iter().map(f32::abs).collect();
        sorted.sort_by(f32::total_cmp);
        for k in [-3.0, 0.0, 1.0, 1.9, 2.0, count as f64 / 3.0, count as f64, 1e30] {
            let nodes = [
                node("input", &[], &[0.0]),
                node("constant", &[], &[k]),
                node("kth_abs", &[0, 1], &[]),
            ];
            let program = Program::new(&nodes, 2).unwrap();
            let rank = (k.trunc() as u64).clamp(1, count) as usize;
            let got = floats(&run_f32(&program, &[count], 3, 1 << 20))[0];
            assert_eq!(got, sorted[rank - 1], "k {k} of {count}");
        }
    }
}

/// The k-th absolute value of these values by a run, and the run's progress.
fn kth(values: &[f32], k: f64) -> (f32, Progress) {
    let nodes =
        [node("input", &[], &[0.0]), node("constant", &[], &[k]), node("kth_abs", &[0, 1], &[])];
    let program = Program::new(&nodes, 2).unwrap();
    let progress = Progress::new();
    let output = watched(&program, values, &[values.len() as u64], &progress);
    (output[0], progress)
}

/// What a program of one input makes of these values.
fn reduced(program: &Program, values: &[f32], shape: &[u64]) -> Vec<f32> {
    watched(program, values, shape, &Progress::new())
}

fn watched(program: &Program, values: &[f32], shape: &[u64], progress: &Progress) -> Vec<f32> {
    let input = bytes(values);
    let mut output = vec![0; input.len()];
    let request = Request {
        programs: vec![program],
        sources: vec![Source::Bytes(&input)],
        sinks: vec![Sink::Bytes(SharedBytes::new(&mut output))],
        jobs: vec![job(program, shape)],
        copies: Vec::new(),
        maps: None,
        findings: None,
        options: options(3, 1 << 20),
    };
    run(&request, progress, || true).unwrap();
    floats(&output)
}

#[test]
fn the_kth_absolute_value_of_a_large_tensor_is_exact_whatever_a_sample_says() {
    let count = 1 << 20;
    let random = numbers(count, 1);
    let rounded = random.iter().map(|x| (x * 8.0).round() / 8.0).collect();
    let mut ascending = random.clone();
    ascending.sort_by(|x, y| x.abs().total_cmp(&y.abs()));
    // Where the sample looks, and only there, are other values than elsewhere.
    let hidden = random.iter().enumerate();
    let hidden = hidden.map(|(at, x)| if at % 32_768 < 2048 { x * 1e-6 } else { x + 100.0 });
    let mostly_zero = random.iter().enumerate().map(|(at, x)| if at % 9 == 0 { *x } else { 0.0 });
    let with_nan = random.iter().enumerate().map(|(at, x)| if at == 77 { f32::NAN } else { *x });
    let tensors: [(&str, Vec<f32>); 7] = [
        ("hidden", hidden.collect()),
        ("mostly zero", mostly_zero.collect()),
        ("with a NaN", with_nan.collect()),
        ("all the same", vec![-0.3; count]),
        ("ascending", ascending),
        ("rounded", rounded),
        ("random", random),
    ];
    for (name, values) in tensors {
        let mut sorted: Vec<f32> = values.iter().map(|x| x.abs()).collect();
        sorted.sort_by(f32::total_cmp);
        for share in [0.0, 1e-5, 0.06, 0.2, 0.5, 0.8, 0.99, 1.0] {
            let k = (share * count as f64).trunc().max(1.0);
            let (found, progress) = kth(&values, k);
            assert_eq!(found.to_bits(), sorted[k as usize - 1].to_bits(), "{name}, k {k}");
            assert_eq!(progress.bytes_done(), progress.bytes_total(), "{name}, k {k}");
        }
    }
}

#[test]
fn reductions_of_several_levels_follow_one_another() {
    // (a - mean(a)) / norm(a - mean(a)), and the mean of a vector of norms.
    let nodes = [
        node("input", &[], &[0.0]),
        node("mean", &[0], &[-2.0]),
        node("subtract", &[0, 1], &[]),
        node("vector_norm", &[2], &[0.0]),
        node("mean", &[3], &[-2.0]),
        node("divide", &[2, 4], &[]),
    ];
    let program = Program::new(&nodes, 5).unwrap();
    assert_eq!(program.passes(), 4);
    let (rows, columns) = (300, 400);
    let values = numbers(rows * columns, 1);
    let mean = values.iter().copied().map(f64::from).sum::<f64>() / values.len() as f64;
    let centred: Vec<f32> = values.iter().map(|x| x - mean as f32).collect();
    let mut norms = vec![0.0; columns];
    for (element, x) in centred.iter().enumerate() {
        norms[element % columns] += f64::from(*x) * f64::from(*x);
    }
    let norm = norms.iter().map(|square| square.sqrt()).sum::<f64>() / columns as f64;
    let got = floats(&run_f32(&program, &[rows as u64, columns as u64], 2, 1 << 20));
    for (got, x) in got.iter().zip(&centred) {
        assert!((got - x / norm as f32).abs() <= 1e-6 * got.abs() + 1e-9);
    }
}
