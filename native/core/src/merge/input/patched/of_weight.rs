//! Changes that are made of the weight itself: its rows or inputs turned, scaled, or taken through a
//! narrow product.

use std::sync::Arc;

use super::super::super::Sources;
use super::factors::{all, numbers, scaled, Within};
use super::product::{Add, Panels, Up};
use super::straight::Straight;
use super::{Matrix, Plain, Turns};
use crate::error::Result;
use crate::vm::simd::Level;

/// Elements of a block of the weight's rows that are read at a time.
const AT_ONCE: usize = 1 << 18;

/// Blocks of rows, each multiplied by a square matrix from the left.
#[derive(Debug)]
pub(super) struct Rows {
    blocks: Arc<Vec<f32>>,
    size: usize,
    rescale: Option<Vec<f32>>,
}

impl Rows {
    pub(super) fn load(turns: &Turns, sources: &Sources, raw: &mut Vec<u8>) -> Result<Self> {
        let (blocks, size) = (turns.blocks(sources, raw)?, turns.size as usize);
        let count = turns.count as usize * size;
        let rescale = turns.rescale.map(|plain| numbers(&plain, count, sources, raw));
        Ok(Self { blocks, size, rescale: rescale.transpose()? })
    }

    /// Add its elements from `place` on.
    pub(super) fn add(&self, within: &mut Within, place: usize, values: &mut [f32]) -> Result<()> {
        let (size, columns, scale) = (self.size, within.columns(), within.scale());
        let last = (place + values.len()).div_ceil(columns);
        let (mut down, mut row) = (Vec::new(), place / columns);
        while row < last {
            let (first, end) = (row / size * size, last.min(row / size * size + size));
            let up = Up::new(end - row, size, |at, k| {
                let (line, column) = (row + at - first, k);
                let turned = self.blocks[first * size + column * size + line];
                let factor = self.rescale.as_ref().map_or(1.0, |rescale| rescale[row + at]);
                let own = if line == column { factor - 1.0 } else { 0.0 };
                scale * (factor * turned + own)
            });
            let begin = place.max(row * columns);
            let stop = (end * columns - place).min(values.len());
            let part = &mut values[begin - place..stop];
            // Of a part of one row there is no need of all columns.
            let (mut from, to) = match end - row {
                1 => (begin - row * columns, begin + part.len() - row * columns),
                _ => (0, columns),
            };
            while from < to {
                let wide = (AT_ONCE / size / 16 * 16).max(16).min(to - from);
                down.resize(size * wide, 0.0);
                for (k, line) in down.chunks_exact_mut(wide).enumerate() {
                    within.weight((first + k) * columns + from, line)?;
                }
                let panels = Panels::new(&down, size, wide);
                Level::detect().run(Add {
                    pairs: &[(&up, &panels)],
                    scale: 1.0,
                    row,
                    range: (from, from + wide),
                    columns,
                    place: begin,
                    values: part,
                });
                from += wide;
            }
            row = end;
        }
        Ok(())
    }
}

/// Runs of each row, each multiplied by a square matrix from the right; the one may be for all. In
/// stages after the first a run is of two halves that are ever further apart.
#[derive(Debug)]
pub(super) struct Inputs {
    /// Those of a stage after those of another.
    blocks: Vec<Panels>,
    stages: usize,
    size: usize,
    rescale: Option<Vec<f32>>,
}

impl Inputs {
    /// Of a change of so many rows.
    pub(super) fn load(
        turns: &Turns,
        rows: u64,
        sources: &Sources,
        raw: &mut Vec<u8>,
    ) -> Result<Self> {
        let (blocks, size) = (turns.blocks(sources, raw)?, turns.size as usize);
        let blocks = blocks.chunks_exact(size * size).map(|x| Panels::new(x, size, size));
        let rescale = turns.rescale.map(|plain| numbers(&plain, rows as usize, sources, raw));
        let (blocks, rescale) = (blocks.collect(), rescale.transpose()?);
        Ok(Self { blocks, stages: turns.stages as usize, size, rescale })
    }

    /// Add its elements from `place` on.
    pub(super) fn add(&self, within: &mut Within, place: usize, values: &mut [f32]) -> Result<()> {
        let (columns, scale) = (within.columns(), within.scale());
        let (row, weight) = whole_rows(within, place, values.len())?;
        let mut found = vec![0.0; weight.len()];
        if self.stages == 1 {
            self.turn(&self.blocks, &weight, columns, &mut found);
        } else {
            self.turn_in_stages(&weight, columns, &mut found);
        }
        if let Some(rescale) = &self.rescale {
            let lines = found.chunks_exact_mut(columns).zip(weight.chunks_exact(columns));
            for ((found, weight), factor) in lines.zip(&rescale[row..]) {
                let pairs = found.iter_mut().zip(weight);
                pairs.for_each(|(x, weight)| *x = factor * *x + (factor - 1.0) * weight);
            }
        }
        let found = &found[place - row * columns..];
        values.iter_mut().zip(found).for_each(|(value, found)| *value += scale * found);
        Ok(())
    }

    /// Add what rotating runs of some rows changes.
    fn turn(&self, blocks: &[Panels], rows: &[f32], columns: usize, values: &mut [f32]) {
        let size = self.size;
        for (first, down) in (0..columns).step_by(size).zip(blocks.iter().cycle()) {
            Level::detect().run(Straight {
                rows: &rows[first..],
                stride: columns,
                down,
                wide: size,
                values: &mut values[first..],
                count: rows.len() / columns,
                width: columns,
            });
        }
    }

    fn turn_in_stages(&self, rows: &[f32], columns: usize, found: &mut [f32]) {
        let half = self.size / 2;
        let (mut mixed, mut turned) = (vec![0.0; rows.len()], vec![0.0; rows.len()]);
        for (stage, blocks) in self.blocks.chunks(self.blocks.len() / self.stages).enumerate() {
            let halves = rows.chunks_exact(half).zip(found.chunks_exact(half)).enumerate();
            for (index, (rows, found)) in halves {
                let target = &mut mixed[beside(index, stage) * half..][..half];
                let sums = rows.iter().zip(found).map(|(x, y)| x + y);
                target.iter_mut().zip(sums).for_each(|(target, sum)| *target = sum);
            }
            turned.fill(0.0);
            self.turn(blocks, &mixed, columns, &mut turned);
            for (index, found) in found.chunks_exact_mut(half).enumerate() {
                let turned = &turned[beside(index, stage) * half..];
                found.iter_mut().zip(turned).for_each(|(found, turned)| *found += turned);
            }
        }
    }
}

/// The place of a half of a block in a stage, where it lies beside the one that is so far apart.
fn beside(half: usize, stage: usize) -> usize {
    let apart = 1 << stage;
    let (place, other) = (half % (2 * apart), half / apart % 2);
    half - place + 2 * (place % apart) + other
}

/// The rows that some elements of a change are of: the first, and what is stored of them.
fn whole_rows(within: &mut Within, place: usize, count: usize) -> Result<(usize, Vec<f32>)> {
    let columns = within.columns();
    let (row, end) = (place / columns, (place + count).div_ceil(columns));
    let mut weight = vec![0.0; (end - row) * columns];
    within.weight(row * columns, &mut weight)?;
    Ok((row, weight))
}

/// Inputs taken through two matrices, whatever their place in a kernel.
#[derive(Debug)]
pub(super) struct Through {
    first: Panels,
    second: Panels,
    rank: usize,
    inputs: usize,
}

impl Through {
    pub(super) fn load(
        (first, second): (&Matrix, &Matrix),
        scale: f32,
        sources: &Sources,
        raw: &mut Vec<u8>,
    ) -> Result<Self> {
        let (rank, inputs) = (second.rows as usize, second.columns as usize);
        let first = Panels::new(&all(first, sources, raw)?, inputs, rank);
        let second = Panels::new(&scaled(second, scale, sources, raw)?, rank, inputs);
        Ok(Self { first, second, rank, inputs })
    }

    /// Add its elements from `place` on.
    pub(super) fn add(&self, within: &mut Within, place: usize, values: &mut [f32]) -> Result<()> {
        let (inputs, kernel) = (self.inputs, within.columns() / self.inputs);
        let (row, mut weight) = whole_rows(within, place, values.len())?;
        if kernel > 1 {
            weight = exchanged(&weight, inputs, kernel);
        }
        let count = weight.len() / inputs;
        let mut inner = vec![0.0; count * self.rank];
        add(&weight, &self.first, (inputs, self.rank), &mut inner);
        weight.fill(0.0);
        add(&inner, &self.second, (self.rank, inputs), &mut weight);
        if kernel > 1 {
            weight = exchanged(&weight, kernel, inputs);
        }
        let found = &weight[place - row * within.columns()..];
        values.iter_mut().zip(found).for_each(|(value, found)| *value += found);
        Ok(())
    }
}

/// Some matrices of so many rows and columns, each column after column.
fn exchanged(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut found = vec![0.0; values.len()];
    let size = rows * columns;
    for (target, values) in found.chunks_exact_mut(size).zip(values.chunks_exact(size)) {
        for (column, line) in target.chunks_exact_mut(rows).enumerate() {
            let numbers = values[column..].iter().step_by(columns);
            line.iter_mut().zip(numbers).for_each(|(x, y)| *x = *y);
        }
    }
    found
}

/// Add a matrix times another, of so many rows and columns, to a third.
fn add(rows: &[f32], down: &Panels, (stride, wide): (usize, usize), values: &mut [f32]) {
    let count = rows.len() / stride.max(1);
    Level::detect().run(Straight { rows, stride, down, wide, values, count, width: wide });
}

/// Rows or inputs, each multiplied by a number.
#[derive(Debug)]
pub(super) struct Scaled {
    by: Vec<f32>,
    of_rows: bool,
}

impl Scaled {
    /// Of `count` stored numbers, each less another and times a scale.
    pub(super) fn load(
        (plain, count): (&Plain, u64),
        of_rows: bool,
        (less, scale): (f32, f32),
        sources: &Sources,
        raw: &mut Vec<u8>,
    ) -> Result<Self> {
        let mut by = numbers(plain, count as usize, sources, raw)?;
        for x in &mut by {
            *x = scale * (*x - less);
        }
        Ok(Self { by, of_rows })
    }

    /// Add its elements from `place` on.
    pub(super) fn add(&self, within: &mut Within, place: usize, values: &mut [f32]) -> Result<()> {
        let (by, columns) = (&self.by, within.columns());
        let span = if self.of_rows { columns } else { columns / by.len() };
        let mut weight = vec![0.0; values.len()];
        within.weight(place, &mut weight)?;
        for (at, (value, weight)) in (place..).zip(values.iter_mut().zip(weight)) {
            *value += weight * by[at / span % by.len()];
        }
        Ok(())
    }
}
