//! The factors of changes in memory, as a thread holds them for the tensor that it computes.

use super::super::super::Sources;
use super::super::reading::Decode;
use super::product::Pair;
use super::{Change, Delta, Factor, Matrix, Patched, Plain};
use crate::error::Result;
use crate::vm::simd::Level;

/// The factors of one tensor's changes.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// Address of the tensor: requests stay where they are during a run.
    of: usize,
    changes: Vec<Ready>,
}

/// A change that can be added.
#[derive(Debug)]
pub(super) enum Ready {
    /// Read where it is needed.
    Stored(Plain),
    /// Products that are multiplied element by element.
    Product(Vec<Pair>),
    Kronecker(Kronecker),
}

/// Two whole matrices.
#[derive(Debug)]
pub(super) struct Kronecker {
    first: Vec<f32>,
    second: Vec<f32>,
    /// Rows and columns of the second.
    shape: (usize, usize),
}

impl Loaded {
    /// The factors of a tensor, read unless they are here already.
    pub(super) fn of(
        &mut self,
        patched: &Patched,
        sources: &Sources,
        raw: &mut Vec<u8>,
    ) -> Result<&[Ready]> {
        let address = std::ptr::from_ref(patched).addr();
        if self.of != address {
            self.changes.clear();
            self.of = 0;
            let ready = patched.changes.iter().map(|change| load(change, sources, raw));
            self.changes = ready.collect::<Result<_>>()?;
            self.of = address;
        }
        Ok(&self.changes)
    }
}

fn load(change: &Change, sources: &Sources, raw: &mut Vec<u8>) -> Result<Ready> {
    Ok(match change.delta {
        Delta::One(Factor::Whole(matrix)) => Ready::Stored(matrix.plain),
        Delta::One(factor) => Ready::Product(vec![pair(&factor, change.scale, sources, raw)?]),
        Delta::Elementwise(one, other) => Ready::Product(vec![
            pair(&one, change.scale, sources, raw)?,
            pair(&other, 1.0, sources, raw)?,
        ]),
        Delta::Kronecker(one, other) => {
            let second = whole(&other, 1.0, sources, raw)?;
            let first = whole(&one, change.scale, sources, raw)?.0;
            Ready::Kronecker(Kronecker { first, second: second.0, shape: second.1 })
        }
    })
}

/// A product's factors, the scale in the first.
fn pair(factor: &Factor, scale: f32, sources: &Sources, raw: &mut Vec<u8>) -> Result<Pair> {
    let Factor::Product(up, down) = factor else {
        unreachable!("checked when the run began");
    };
    let rows = scaled(up, scale, sources, raw)?;
    let (rank, columns) = (up.columns as usize, down.columns as usize);
    Ok(Pair::new(&rows, &all(down, sources, raw)?, rank, columns))
}

/// A factor as one matrix: its numbers, rows and columns.
fn whole(
    factor: &Factor,
    scale: f32,
    sources: &Sources,
    raw: &mut Vec<u8>,
) -> Result<(Vec<f32>, (usize, usize))> {
    match factor {
        Factor::Whole(matrix) => {
            let shape = (matrix.rows as usize, matrix.columns as usize);
            Ok((scaled(matrix, scale, sources, raw)?, shape))
        }
        Factor::Product(up, down) => {
            let (rows, columns) = (up.rows as usize, down.columns as usize);
            let (up, down) = (scaled(up, scale, sources, raw)?, all(down, sources, raw)?);
            let mut values = vec![0.0; rows * columns];
            let rank = up.len() / rows.max(1);
            for (row, line) in values.chunks_exact_mut(columns.max(1)).enumerate() {
                for (up, down) in up[row * rank..][..rank].iter().zip(down.chunks_exact(columns)) {
                    line.iter_mut().zip(down).for_each(|(value, down)| *value += up * down);
                }
            }
            Ok((values, (rows, columns)))
        }
    }
}

fn scaled(matrix: &Matrix, scale: f32, sources: &Sources, raw: &mut Vec<u8>) -> Result<Vec<f32>> {
    let mut values = all(matrix, sources, raw)?;
    for value in &mut values {
        *value *= scale;
    }
    Ok(values)
}

fn all(matrix: &Matrix, sources: &Sources, raw: &mut Vec<u8>) -> Result<Vec<f32>> {
    let mut values = vec![0.0; (matrix.rows * matrix.columns) as usize];
    read(sources, &matrix.plain, 0, &mut values, raw)?;
    Ok(values)
}

/// Read numbers from one of them on.
pub(super) fn read(
    sources: &Sources,
    plain: &Plain,
    first: u64,
    target: &mut [f32],
    raw: &mut Vec<u8>,
) -> Result<()> {
    let (begin, length) = plain.place(first, target.len() as u64);
    let source = &sources[plain.source];
    source.load(begin, length, raw)?;
    let bytes = source.view(begin, length, raw);
    Level::detect().run(Decode { dtype: plain.dtype, bytes, target });
    source.release(begin, length)
}

impl Kronecker {
    /// Add the product's elements from `place` on, of rows of so many columns.
    pub(super) fn add(&self, columns: usize, place: usize, values: &mut [f32]) {
        let (rows, width) = self.shape;
        let across = columns / width;
        let (mut row, mut column) = (place / columns, place % columns);
        let mut rest = values;
        while !rest.is_empty() {
            let (i, p) = (row / rows, row % rows);
            let (j, q) = (column / width, column % width);
            let length = (width - q).min(rest.len());
            let (part, others) = rest.split_at_mut(length);
            let factor = self.first[i * across + j];
            let second = &self.second[p * width + q..][..length];
            part.iter_mut().zip(second).for_each(|(value, second)| *value += factor * second);
            rest = others;
            column += length;
            if column == columns {
                (row, column) = (row + 1, 0);
            }
        }
    }
}
