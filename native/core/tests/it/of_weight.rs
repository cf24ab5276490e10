//! Changes that are made of the weight itself, and products with a core, against float64.

use crate::common::{bytes, job, node, numbers, options, run_jobs};
use bmerge_core::merge::{
    decode, Change, Delta, Factor, Form, Found, Input, Lengths, Matrix, Patched, Plain, Source,
    Stored, Turns,
};
use bmerge_core::{Dtype, Error, Program};

/// More than a unit of elements; a kernel of nine places.
const ROWS: usize = 300;
const COLUMNS: usize = 180;
const KERNEL: usize = 9;
const INPUTS: usize = COLUMNS / KERNEL;
/// The rows that are changed.
const FIRST: usize = 7;
const CHANGED: usize = 280;

fn plain(source: usize) -> Plain {
    Plain { source, offset: 0, dtype: Dtype::F32 }
}

fn matrix(source: usize, rows: usize, columns: usize, turned: bool) -> Matrix {
    Matrix { plain: plain(source), rows: rows as u64, columns: columns as u64, turned }
}

fn turns(source: usize, count: usize, size: usize, form: Form) -> Turns {
    Turns {
        plain: plain(source),
        count: count as u64,
        size: size as u64,
        stages: 1,
        form,
        bound: 0.0,
        apart: false,
        rescale: None,
        found: Found::default(),
    }
}

fn rows(turns: Turns) -> Delta {
    Delta::Rows(Box::new(turns))
}

fn inputs(turns: Turns) -> Delta {
    Delta::Inputs(Box::new(turns))
}

/// Sources: the tensor, then small numbers.
fn stored() -> Vec<Vec<f32>> {
    let sizes = [ROWS * COLUMNS, 4 * CHANGED, 40 * CHANGED, COLUMNS * KERNEL, 2 * CHANGED];
    let drawn = sizes.iter().enumerate().map(|(seed, size)| numbers(*size, seed as u64));
    drawn.map(|values| values.into_iter().map(|x| x % 1.0 / 2.0).collect()).collect()
}

fn tensor(delta: Delta) -> Patched {
    let rows = (FIRST as u64, (FIRST + CHANGED) as u64);
    let changes = vec![Change { rows, scale: 0.7, delta, lengths: None }];
    let base = Box::new(plain(0).into());
    Patched { base, rows: ROWS as u64, columns: COLUMNS as u64, changes }
}

/// Check a change against its elements by row and column, however the tensor is cut.
fn check(delta: Delta, exact: impl Fn(usize, usize, &dyn Fn(usize, usize) -> f64) -> f64) {
    let values = stored();
    let sources: Vec<Vec<u8>> = values.iter().map(|values| bytes(values)).collect();
    let weight = |row: usize, column: usize| f64::from(values[0][(FIRST + row) * COLUMNS + column]);
    let input = Input::One(Stored::Patched(tensor(delta)));
    let program = Program::new(&[node("input", &[], &[0.0])], 0).unwrap();
    let mut first: Vec<u8> = Vec::new();
    for (threads, memory) in [(1, 1 << 30), (3, 1 << 18)] {
        let mut output = vec![0; 4 * ROWS * COLUMNS];
        let mut job = job(&program, &[(ROWS * COLUMNS) as u64]);
        job.inputs = vec![input.clone()];
        let sources = sources.iter().map(|bytes| Source::Bytes(bytes)).collect();
        run_jobs(&[&program], sources, &mut output, vec![job], options(threads, memory)).unwrap();
        assert!(first.is_empty() || first == output);
        first = output;
    }
    for (at, found) in first.as_chunks::<4>().0.iter().enumerate() {
        let (row, column) = (at / COLUMNS, at % COLUMNS);
        let mut expected = f64::from(values[0][at]);
        if (FIRST..FIRST + CHANGED).contains(&row) {
            expected += f64::from(0.7_f32) * exact(row - FIRST, column, &weight);
        }
        let error = (f64::from(f32::from_le_bytes(*found)) - expected).abs();
        assert!(error <= 2e-5 * (1.0 + expected.abs()), "({row}, {column}): {error}");
    }
    // A part that begins and ends within rows.
    let sources: Vec<Source> = sources.iter().map(|bytes| Source::Bytes(bytes)).collect();
    let mut whole = vec![0; first.len()];
    decode(&sources, &input, &mut whole).unwrap();
    assert!(whole == first);
}

/// R - I of a block of two rows, by the tangent of half its angle.
fn turned(tangent: f64) -> [[f64; 2]; 2] {
    let scale = 2.0 / (1.0 + tangent * tangent);
    [[-tangent * tangent * scale, tangent * scale], [-tangent * scale, -tangent * tangent * scale]]
}

#[test]
fn pairs_of_rows_are_rotated_and_rescaled() {
    let values = stored();
    let mut rotations = turns(1, CHANGED / 2, 2, Form::Square);
    rotations.rescale = Some(plain(4));
    check(rows(rotations), |row, column, weight| {
        let (pair, line) = (row / 2, row % 2);
        let [above, below] = [1, 2].map(|at| f64::from(values[1][4 * pair + at]));
        let block = turned(above - below);
        let sum: f64 = (0..2).map(|k| block[k][line] * weight(2 * pair + k, column)).sum();
        let rescale = f64::from(values[4][row]);
        rescale * (sum + weight(row, column)) - weight(row, column)
    });
}

#[test]
fn pairs_of_inputs_are_rotated_exactly_or_by_a_series() {
    let values = stored();
    for (terms, count) in [(0, COLUMNS / 2), (2, 1), (5, COLUMNS / 2)] {
        let rotations = turns(1, count, 2, Form::Triangle(terms));
        check(inputs(rotations), |row, column, weight| {
            let (pair, line) = (column / 2, column % 2);
            let q = f64::from(values[1][pair % count]);
            let block = match terms {
                0 => turned(q),
                2 => [[0.0, -2.0 * q], [2.0 * q, 0.0]],
                // -2 Q + 2 Q^2 - 2 Q^3 + Q^4; Q^2 is -q^2.
                _ => {
                    let (own, other) = (-2.0 * q.powi(2) + q.powi(4), -2.0 * q + 2.0 * q.powi(3));
                    [[own, other], [-other, own]]
                }
            };
            (0..2).map(|k| weight(row, 2 * pair + k) * block[k][line]).sum()
        });
    }
}

#[test]
fn inputs_are_rotated_in_stages_and_rows_multiplied_then() {
    let values = stored();
    let mut rotations = turns(1, COLUMNS / 2, 2, Form::Half);
    (rotations.stages, rotations.rescale) = (2, Some(plain(4)));
    check(inputs(rotations), |row, column, weight| {
        // What a stage makes of two inputs, of which one is asked for.
        let stage = |number: usize, block: usize, line: usize, pair: [f64; 2]| {
            let stored = &values[1][4 * (number * COLUMNS / 2 + block)..];
            let turn = turned((f64::from(stored[1]) - f64::from(stored[2])) / 2.0);
            pair[line] + pair[0] * turn[0][line] + pair[1] * turn[1][line]
        };
        let first = |column: usize| {
            let begin = column / 2 * 2;
            stage(0, column / 2, column % 2, [weight(row, begin), weight(row, begin + 1)])
        };
        // The second takes the first and third of four, and the second and fourth.
        let (begin, own) = (column / 4 * 4, column % 2);
        let pair = [first(begin + own), first(begin + 2 + own)];
        let found = stage(1, begin / 2 + own, column % 4 / 2, pair);
        f64::from(values[4][row]) * found - weight(row, column)
    });
}

#[test]
fn bounds_are_for_all_rotations_or_for_each() {
    let values = stored();
    for apart in [false, true] {
        let mut rotations = turns(1, COLUMNS / 2, 2, Form::Triangle(0));
        (rotations.bound, rotations.apart) = (0.2, apart);
        let squares = |numbers: &[f32]| -> f64 {
            numbers.iter().map(|x| 2.0 * f64::from(*x).powi(2)).sum::<f64>().sqrt()
        };
        let all = squares(&values[1][..COLUMNS / 2]);
        check(inputs(rotations), |row, column, weight| {
            let (pair, line) = (column / 2, column % 2);
            let norm = if apart { squares(&values[1][pair..=pair]) } else { all };
            let block = turned(f64::from(values[1][pair]) * (0.2 / norm).min(1.0));
            (0..2).map(|k| weight(row, 2 * pair + k) * block[k][line]).sum()
        });
    }
}

#[test]
fn blocks_of_many_rows_keep_lengths_and_are_cut_anywhere() {
    // I + Q = (I + M) (I - Q) for M of the rotations, whose transpose multiplies rows.
    let values = stored();
    for size in [4, 35, 40] {
        rotated_by_blocks_of(size, &values);
    }
}

fn rotated_by_blocks_of(size: usize, values: &[Vec<f32>]) {
    let q = |block: usize, row: usize, column: usize| {
        let at =
            |row: usize, column: usize| f64::from(values[2][(block * size + row) * size + column]);
        at(row, column) - at(column, row)
    };
    let whole = tensor(rows(turns(2, CHANGED / size, size, Form::Square)));
    let sources: Vec<Vec<u8>> = values.iter().map(|values| bytes(values)).collect();
    let sources: Vec<Source> = sources.iter().map(|bytes| Source::Bytes(bytes)).collect();
    let mut found = vec![0; 4 * ROWS * COLUMNS];
    let mut whole = whole;
    whole.changes[0].scale = 1.0;
    decode(&sources, &Input::One(Stored::Patched(whole)), &mut found).unwrap();
    let found: Vec<f64> =
        found.as_chunks::<4>().0.iter().map(|x| f64::from(f32::from_le_bytes(*x))).collect();
    let weight = |row: usize, column: usize| f64::from(values[0][(FIRST + row) * COLUMNS + column]);
    for row in 0..CHANGED {
        let (block, line) = (row / size, row % size);
        for column in 0..COLUMNS {
            // (I + Q) W' = (I - Q) W, as W' = R^T W.
            let after = |k: usize| found[(FIRST + block * size + k) * COLUMNS + column];
            let before = |k: usize| weight(block * size + k, column);
            let mut difference = after(line) - before(line);
            for k in 0..size {
                difference += q(block, line, k) * (after(k) + before(k));
            }
            assert!(difference.abs() < 1e-4, "({row}, {column}): {difference}");
        }
    }
}

#[test]
fn inputs_go_through_a_narrow_product_at_each_place_of_a_kernel() {
    let values = stored();
    for (inputs, rank) in [(INPUTS, 3), (COLUMNS, 2)] {
        let delta = Delta::Through(matrix(2, inputs, rank, false), matrix(3, rank, inputs, false));
        let kernel = COLUMNS / inputs;
        check(delta, |row, column, weight| {
            let (input, place) = (column / kernel, column % kernel);
            let terms = (0..rank).map(|k| {
                let first = |i: usize| f64::from(values[2][i * rank + k]);
                let inner: f64 =
                    (0..inputs).map(|i| weight(row, i * kernel + place) * first(i)).sum();
                inner * f64::from(values[3][k * inputs + input])
            });
            terms.sum()
        });
    }
}

#[test]
fn rows_and_inputs_are_scaled() {
    let values = stored();
    for (of_rows, count) in [(true, CHANGED), (false, INPUTS), (false, COLUMNS)] {
        let delta = Delta::Scaled { by: plain(1), count: count as u64, of_rows, less: 1.0 };
        check(delta, |row, column, weight| {
            let at = if of_rows { row } else { column / (COLUMNS / count) };
            weight(row, column) * (f64::from(values[1][at]) - 1.0)
        });
    }
}

#[test]
fn cores_stand_between_the_factors_of_products() {
    let values = stored();
    let (rank, inner) = (2, 3);
    for turned in [false, true] {
        let up = matrix(4, CHANGED, rank, turned);
        let core = matrix(2, rank, inner * KERNEL, false);
        let product = Factor::Core(up, core, matrix(3, inner, INPUTS, false));
        let element = |row: usize, column: usize| -> f64 {
            let (input, place) = (column / KERNEL, column % KERNEL);
            let terms = (0..rank * inner).map(|at| {
                let (i, j) = (at / inner, at % inner);
                let up =
                    if turned { values[4][i * CHANGED + row] } else { values[4][row * rank + i] };
                let core = values[2][i * inner * KERNEL + j * KERNEL + place];
                f64::from(up) * f64::from(core) * f64::from(values[3][j * INPUTS + input])
            });
            terms.sum()
        };
        check(Delta::One(product), |row, column, _| element(row, column));
        check(Delta::Elementwise(product, product), |row, column, _| element(row, column).powi(2));
        let small = Factor::Whole(matrix(2, 4, 1, false));
        let up = matrix(4, CHANGED / 4, rank, turned);
        let large = Factor::Core(up, core, matrix(3, inner, INPUTS, false));
        check(Delta::Kronecker(small, large), |row, column, _| {
            let (which, row) = (row / (CHANGED / 4), row % (CHANGED / 4));
            let (input, place) = (column / KERNEL, column % KERNEL);
            let terms = (0..rank * inner).map(|at| {
                let (i, j) = (at / inner, at % inner);
                let at = if turned { i * (CHANGED / 4) + row } else { row * rank + i };
                let core = values[2][i * inner * KERNEL + j * KERNEL + place];
                f64::from(values[4][at])
                    * f64::from(core)
                    * f64::from(values[3][j * INPUTS + input])
            });
            f64::from(values[2][which]) * terms.sum::<f64>()
        });
    }
}

#[test]
fn changes_of_the_weight_get_lengths_too() {
    let values = stored();
    let mut patched = tensor(rows(turns(1, CHANGED / 2, 2, Form::Square)));
    let lengths = Lengths {
        plain: plain(4),
        count: CHANGED as u64,
        by_rows: true,
        weight: 1.0,
        found: Found::default(),
    };
    patched.changes[0].lengths = Some(lengths);
    let sources: Vec<Vec<u8>> = values.iter().map(|values| bytes(values)).collect();
    let sources: Vec<Source> = sources.iter().map(|bytes| Source::Bytes(bytes)).collect();
    let mut found = vec![0; 4 * ROWS * COLUMNS];
    decode(&sources, &Input::One(Stored::Patched(patched)), &mut found).unwrap();
    let found: Vec<f64> =
        found.as_chunks::<4>().0.iter().map(|x| f64::from(f32::from_le_bytes(*x))).collect();
    for row in 0..CHANGED {
        let line = &found[(FIRST + row) * COLUMNS..][..COLUMNS];
        let length = line.iter().map(|x| x * x).sum::<f64>().sqrt();
        assert!((length - f64::from(values[4][row]).abs()).abs() < 1e-5, "{row}: {length}");
    }
}

#[test]
fn what_does_not_fit_the_weight_is_refused() {
    let values = stored();
    let sources: Vec<Vec<u8>> = values.iter().map(|values| bytes(values)).collect();
    let sources: Vec<Source> = sources.iter().map(|bytes| Source::Bytes(bytes)).collect();
    let mut target = vec![0; 4 * ROWS * COLUMNS];
    let mut refused = |expected: &str, delta: Delta| {
        let input = Input::One(Stored::Patched(tensor(delta)));
        let error = decode(&sources, &input, &mut target).unwrap_err();
        assert!(error.to_string().contains(expected), "{expected}: {error}");
        assert!(matches!(error, Error::Program(_) | Error::Range { .. }));
    };
    let square = Form::Square;
    refused("of 282 x 180, its rows of 280 x 180", rows(turns(1, 141, 2, square)));
    let staged = |count, size, stages| {
        let mut turns = turns(1, count, size, Form::Half);
        turns.stages = stages;
        turns
    };
    for (count, size, stages) in [(45, 4, 2), (60, 3, 2), (90, 2, 0), (90, 2, 99)] {
        refused("stages of", inputs(staged(count, size, stages)));
    }
    refused("rotated in stages", rows(staged(140, 2, 2)));
    refused("0 rows", rows(turns(1, 280, 0, square)));
    refused("blocks of", rows(turns(1, usize::MAX, 2, square)));
    refused("source 9", rows(turns(9, 140, 2, square)));
    refused("source 1", rows(turns(1, 1, 280, square)));
    let mut rescaled = turns(1, 140, 2, square);
    rescaled.rescale = Some(plain(9));
    refused("source 9", rows(rescaled));
    refused("of 280 x 178", inputs(turns(1, 89, 2, Form::Triangle(5))));
    refused("of 280 x 7", inputs(turns(1, 1, 7, Form::Triangle(5))));
    let through = |inputs, rank, others| {
        Delta::Through(matrix(2, inputs, rank, false), matrix(3, rank, others, false))
    };
    refused("a change is of 20 x 18", through(20, 3, 18));
    refused("a change is of 21 x 21", through(21, 3, 21));
    let product = Delta::Through(matrix(2, 20, 3, false), matrix(3, 2, 20, false));
    refused("3 columns and 2 rows", product);
    let scaled = |count, of_rows| Delta::Scaled { by: plain(1), count, of_rows, less: 0.0 };
    refused("of 279 x 180", scaled(279, true));
    refused("of 280 x 7", scaled(7, false));
    refused("of 280 x 0", scaled(0, false));
    let core = |inner: usize, down: usize| {
        let up = matrix(4, CHANGED, 2, false);
        let core = matrix(2, 2, inner, false);
        Delta::One(Factor::Core(up, core, matrix(3, down, INPUTS, false)))
    };
    refused("a core of 27 columns and 4 rows", core(27, 4));
    refused("a core of 27 columns and 0 rows", core(27, 0));
    refused("of 280 x 60", core(9, 3));
}
