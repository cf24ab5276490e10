//! The factors of changes in memory, as a thread holds them for the tensor that it computes.

use std::sync::Arc;

use super::super::super::Sources;
use super::super::reading::Decode;
use super::lengths::{Lengths, Squares};
use super::product::{Add, Pair};
use super::{Buffer, Change, Delta, Factor, Matrix, Patched, Plain};
use crate::error::Result;
use crate::vm::simd::Level;

/// Elements that are computed at a time to find the lengths of vectors, at least one row.
const AT_ONCE: usize = 1 << 16;

/// The factors of one tensor's changes.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// Address of the tensor: requests stay where they are during a run.
    of: usize,
    changes: Vec<Ready>,
}

/// A change that can be added.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) delta: Loose,
    /// What vectors are multiplied by that get lengths of their own.
    pub(super) factors: Option<Arc<Vec<f32>>>,
}

/// What is added.
#[derive(Debug)]
pub(super) enum Loose {
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
        base: &mut Buffer,
    ) -> Result<&[Ready]> {
        let address = std::ptr::from_ref(patched).addr();
        if self.of != address {
            self.changes.clear();
            self.of = 0;
            let ready = patched.changes.iter().map(|change| {
                let delta = load(change, sources, raw)?;
                let find = |lengths: &Lengths| {
                    let find = || measured(patched, change, lengths, &delta, sources, raw, base);
                    lengths.found.or_find(find)
                };
                let factors = change.lengths.as_ref().map(find).transpose()?;
                Ok(Ready { delta, factors })
            });
            self.changes = ready.collect::<Result<_>>()?;
            self.of = address;
        }
        Ok(&self.changes)
    }
}

fn load(change: &Change, sources: &Sources, raw: &mut Vec<u8>) -> Result<Loose> {
    Ok(match change.delta {
        Delta::One(Factor::Whole(matrix)) => Loose::Stored(matrix.plain),
        Delta::One(factor) => Loose::Product(vec![pair(&factor, change.scale, sources, raw)?]),
        Delta::Elementwise(one, other) => Loose::Product(vec![
            pair(&one, change.scale, sources, raw)?,
            pair(&other, 1.0, sources, raw)?,
        ]),
        Delta::Kronecker(one, other) => {
            let second = whole(&other, 1.0, sources, raw)?;
            let first = whole(&one, change.scale, sources, raw)?.0;
            Loose::Kronecker(Kronecker { first, second: second.0, shape: second.1 })
        }
    })
}

/// What the vectors of changed rows are multiplied by to get their lengths.
fn measured(
    patched: &Patched,
    change: &Change,
    lengths: &Lengths,
    delta: &Loose,
    sources: &Sources,
    raw: &mut Vec<u8>,
    base: &mut Buffer,
) -> Result<Vec<f32>> {
    let columns = patched.columns as usize;
    let step = (AT_ONCE / columns.max(1)).max(1) as u64;
    let mut squares = Squares::new(lengths, columns);
    let mut values = Vec::new();
    for row in (change.rows.0..change.rows.1).step_by(step as usize) {
        let (first, count) = ((row - change.rows.0) as usize, step.min(change.rows.1 - row));
        values.resize(count as usize * columns, 0.0);
        patched.base.values(sources, row * patched.columns, &mut values, base)?;
        delta.add(change.scale, sources, columns, first * columns, &mut values, raw)?;
        squares.add(first, &values);
    }
    let mut wanted = vec![0.0; lengths.count as usize];
    read(sources, &lengths.plain, 0, &mut wanted, raw)?;
    Ok(squares.factors(&wanted))
}

impl Loose {
    /// Add its elements from `place` on, of rows of so many columns; the scale is that of the change.
    pub(super) fn add(
        &self,
        scale: f32,
        sources: &Sources,
        columns: usize,
        place: usize,
        values: &mut [f32],
        raw: &mut Vec<u8>,
    ) -> Result<()> {
        match self {
            Self::Stored(plain) => add_stored(plain, scale, sources, place as u64, values, raw)?,
            Self::Product(pairs) => Level::detect().run(Add { pairs, columns, place, values }),
            Self::Kronecker(pair) => pair.add(columns, place, values),
        }
        Ok(())
    }
}

/// Add what is stored as it is, times a scale.
fn add_stored(
    plain: &Plain,
    scale: f32,
    sources: &Sources,
    place: u64,
    values: &mut [f32],
    raw: &mut Vec<u8>,
) -> Result<()> {
    let mut change = vec![0.0; values.len()];
    read(sources, plain, place, &mut change, raw)?;
    for (value, change) in values.iter_mut().zip(change) {
        *value += change * scale;
    }
    Ok(())
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
