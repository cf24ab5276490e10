//! Rotations of blocks of numbers, by what is stored of them.
//!
//! A rotation is R = (I + Q) (I - Q)^-1 (Cayley) of a skew matrix Q, or the first terms of its series.
//! What is had of it is R - I, computed in float64 in one order, so that it is the same on every level
//! and thread.

use std::sync::Arc;

use super::super::super::Sources;
use super::factors::read;
use super::{Found, Plain};
use crate::codec::Isa;
use crate::error::Result;
use crate::vm::simd::{Level, Task};

/// What is added to a norm before it divides, as `LyCORIS` has it.
const LEAST: f64 = 1e-8;

/// Rows that are eliminated at once.
const STEP: usize = 32;

/// Columns of a tile, which with so many rows fits the innermost cache.
const WIDE: usize = 32;

/// Rotations of blocks, one after another.
#[derive(Debug, Clone, PartialEq)]
pub struct Turns {
    /// Where the numbers are stored that say how.
    pub plain: Plain,
    /// How many blocks there are in a stage.
    pub count: u64,
    /// Rows of a block.
    pub size: u64,
    /// How many stages there are: of each but the first, blocks are of halves ever further apart.
    pub stages: u64,
    /// What is stored of each.
    pub form: Form,
    /// What the norm of all Q together may be at most; 0: anything.
    pub bound: f64,
    /// Whether the bound is for each Q instead.
    pub apart: bool,
    /// What each row is multiplied by then, if anything.
    pub rescale: Option<Plain>,
    /// What threads have found out.
    pub found: Found,
}

/// What is stored of a skew matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A square one, from which its transpose is taken.
    Square,
    /// Likewise, of which half is taken.
    Half,
    /// What is above the diagonal, row after row. Of the series so many terms are taken, and it has
    /// the other sign then, as PEFT has it; 0: all of it.
    Triangle(u32),
}

impl Form {
    /// Numbers that are stored of a block.
    pub(super) fn numbers(self, size: u64) -> Option<u64> {
        match self {
            Self::Square | Self::Half => size.checked_mul(size),
            Self::Triangle(_) => size.checked_mul(size.saturating_sub(1)).map(|twice| twice / 2),
        }
    }
}

impl Turns {
    /// R - I of each block, row after row.
    pub(super) fn blocks(&self, sources: &Sources, raw: &mut Vec<u8>) -> Result<Arc<Vec<f32>>> {
        self.found.or_find(|| {
            let (size, blocks) = (self.size as usize, self.stages * self.count);
            let numbers = self.form.numbers(self.size).unwrap_or(0) as usize;
            let mut stored = vec![0.0; numbers];
            let mut block = |index: u64| -> Result<Vec<f64>> {
                read(sources, &self.plain, index * numbers as u64, &mut stored, raw)?;
                Ok(skew(&stored, self.form, size))
            };
            let shrink = |sum: f64| match self.bound {
                bound if bound > 0.0 => (bound / (sum.sqrt() + LEAST)).min(1.0),
                _ => 1.0,
            };
            let squares = |block: &[f64]| -> f64 { block.iter().map(|x| x * x).sum() };
            let mut all = 0.0;
            let summed = if self.apart || self.bound <= 0.0 { 0 } else { blocks };
            for index in 0..summed {
                all += squares(&block(index)?);
            }
            let together = shrink(all);
            let mut found = Vec::with_capacity(blocks as usize * size * size);
            for index in 0..blocks {
                let mut block = block(index)?;
                let shrink = if self.apart { shrink(squares(&block)) } else { together };
                for x in &mut block {
                    *x *= shrink;
                }
                let turned = match self.form {
                    Form::Triangle(terms) if terms > 0 => series(&block, size, terms),
                    _ => cayley(&block, size),
                };
                found.extend(turned.into_iter().map(|x| x as f32));
            }
            Ok(found)
        })
    }
}

pub(super) fn skew(block: &[f32], form: Form, size: usize) -> Vec<f64> {
    let scale = if form == Form::Half { 0.5 } else { 1.0 };
    let mut found = vec![0.0; size * size];
    let mut above = block.iter();
    for row in 0..size {
        for column in row + 1..size {
            let difference = match form {
                Form::Square | Form::Half => {
                    let [above, below] = [row * size + column, column * size + row];
                    scale * (f64::from(block[above]) - f64::from(block[below]))
                }
                Form::Triangle(_) => above.next().map_or(0.0, |x| f64::from(*x)),
            };
            found[row * size + column] = difference;
            found[column * size + row] = -difference;
        }
    }
    found
}

/// R - I = 2 ((I - Q)^-1 - I).
pub(super) fn cayley(skew: &[f64], size: usize) -> Vec<f64> {
    let mut matrix: Vec<f64> = skew.iter().map(|x| -x).collect();
    let diagonal = |matrix: &mut [f64], by: f64| {
        matrix.iter_mut().step_by(size + 1).for_each(|x| *x += by);
    };
    diagonal(&mut matrix, 1.0);
    Level::detect().run(Invert { matrix: &mut matrix, size });
    diagonal(&mut matrix, -1.0);
    matrix.into_iter().map(|x| 2.0 * x).collect()
}

/// Invert I - Q in place, some rows at a time (Gauss and Jordan). As Q is skew, no rows need change places.
struct Invert<'a> {
    matrix: &'a mut [f64],
    size: usize,
}

impl Task for Invert<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let Self { matrix, size } = self;
        let mut factors = vec![[0.0; STEP]; size];
        for first in (0..size).step_by(STEP) {
            let count = STEP.min(size - first);
            let own = first..first + count;
            let block = inverse_of(matrix, size, first, count);
            for (row, factors) in matrix.chunks_exact_mut(size).zip(&mut factors) {
                factors[..count].copy_from_slice(&row[own.clone()]);
                row[own.clone()].fill(0.0);
            }
            for begin in (0..size).step_by(WIDE) {
                let wide = WIDE.min(size - begin);
                let mut tile = [[0.0; WIDE]; STEP];
                for (line, block) in tile.iter_mut().zip(&block) {
                    for (row, factor) in matrix[first * size..].chunks_exact(size).zip(block) {
                        let part = &row[begin..begin + wide];
                        line.iter_mut().zip(part).for_each(|(x, y)| *x += factor * y);
                    }
                }
                for (at, row) in matrix.chunks_exact_mut(size).enumerate() {
                    let part = &mut row[begin..begin + wide];
                    if own.contains(&at) {
                        part.copy_from_slice(&tile[at - first][..wide]);
                        continue;
                    }
                    let mut sums = [0.0; WIDE];
                    sums[..wide].copy_from_slice(part);
                    for (line, factor) in tile[..count].iter().zip(&factors[at]) {
                        sums.iter_mut().zip(line).for_each(|(x, y)| *x -= factor * y);
                    }
                    part.copy_from_slice(&sums[..wide]);
                }
            }
            for (at, row) in matrix.chunks_exact_mut(size).enumerate() {
                let part = &mut row[own.clone()];
                if own.contains(&at) {
                    part.copy_from_slice(&block[at - first][..count]);
                    continue;
                }
                for (line, factor) in block.iter().zip(&factors[at][..count]) {
                    part.iter_mut().zip(line).for_each(|(x, y)| *x -= factor * y);
                }
            }
        }
    }
}

/// The inverse of a square on the diagonal, in as many rows as it has.
#[inline(always)]
fn inverse_of(matrix: &[f64], size: usize, first: usize, count: usize) -> Vec<[f64; STEP]> {
    let mut block = vec![[0.0; STEP]; count];
    for (line, row) in block.iter_mut().zip(matrix[first * size..].chunks_exact(size)) {
        line[..count].copy_from_slice(&row[first..first + count]);
    }
    for pivot in 0..count {
        let mut own = block[pivot];
        let scale = 1.0 / own[pivot];
        own[pivot] = 1.0;
        for x in &mut own {
            *x *= scale;
        }
        for line in &mut block {
            let factor = line[pivot];
            line[pivot] = 0.0;
            line.iter_mut().zip(&own).for_each(|(x, y)| *x -= factor * y);
        }
        block[pivot] = own;
    }
    block
}

/// R - I of the other sign, to so many terms: -2 Q + 2 Q^2 - … , the last of them once.
fn series(skew: &[f64], size: usize, terms: u32) -> Vec<f64> {
    let turned: Vec<f64> = skew.iter().map(|x| -x).collect();
    let mut found = vec![0.0; size * size];
    let mut power = turned.clone();
    for term in 1..terms {
        if term > 1 {
            power = multiplied(&power, &turned, size);
        }
        let factor = if term + 1 == terms && term > 1 { 1.0 } else { 2.0 };
        found.iter_mut().zip(&power).for_each(|(x, y)| *x += factor * y);
    }
    found
}

fn multiplied(one: &[f64], other: &[f64], size: usize) -> Vec<f64> {
    let mut found = vec![0.0; size * size];
    for (line, row) in found.chunks_exact_mut(size).zip(one.chunks_exact(size)) {
        for (factor, other) in row.iter().zip(other.chunks_exact(size)) {
            line.iter_mut().zip(other).for_each(|(x, y)| *x += factor * y);
        }
    }
    found
}
