//! Changes that are made of the weight itself: its rows or inputs turned, scaled, or taken through a
//! narrow product.

use std::sync::Arc;

use super::super::super::Sources;
use super::factors::{all, numbers, scaled, Within};
use super::product::{Add, Panels, Up};
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

/// Runs of each row, each multiplied by a square matrix from the right; the one may be for all.
#[derive(Debug)]
pub(super) struct Inputs {
    blocks: Vec<Panels>,
    size: usize,
}

impl Inputs {
    pub(super) fn load(
        turns: &Turns,
        scale: f32,
        sources: &Sources,
        raw: &mut Vec<u8>,
    ) -> Result<Self> {
        let (blocks, size) = (turns.blocks(sources, raw)?, turns.size as usize);
        let scaled: Vec<f32> = blocks.iter().map(|x| x * scale).collect();
        let blocks = scaled.chunks_exact(size * size).map(|x| Panels::new(x, size, size));
        Ok(Self { blocks: blocks.collect(), size })
    }

    /// Add its elements from `place` on.
    pub(super) fn add(&self, within: &mut Within, place: usize, values: &mut [f32]) -> Result<()> {
        let (size, columns) = (self.size, within.columns());
        let (begin, end) = (place / size * size, (place + values.len()).div_ceil(size) * size);
        let mut weight = vec![0.0; end - begin];
        within.weight(begin, &mut weight)?;
        let row = begin / columns;
        let rows = end.div_ceil(columns) - row;
        for first in (0..columns).step_by(size) {
            let up = Up::new(rows, size, |at, k| {
                let place = (row + at) * columns + first + k;
                place.checked_sub(begin).and_then(|at| weight.get(at)).copied().unwrap_or(0.0)
            });
            let panels = &self.blocks[first / size % self.blocks.len()];
            let (pairs, range) = (&[(&up, panels)], (first, first + size));
            Level::detect().run(Add { pairs, scale: 1.0, row, range, columns, place, values });
        }
        Ok(())
    }
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
        let (rank, inputs, columns) = (self.rank, self.inputs, within.columns());
        let (row, end) = (place / columns, (place + values.len()).div_ceil(columns));
        let (rows, kernel) = (end - row, columns / inputs);
        let mut weight = vec![0.0; rows * columns];
        within.weight(row * columns, &mut weight)?;
        let (mut inner, mut found) = (vec![0.0; rows * rank], vec![0.0; rows * inputs]);
        for at in 0..kernel {
            let up = Up::new(rows, inputs, |row, k| weight[row * columns + k * kernel + at]);
            set(&up, &self.first, rank, &mut inner);
            let up = Up::new(rows, rank, |row, k| inner[row * rank + k]);
            set(&up, &self.second, inputs, &mut found);
            let places = (row * columns + at..).step_by(kernel);
            for (at, found) in places.zip(&found) {
                if let Some(value) = at.checked_sub(place).and_then(|at| values.get_mut(at)) {
                    *value += found;
                }
            }
        }
        Ok(())
    }
}

/// A product of so many columns.
fn set(up: &Up, down: &Panels, columns: usize, values: &mut [f32]) {
    values.fill(0.0);
    let (pairs, range) = (&[(up, down)], (0, columns));
    Level::detect().run(Add { pairs, scale: 1.0, row: 0, range, columns, place: 0, values });
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
