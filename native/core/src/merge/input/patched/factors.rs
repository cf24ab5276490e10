//! The factors of changes in memory, as a thread holds them for the tensor that it computes.

use std::sync::Arc;

use super::super::super::Sources;
use super::super::reading::Decode;
use super::lengths::{Lengths, Squares};
use super::of_weight::{Inputs, Rows, Scaled, Through};
use super::product::{Add, Panels, Up};
use super::{Buffer, Change, Delta, Factor, Matrix, Patched, Plain, ROWS};
use crate::error::Result;
use crate::vm::simd::Level;

/// Elements that are computed at a time to find the lengths of vectors, at least some rows.
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
    /// A product.
    Product(Up, Panels),
    /// Products that are multiplied element by element.
    Products([(Up, Panels); 2]),
    Kronecker(Kronecker),
    Rows(Rows),
    Inputs(Inputs),
    Through(Through),
    Scaled(Scaled),
}

/// A change, its tensor, and what reading it takes.
pub(super) struct Within<'a> {
    pub(super) patched: &'a Patched,
    pub(super) change: &'a Change,
    pub(super) sources: &'a Sources<'a>,
    pub(super) raw: &'a mut Vec<u8>,
    pub(super) base: &'a mut Buffer,
}

impl Within<'_> {
    /// Elements of a row.
    pub(super) fn columns(&self) -> usize {
        self.patched.columns as usize
    }

    /// What the change is multiplied by.
    pub(super) fn scale(&self) -> f32 {
        self.change.scale
    }

    /// What is stored, from an element of the change's rows on.
    pub(super) fn weight(&mut self, place: usize, values: &mut [f32]) -> Result<()> {
        let first = self.change.rows.0 * self.patched.columns + place as u64;
        self.patched.base.values(self.sources, first, values, self.base)
    }
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
                let mut within = Within { patched, change, sources, raw, base };
                let find = |lengths: &Lengths| {
                    lengths.found.or_find(|| measured(&mut within, lengths, &delta))
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
    let scale = change.scale;
    Ok(match &change.delta {
        Delta::One(Factor::Whole(matrix)) => Loose::Stored(matrix.plain),
        Delta::One(factor) => {
            let (up, down) = pair(factor, sources, raw)?;
            Loose::Product(up, down)
        }
        Delta::Elementwise(one, other) => {
            Loose::Products([pair(one, sources, raw)?, pair(other, sources, raw)?])
        }
        Delta::Kronecker(one, other) => {
            let second = whole(other, 1.0, sources, raw)?;
            let first = whole(one, scale, sources, raw)?.0;
            Loose::Kronecker(Kronecker { first, second: second.0, shape: second.1 })
        }
        Delta::Rows(turns) => Loose::Rows(Rows::load(turns, sources, raw)?),
        Delta::Inputs(turns) => {
            let rows = change.rows.1 - change.rows.0;
            Loose::Inputs(Inputs::load(turns, rows, sources, raw)?)
        }
        Delta::Through(first, second) => {
            Loose::Through(Through::load((first, second), scale, sources, raw)?)
        }
        Delta::Scaled { by, count, of_rows, less } => {
            Loose::Scaled(Scaled::load((by, *count), *of_rows, (*less, scale), sources, raw)?)
        }
    })
}

/// What the vectors of changed rows are multiplied by to get their lengths.
fn measured(within: &mut Within, lengths: &Lengths, delta: &Loose) -> Result<Vec<f32>> {
    let (columns, rows) = (within.columns(), within.change.rows);
    let rows = (rows.1 - rows.0) as usize;
    let together = within.change.together().max(ROWS) as usize;
    let step = (AT_ONCE / columns.max(1)).max(together);
    let mut squares = Squares::new(lengths, columns);
    let mut values = Vec::new();
    for first in (0..rows).step_by(step) {
        values.resize(step.min(rows - first) * columns, 0.0);
        within.weight(first * columns, &mut values)?;
        delta.add(within, first * columns, &mut values)?;
        squares.add(first, &values);
    }
    let wanted = numbers(&lengths.plain, lengths.count as usize, within.sources, within.raw)?;
    Ok(squares.factors(&wanted))
}

impl Loose {
    /// Add its elements from `place` on, of the rows of its change.
    pub(super) fn add(&self, within: &mut Within, place: usize, values: &mut [f32]) -> Result<()> {
        let columns = within.columns();
        let (row, range, scale) = (0, (0, columns), within.scale());
        match self {
            Self::Stored(plain) => add_stored(plain, within, place as u64, values)?,
            Self::Product(up, down) => {
                let pairs = &[(up, down)];
                Level::detect().run(Add { pairs, scale, row, range, columns, place, values });
            }
            Self::Products(pairs) => {
                let pairs = &pairs.each_ref().map(|(up, down)| (up, down));
                Level::detect().run(Add { pairs, scale, row, range, columns, place, values });
            }
            Self::Kronecker(pair) => pair.add(columns, place, values),
            Self::Rows(change) => change.add(within, place, values)?,
            Self::Inputs(change) => change.add(within, place, values)?,
            Self::Through(change) => change.add(within, place, values)?,
            Self::Scaled(change) => change.add(within, place, values)?,
        }
        Ok(())
    }
}

/// Add what is stored as it is, times a scale.
fn add_stored(plain: &Plain, within: &mut Within, place: u64, values: &mut [f32]) -> Result<()> {
    let mut change = vec![0.0; values.len()];
    read(within.sources, plain, place, &mut change, within.raw)?;
    let scale = within.scale();
    for (value, change) in values.iter_mut().zip(change) {
        *value += change * scale;
    }
    Ok(())
}

/// A product's factors, as they are: products of numbers of 16 bits are exact.
fn pair(factor: &Factor, sources: &Sources, raw: &mut Vec<u8>) -> Result<(Up, Panels)> {
    let (rows, up, down) = product(factor, 1.0, sources, raw)?;
    let rank = up.len() / rows.max(1);
    let columns = down.len() / rank.max(1);
    Ok((Up::new(rows, rank, |row, k| up[row * rank + k]), Panels::new(&down, rank, columns)))
}

/// A product's rows and both matrices, the scale in the first; a core is multiplied with the second.
fn product(
    factor: &Factor,
    scale: f32,
    sources: &Sources,
    raw: &mut Vec<u8>,
) -> Result<(usize, Vec<f32>, Vec<f32>)> {
    match factor {
        Factor::Whole(_) => unreachable!("checked when the run began"),
        Factor::Product(up, down) => {
            let matrix = scaled(up, scale, sources, raw)?;
            Ok((up.rows as usize, matrix, all(down, sources, raw)?))
        }
        Factor::Core(up, core, down) => {
            let matrix = scaled(up, scale, sources, raw)?;
            let inner = spread(core, down, sources, raw)?;
            Ok((up.rows as usize, matrix, inner))
        }
    }
}

/// A core times a matrix: for each of the core's rows, the matrix's columns with the kernel innermost.
fn spread(core: &Matrix, down: &Matrix, sources: &Sources, raw: &mut Vec<u8>) -> Result<Vec<f32>> {
    let (wide, columns) = (core.columns as usize, down.columns as usize);
    let kernel = wide / (down.rows as usize).max(1);
    let (core, down) = (all(core, sources, raw)?, all(down, sources, raw)?);
    let mut values = vec![0.0; core.len() / wide.max(1) * columns * kernel];
    let mut line = vec![0.0; columns];
    let lines = values.chunks_exact_mut((columns * kernel).max(1));
    for (values, core) in lines.zip(core.chunks_exact(wide.max(1))) {
        for at in 0..kernel {
            line.fill(0.0);
            for (core, down) in core.chunks_exact(kernel).zip(down.chunks_exact(columns)) {
                line.iter_mut().zip(down).for_each(|(value, down)| *value += core[at] * down);
            }
            let places = values[at..].iter_mut().step_by(kernel);
            places.zip(&line).for_each(|(value, x)| *value = *x);
        }
    }
    Ok(values)
}

/// A factor as one matrix: its numbers, rows and columns.
fn whole(
    factor: &Factor,
    scale: f32,
    sources: &Sources,
    raw: &mut Vec<u8>,
) -> Result<(Vec<f32>, (usize, usize))> {
    if let Factor::Whole(matrix) = factor {
        let shape = (matrix.rows as usize, matrix.columns as usize);
        return Ok((scaled(matrix, scale, sources, raw)?, shape));
    }
    let (rows, up, down) = product(factor, scale, sources, raw)?;
    let rank = up.len() / rows.max(1);
    let columns = down.len() / rank.max(1);
    let mut values = vec![0.0; rows * columns];
    for (row, line) in values.chunks_exact_mut(columns.max(1)).enumerate() {
        for (up, down) in up[row * rank..][..rank].iter().zip(down.chunks_exact(columns)) {
            line.iter_mut().zip(down).for_each(|(value, down)| *value += up * down);
        }
    }
    Ok((values, (rows, columns)))
}

pub(super) fn scaled(
    matrix: &Matrix,
    scale: f32,
    sources: &Sources,
    raw: &mut Vec<u8>,
) -> Result<Vec<f32>> {
    let mut values = all(matrix, sources, raw)?;
    for value in &mut values {
        *value *= scale;
    }
    Ok(values)
}

/// A matrix, row after row.
pub(super) fn all(matrix: &Matrix, sources: &Sources, raw: &mut Vec<u8>) -> Result<Vec<f32>> {
    let (rows, columns) = (matrix.rows as usize, matrix.columns as usize);
    let stored = numbers(&matrix.plain, rows * columns, sources, raw)?;
    if !matrix.turned {
        return Ok(stored);
    }
    let mut values = vec![0.0; rows * columns];
    for (column, line) in stored.chunks_exact(rows.max(1)).enumerate() {
        values[column..].iter_mut().step_by(columns).zip(line).for_each(|(x, y)| *x = *y);
    }
    Ok(values)
}

/// So many numbers.
pub(super) fn numbers(
    plain: &Plain,
    count: usize,
    sources: &Sources,
    raw: &mut Vec<u8>,
) -> Result<Vec<f32>> {
    let mut values = vec![0.0; count];
    read(sources, plain, 0, &mut values, raw)?;
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
