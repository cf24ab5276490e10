//! Inputs that `LoRA`s change while they are read, against float64.

use crate::common::{bytes, job, node, numbers, options, run_jobs};
use bmerge_core::merge::{
    decode, Change, Delta, Factor, Found, Input, Lengths, Matrix, Patched, Plain, Segment, Source,
    Stored,
};
use bmerge_core::{Dtype, Error, Program};

/// More than a unit of elements, and no round numbers.
const ROWS: usize = 613;
const COLUMNS: usize = 307;

/// A matrix of [`numbers`]; its seed is the index of its source.
fn matrix(source: usize, rows: usize, columns: usize) -> Matrix {
    let plain = Plain { source, offset: 0, dtype: Dtype::F32 };
    Matrix { plain, rows: rows as u64, columns: columns as u64, turned: false }
}

fn product(source: usize, rows: usize, rank: usize, columns: usize) -> Factor {
    Factor::Product(matrix(source, rows, rank), matrix(source + 1, rank, columns))
}

/// Element (row, column) of a factor, in float64.
fn element(factor: &Factor, row: usize, column: usize, values: &[Vec<f32>]) -> f64 {
    let at = |matrix: &Matrix, row: usize, column: usize| {
        f64::from(values[matrix.plain.source][row * matrix.columns as usize + column])
    };
    match factor {
        Factor::Whole(matrix) => at(matrix, row, column),
        Factor::Product(up, down) => {
            let terms = (0..up.columns as usize).map(|k| at(up, row, k) * at(down, k, column));
            terms.sum()
        }
        Factor::Core(..) => unreachable!("in of_weight.rs"),
    }
}

fn exact(change: &Change, row: usize, column: usize, values: &[Vec<f32>]) -> f64 {
    let sized = |factor: &Factor| match factor {
        Factor::Whole(matrix) => (matrix.rows as usize, matrix.columns as usize),
        Factor::Product(up, down) => (up.rows as usize, down.columns as usize),
        Factor::Core(..) => unreachable!("in of_weight.rs"),
    };
    let value = match &change.delta {
        Delta::One(factor) => element(factor, row, column, values),
        Delta::Elementwise(one, other) => {
            element(one, row, column, values) * element(other, row, column, values)
        }
        Delta::Kronecker(one, other) => {
            let (rows, columns) = sized(other);
            element(one, row / rows, column / columns, values)
                * element(other, row % rows, column % columns, values)
        }
        _ => unreachable!("in of_weight.rs"),
    };
    f64::from(change.scale) * value
}

/// The tensor, changes of every kind, and the values of all sources.
fn patched() -> (Patched, Vec<Vec<f32>>) {
    let change = |begin: usize, end: usize, scale: f32, delta: Delta| Change {
        rows: (begin as u64, end as u64),
        scale,
        delta,
        lengths: None,
    };
    let changes = vec![
        change(0, ROWS, 0.7, Delta::One(product(1, ROWS, 5, COLUMNS))),
        change(3, 400, -0.2, Delta::One(product(3, 397, 1, COLUMNS))),
        change(
            200,
            ROWS,
            0.1,
            Delta::Elementwise(product(5, 413, 3, COLUMNS), product(7, 413, 4, COLUMNS)),
        ),
        change(
            1,
            ROWS,
            0.3,
            Delta::Kronecker(Factor::Whole(matrix(9, 4, 1)), product(10, 153, 2, COLUMNS)),
        ),
        change(
            1,
            ROWS,
            0.3,
            Delta::Kronecker(product(12, 153, 2, 307), Factor::Whole(matrix(14, 4, 1))),
        ),
        change(600, 607, 0.5, Delta::One(Factor::Whole(matrix(15, 7, COLUMNS)))),
    ];
    let mut sizes = [0; 16];
    sizes[0] = ROWS * COLUMNS;
    let factors = changes.iter().flat_map(|change| match change.delta {
        Delta::One(factor) => vec![factor],
        Delta::Elementwise(one, other) | Delta::Kronecker(one, other) => vec![one, other],
        _ => unreachable!("in of_weight.rs"),
    });
    for matrix in factors.flat_map(|factor| match factor {
        Factor::Whole(matrix) => vec![matrix],
        Factor::Product(up, down) => vec![up, down],
        Factor::Core(..) => unreachable!("in of_weight.rs"),
    }) {
        sizes[matrix.plain.source] = (matrix.rows * matrix.columns) as usize;
    }
    let values = sizes.iter().enumerate().map(|(seed, size)| numbers(*size, seed as u64)).collect();
    let base = Plain { source: 0, offset: 0, dtype: Dtype::F32 };
    (
        Patched {
            base: Box::new(base.into()),
            rows: ROWS as u64,
            columns: COLUMNS as u64,
            changes,
        },
        values,
    )
}

fn identity() -> Program {
    Program::new(&[node("input", &[], &[0.0])], 0).unwrap()
}

/// The bytes of an input as a job writes them.
fn written(input: &Input, stored: &[Vec<u8>], threads: usize, memory: u64) -> Vec<u8> {
    let program = identity();
    let mut output = vec![0; 4 * ROWS * COLUMNS];
    let mut job = job(&program, &[(ROWS * COLUMNS) as u64]);
    job.inputs = vec![input.clone()];
    let sources = stored.iter().map(|bytes| Source::Bytes(bytes)).collect();
    run_jobs(&[&program], sources, &mut output, vec![job], options(threads, memory)).unwrap();
    output
}

#[test]
fn changes_of_every_kind_are_added_and_the_same_bits_however_the_tensor_is_cut() {
    let (patched, values) = patched();
    let stored: Vec<Vec<u8>> = values.iter().map(|values| bytes(values)).collect();
    let input = Input::One(Stored::Patched(patched.clone()));
    let first = written(&input, &stored, 1, 1 << 30);
    for (at, found) in first.as_chunks::<4>().0.iter().enumerate() {
        let (row, column) = (at / COLUMNS, at % COLUMNS);
        let base = f64::from(values[0][at]);
        let (mut sum, mut size) = (base, base.abs());
        for change in &patched.changes {
            let (begin, end) = change.rows;
            if (begin..end).contains(&(row as u64)) {
                let value = exact(change, row - begin as usize, column, &values);
                (sum, size) = (sum + value, size + value.abs());
            }
        }
        let error = (f64::from(f32::from_le_bytes(*found)) - sum).abs();
        // Sums of up to 5 products may cancel; each of them is at most 900 in size.
        assert!(error <= 1e-6 * size + 1e-3, "({row}, {column}): {error} of {size}");
    }
    for (threads, memory) in [(4, 1 << 20), (3, 1 << 24)] {
        assert!(written(&input, &stored, threads, memory) == first);
    }
    let sources: Vec<Source> = stored.iter().map(|bytes| Source::Bytes(bytes)).collect();
    let mut decoded = vec![0; first.len()];
    decode(&sources, &input, &mut decoded).unwrap();
    assert!(decoded == first);
    // Runs of it in another order are the same numbers.
    let all = (ROWS * COLUMNS) as u64;
    let run = |first, count| Segment { stored: Stored::Patched(patched.clone()), first, count };
    let turned = Input::Segments(vec![run(100_001, all - 100_001), run(0, 100_001)]);
    let turned = written(&turned, &stored, 2, 1 << 20);
    assert!(turned == [&first[4 * 100_001..], &first[..4 * 100_001]].concat());
    // A thread that computes another tensor takes that one's factors.
    let mut other = patched.clone();
    other.changes.remove(0);
    let second = written(&Input::One(Stored::Patched(other.clone())), &stored, 1, 1 << 20);
    let other = Segment { stored: Stored::Patched(other), first: 100_001, count: all - 100_001 };
    let mixed = Input::Segments(vec![run(0, 100_001), other]);
    let mixed = written(&mixed, &stored, 1, 1 << 20);
    assert!(mixed == [&first[..4 * 100_001], &second[4 * 100_001..]].concat());
}

#[test]
fn vectors_of_changed_rows_get_their_lengths() {
    let (wide, begin, end) = (306, 7, 602);
    let values: Vec<Vec<f32>> =
        [(ROWS * wide, 0), (595 * 3, 1), (3 * wide, 2), (ROWS, 3), (595 * 2, 4)]
            .into_iter()
            .map(|(size, seed)| numbers(size, seed))
            .collect();
    let stored: Vec<Vec<u8>> = values.iter().map(|values| bytes(values)).collect();
    let factor = Factor::Product(matrix(1, 595, 3), matrix(2, 3, wide));
    for (count, by_rows) in [(595, true), (306, false), (102, false), (1, false)] {
        let plain = Plain { source: 3, offset: 4, dtype: Dtype::F32 };
        let found = Found::default();
        let lengths = Lengths { plain, count, by_rows, weight: -0.7, found };
        let rows = (begin as u64, end as u64);
        let delta = Delta::One(factor);
        let one = Change { rows, scale: 0.3, delta, lengths: Some(lengths) };
        // One that is added as it is does not change what the other is of.
        let delta = Delta::One(Factor::Whole(matrix(4, 2, wide)));
        let mut other = Change { rows: (6, 8), scale: 0.5, delta, lengths: None };
        if let Delta::One(Factor::Whole(matrix)) = &mut other.delta {
            matrix.plain.source = 2;
        }
        let base = Plain { source: 0, offset: 0, dtype: Dtype::F32 };
        let (base, changes) = (Box::new(base.into()), vec![other.clone(), one.clone()]);
        let patched = Patched { base, rows: ROWS as u64, columns: wide as u64, changes };
        let changed = |row: usize, column: usize| {
            f64::from(values[0][row * wide + column]) + exact(&one, row - begin, column, &values)
        };
        let vector = |row: usize, column: usize| {
            if by_rows {
                row - begin
            } else {
                column / (wide / count as usize)
            }
        };
        let mut squares = vec![0.0; count as usize];
        for row in begin..end {
            (0..wide).for_each(|c| squares[vector(row, c)] += changed(row, c).powi(2));
        }
        let expected = |row: usize, column: usize| {
            let base = f64::from(values[0][row * wide + column]);
            let mut sum = base;
            if (6..8).contains(&row) {
                sum += exact(&other, row - 6, column, &values);
            }
            if (begin..end).contains(&row) {
                let at = vector(row, column);
                let scale = f64::from(values[3][at + 1]) / squares[at].sqrt();
                sum += (changed(row, column) * scale - base) * f64::from(-0.7_f32);
            }
            sum
        };
        let input = Input::One(Stored::Patched(patched));
        let program = identity();
        let mut first = Vec::new();
        for (threads, memory) in [(1, 1 << 30), (3, 1 << 20)] {
            let mut output = vec![0; 4 * ROWS * wide];
            let mut job = job(&program, &[(ROWS * wide) as u64]);
            job.inputs = vec![input.clone()];
            let sources = stored.iter().map(|bytes| Source::Bytes(bytes)).collect();
            run_jobs(&[&program], sources, &mut output, vec![job], options(threads, memory))
                .unwrap();
            for (at, found) in output.as_chunks::<4>().0.iter().enumerate() {
                let wanted = expected(at / wide, at % wide);
                let error = (f64::from(f32::from_le_bytes(*found)) - wanted).abs();
                assert!(error <= 1e-5 * (1.0 + wanted.abs()), "{count}: {at}: {error} of {wanted}");
            }
            assert!(first.is_empty() || first == output);
            first = output;
        }
    }
}

#[test]
fn changes_that_do_not_fit_are_refused() {
    let (good, values) = patched();
    let stored: Vec<Vec<u8>> = values.iter().map(|values| bytes(values)).collect();
    let sources: Vec<Source> = stored.iter().map(|bytes| Source::Bytes(bytes)).collect();
    let mut target = vec![0; 4 * ROWS * COLUMNS];
    let mut refused = |expected: &str, change: &dyn Fn(&mut Patched)| {
        let mut bad = good.clone();
        change(&mut bad);
        let error = decode(&sources, &Input::One(Stored::Patched(bad)), &mut target).unwrap_err();
        let message = error.to_string();
        assert!(message.contains(expected), "{expected}: {message}");
        assert!(matches!(error, Error::Program(_) | Error::Range { .. }));
    };
    refused("613 rows of 306", &|patched| patched.columns = 306);
    refused("613 rows of 0", &|patched| patched.columns = 0);
    refused("source 0", &|patched| patched.rows = 614);
    refused("rows 3 to 614; there are 613", &|patched| patched.changes[1].rows.1 = 614);
    refused("rows 9 to 3", &|patched| patched.changes[1].rows = (9, 3));
    refused("of 397 x 307, its rows of 396 x 307", &|patched| patched.changes[1].rows.0 = 4);
    refused("source 99", &|patched| {
        patched.changes[5].delta = Delta::One(Factor::Whole(matrix(99, 7, COLUMNS)));
    });
    let plain = Plain { source: 0, offset: 0, dtype: Dtype::F32 };
    let found = Found::default();
    let lengths = Lengths { plain, count: 306, by_rows: false, weight: 1.0, found };
    refused("306 lengths for 613 x 307", &|patched| {
        patched.changes[0].lengths = Some(lengths.clone());
    });
    refused("306 lengths for 613 x 307", &|patched| {
        patched.changes[0].lengths = Some(Lengths { by_rows: true, ..lengths.clone() });
    });
    refused("source 99", &|patched| {
        let plain = Plain { source: 99, ..plain };
        patched.changes[0].lengths = Some(Lengths { plain, count: 307, ..lengths.clone() });
    });
    refused("5 columns and 4 rows", &|patched| {
        let (up, down) = (matrix(1, ROWS, 5), matrix(2, 4, COLUMNS));
        patched.changes[0].delta = Delta::One(Factor::Product(up, down));
    });
    refused("two products of one shape", &|patched| {
        patched.changes[2].delta =
            Delta::Elementwise(product(5, 413, 3, COLUMNS), product(7, 412, 4, COLUMNS));
    });
}
