//! Rows that are rotated in stages, each of blocks whose halves are ever further apart: BOFT of
//! `LyCORIS`.
//!
//! All rows depend on each other, but no two columns: those of a cached line are taken through all
//! stages at once. All is float32, each product rounded and summed in order.

use super::changes::is_butterfly;
use super::product::Line;
use super::straight::products;
use super::turns::{cayley, skew, Form};
use crate::codec::lanes::{Lanes, Sixteen, SIXTEEN};
use crate::codec::Isa;
use crate::error::{Error, Result};
use crate::vm::simd::{Level, Task};

/// Bytes of a number.
const WIDE: usize = size_of::<f32>();

/// R - I of blocks, row after row, by what is stored of them: each less its transpose, times a scale, is
/// the Q of R = (I + Q) (I - Q)^-1.
pub fn rotations(stored: &[f32], size: usize, scale: f64) -> Vec<f32> {
    let blocks = stored.chunks_exact((size * size).max(1));
    let turned = blocks.flat_map(|block| {
        let mut skew = skew(block, Form::Square, size);
        for x in &mut skew {
            *x *= scale;
        }
        cayley(&skew, size)
    });
    turned.map(|x| x as f32).collect()
}

/// Rotations of rows in stages.
#[derive(Debug, Clone, Copy)]
pub struct Stages<'a> {
    /// R - I of the blocks of each stage, one after another.
    pub turns: &'a [f32],
    /// Rows of a block.
    pub size: usize,
    /// How many stages there are.
    pub count: usize,
    /// What each row is multiplied by then, if anything.
    pub rescale: Option<&'a [f32]>,
    /// What the change is multiplied by.
    pub scale: f32,
}

impl Stages<'_> {
    /// Add the change of a matrix of so many columns to another, or to itself; both are bytes of F32.
    pub fn add(&self, stored: Option<&[u8]>, columns: usize, values: &mut [u8]) -> Result<()> {
        let rows = values.len() / WIDE / columns.max(1);
        self.check(rows)?;
        let size = rows * columns * WIDE;
        if values.len() != size || stored.is_some_and(|stored| stored.len() != size) {
            let message = format!("{} bytes of {rows} x {columns} numbers", values.len());
            return Err(Error::Program(message));
        }
        Level::detect().run(Strips { stages: self, stored, columns, values });
        Ok(())
    }

    fn check(&self, rows: usize) -> Result<()> {
        let Self { turns, size, count, rescale, .. } = self;
        let blocks = rows / (*size).max(1);
        let fits = blocks.checked_mul(*size) == Some(rows)
            && is_butterfly(blocks as u64, *size as u64, *count as u64)
            && turns.len() / size / size == count * blocks
            && rescale.is_none_or(|rescale| rescale.len() == rows);
        if fits {
            return Ok(());
        }
        let message = format!("{count} stages of blocks of {size} rows do not rotate {rows} rows");
        Err(Error::Program(message))
    }

    /// Add to each row's line what all stages add to it.
    #[inline(always)]
    fn turn<I: Isa>(&self, weight: &[Line], found: &mut [Line]) {
        let (size, half) = (self.size, self.size / 2);
        let (mut inner, mut added) = (vec![[0.0; SIXTEEN]; size], vec![[0.0; SIXTEEN]; size]);
        let blocks = weight.len() / size;
        for (index, turn) in self.turns.chunks_exact(size * size).enumerate() {
            let (stage, first) = (index / blocks, index % blocks * size);
            let run = if self.count == 1 { 1 } else { half << stage };
            let place = |at: usize| {
                let within = (first + at) % (2 * run);
                first + at - within + within % 2 * run + within / 2
            };
            for (at, line) in inner.iter_mut().enumerate() {
                let row = place(at);
                let sum = I::Sixteen::from_numbers(weight[row]);
                *line = sum.add(I::Sixteen::from_numbers(found[row])).numbers();
            }
            products::<I>((turn, size), size, &inner, |at, line| added[at] = line.numbers());
            for (at, line) in added.iter().enumerate() {
                let target = &mut found[place(at)];
                let sum = I::Sixteen::from_numbers(*target);
                *target = sum.add(I::Sixteen::from_numbers(*line)).numbers();
            }
        }
    }
}

/// All columns, as many of them at a time as a line has.
struct Strips<'a> {
    stages: &'a Stages<'a>,
    stored: Option<&'a [u8]>,
    columns: usize,
    values: &'a mut [u8],
}

impl Task for Strips<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let Self { stages, stored, columns, values } = self;
        let rows = values.len() / WIDE / columns.max(1);
        let (mut weight, mut found) = (vec![[0.0; SIXTEEN]; rows], vec![[0.0; SIXTEEN]; rows]);
        for first in (0..columns).step_by(SIXTEEN) {
            let bytes = WIDE * first..WIDE * columns.min(first + SIXTEEN);
            let lines = stored.unwrap_or(values).chunks_exact(WIDE * columns);
            for (line, stored) in weight.iter_mut().zip(lines) {
                let numbers = stored[bytes.clone()].as_chunks::<WIDE>().0.iter();
                line.iter_mut().zip(numbers).for_each(|(x, y)| *x = f32::from_le_bytes(*y));
            }
            found.fill([0.0; SIXTEEN]);
            stages.turn::<I>(&weight, &mut found);
            let lines = values.chunks_exact_mut(WIDE * columns).zip(weight.iter().zip(&found));
            for (row, (target, (weight, found))) in lines.enumerate() {
                let factor = stages.rescale.map_or(1.0, |rescale| rescale[row]);
                let numbers = target[bytes.clone()].as_chunks_mut::<WIDE>().0.iter_mut();
                for (target, (weight, found)) in numbers.zip(weight.iter().zip(found)) {
                    let change = found * factor + (factor - 1.0) * weight;
                    *target = (f32::from_le_bytes(*target) + change * stages.scale).to_le_bytes();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::simd::Level;

    const ROWS: usize = 24;

    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 37 + seed) % 101) as f32 / 70.0 - 0.6).collect()
    }

    fn bytes(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|x| x.to_le_bytes()).collect()
    }

    /// A matrix after its rows have gone through all stages, in float64.
    fn rotated(stages: &Stages, matrix: &[f32], columns: usize) -> Vec<f64> {
        let mut found: Vec<f64> = matrix.iter().map(|x| f64::from(*x)).collect();
        let per = ROWS * stages.size;
        for (stage, turns) in stages.turns.chunks(per).enumerate() {
            let apart = (stages.size / 2) << stage;
            let order: Vec<usize> = match stages.count {
                1 => (0..ROWS).collect(),
                _ => (0..ROWS / apart / 2)
                    .flat_map(|pair| (0..apart).map(move |at| pair * 2 * apart + at))
                    .flat_map(|row| [row, row + apart])
                    .collect(),
            };
            let before = found.clone();
            for (place, row) in order.iter().enumerate() {
                for column in 0..columns {
                    let first = place / stages.size * stages.size;
                    let turn = &turns[place * stages.size..][..stages.size];
                    let terms = turn.iter().zip(&order[first..]);
                    found[row * columns + column] += terms
                        .map(|(x, other)| f64::from(*x) * before[other * columns + column])
                        .sum::<f64>();
                }
            }
        }
        found
    }

    #[test]
    fn rows_go_through_stages_whose_halves_are_ever_further_apart() {
        for (size, count) in [(6, 3), (2, 3), (4, 2), (3, 1), (24, 1), (8, 1)] {
            let turns = numbers(count * ROWS * size, 3);
            let rescale = numbers(ROWS, 5);
            for (columns, rescale) in [(1, None), (16, Some(&rescale[..])), (37, None)] {
                let stages = Stages { turns: &turns, size, count, rescale, scale: 0.5 };
                let stored = numbers(ROWS * columns, 7);
                let after = rotated(&stages, &stored, columns);
                let mut own = bytes(&stored);
                stages.add(None, columns, &mut own).unwrap();
                let mut other = bytes(&vec![0.0; ROWS * columns]);
                stages.add(Some(&bytes(&stored)), columns, &mut other).unwrap();
                let read = |bytes: &[u8], at: usize| {
                    f64::from(f32::from_le_bytes(bytes[WIDE * at..][..WIDE].try_into().unwrap()))
                };
                for (at, after) in after.iter().enumerate() {
                    let before = f64::from(stored[at]);
                    let factor = rescale.map_or(1.0, |rescale| f64::from(rescale[at / columns]));
                    let change = 0.5 * (factor * after - before);
                    let most = 1e-5 * (1.0 + after.abs());
                    assert!((read(&own, at) - before - change).abs() < most, "{size}, {at}");
                    assert!((read(&other, at) - change).abs() < most, "{size}, {at}");
                }
            }
        }
    }

    #[test]
    fn every_level_gives_the_same_bits() {
        let (turns, stored) = (numbers(3 * ROWS * 6, 1), numbers(ROWS * 19, 2));
        let stages = Stages { turns: &turns, size: 6, count: 3, rescale: None, scale: 0.7 };
        let found = Level::all().into_iter().map(|level| {
            let mut values = bytes(&stored);
            level.run(Strips { stages: &stages, stored: None, columns: 19, values: &mut values });
            values
        });
        let found: Vec<_> = found.collect();
        assert!(found.iter().all(|each| *each == found[0]));
    }

    #[test]
    fn what_is_no_butterfly_of_the_rows_is_refused() {
        let turns = numbers(2 * 12 * 3, 1);
        for (size, count, rows) in [(3, 2, 12), (0, 1, 12), (4, 2, 12), (2, 2, 12), (5, 1, 12)] {
            let stages = Stages { turns: &turns, size, count, rescale: None, scale: 1.0 };
            assert!(stages.add(None, 1, &mut vec![0; WIDE * rows]).is_err(), "{size}, {count}");
        }
    }

    #[test]
    fn a_rotation_keeps_lengths() {
        let stored = numbers(2 * 9, 4);
        for block in rotations(&stored, 3, 0.5).chunks_exact(9) {
            for row in block.chunks_exact(3).enumerate() {
                let length: f64 = (0..3)
                    .map(|k| f64::from(row.1[k]) + f64::from(u8::from(k == row.0)))
                    .map(|x| x * x)
                    .sum();
                assert!((length - 1.0).abs() < 1e-6);
            }
        }
    }
}
