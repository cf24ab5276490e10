//! The kernel: products of thin matrices, added to values.
//!
//! The second factor is cut into panels of sixteen columns, which fit the innermost cache, and rows are
//! taken several at a time, as many as have their sums in registers: each number of a panel is loaded
//! once for all of them. Of a panel those rows alone are computed that the part has elements of.

use crate::codec::lanes::{Sixteen, SIXTEEN};
use crate::codec::Isa;
use crate::vm::simd::Task;

/// Numbers of a line of memory that the processor caches.
const CACHED: usize = 16;

/// One row of a panel.
type Line = [f32; SIXTEEN];

/// The factors of a product.
#[derive(Debug)]
pub(super) struct Pair {
    rank: usize,
    /// Column after column of the first.
    up: Vec<f32>,
    /// From one column to the next.
    stride: usize,
    /// Panel after panel of the second; of each, a line for every rank.
    down: Vec<Line>,
}

impl Pair {
    /// Arrange matrices of rows x rank and rank x columns.
    pub(super) fn new(up: &[f32], down: &[f32], rank: usize, columns: usize) -> Self {
        let rows = up.len() / rank.max(1);
        // An odd number of cached lines: a row's numbers do not drive each other out.
        let stride = (rows.div_ceil(CACHED) | 1) * CACHED;
        let mut turned = vec![0.0; stride * rank];
        for (row, numbers) in up.chunks_exact(rank.max(1)).enumerate() {
            for (k, number) in numbers.iter().enumerate() {
                turned[k * stride + row] = *number;
            }
        }
        Self { rank, up: turned, stride, down: pack(down, columns) }
    }

    /// Some rows of a panel, summed in order.
    #[inline(always)]
    fn multiply<S: Sixteen, const ROWS: usize>(&self, panel: usize, row: usize) -> [S; ROWS] {
        let lines = &self.down[panel * self.rank..][..self.rank];
        let mut tile = [S::splat(0.0); ROWS];
        for (line, ups) in lines.iter().zip(self.up.chunks_exact(self.stride)) {
            let line = S::from_numbers(*line);
            for (sum, up) in tile.iter_mut().zip(&ups[row..row + ROWS]) {
                *sum = sum.add(S::splat(*up).multiply(line));
            }
        }
        tile
    }
}

/// Cut a matrix of so many columns into panels; the last one is filled up with zeros.
fn pack(matrix: &[f32], columns: usize) -> Vec<Line> {
    let rank = matrix.len() / columns.max(1);
    let mut panels = vec![[0.0; SIXTEEN]; columns.div_ceil(SIXTEEN) * rank];
    for (k, row) in matrix.chunks_exact(columns.max(1)).enumerate() {
        for (panel, part) in row.chunks(SIXTEEN).enumerate() {
            panels[panel * rank + k][..part.len()].copy_from_slice(part);
        }
    }
    panels
}

/// Add the element-wise product of some products to values.
pub(super) struct Add<'a> {
    /// All of as many rows and columns.
    pub(super) pairs: &'a [Pair],
    pub(super) columns: usize,
    /// The first element of the values.
    pub(super) place: usize,
    /// Elements of the matrix that follow one another, perhaps from within a row to within another.
    pub(super) values: &'a mut [f32],
}

impl Task for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(mut self) {
        let (columns, place, end) = (self.columns, self.place, self.place + self.values.len());
        for panel in 0..columns.div_ceil(SIXTEEN) {
            let first = panel * SIXTEEN;
            let wide = SIXTEEN.min(columns - first);
            let mut row = (place + columns - first - wide) / columns;
            let last = (end + columns - 1 - first) / columns;
            while row < last {
                let left = last - row;
                let count = left.div_ceil(left.div_ceil(I::TALL));
                match count {
                    1 => self.tile::<I::Sixteen, 1>(panel, row),
                    2 => self.tile::<I::Sixteen, 2>(panel, row),
                    3 => self.tile::<I::Sixteen, 3>(panel, row),
                    4 => self.tile::<I::Sixteen, 4>(panel, row),
                    5 => self.tile::<I::Sixteen, 5>(panel, row),
                    6 => self.tile::<I::Sixteen, 6>(panel, row),
                    7 => self.tile::<I::Sixteen, 7>(panel, row),
                    _ => self.tile::<I::Sixteen, 8>(panel, row),
                }
                row += count;
            }
        }
    }
}

impl Add<'_> {
    /// Add what some rows have of a panel.
    #[inline(always)]
    fn tile<S: Sixteen, const ROWS: usize>(&mut self, panel: usize, row: usize) {
        let Some((first, others)) = self.pairs.split_first() else {
            return;
        };
        let mut tile = first.multiply::<S, ROWS>(panel, row);
        for pair in others {
            let other = pair.multiply::<S, ROWS>(panel, row);
            tile.iter_mut().zip(other).for_each(|(value, other)| *value = value.multiply(other));
        }
        let column = panel * SIXTEEN;
        let start = row * self.columns + column;
        let end = start + (ROWS - 1) * self.columns + SIXTEEN;
        let whole = column + SIXTEEN <= self.columns;
        if whole && start >= self.place && end <= self.place + self.values.len() {
            for (r, line) in tile.into_iter().enumerate() {
                let target = &mut self.values[start - self.place + r * self.columns..];
                if let Some(target) = target.first_chunk_mut() {
                    *target = S::from_numbers(*target).add(line).numbers();
                }
            }
        } else {
            self.edge(&tile.map(S::numbers), start, SIXTEEN.min(self.columns - column));
        }
    }

    /// Add lines of rows from an element on, as far as they are within the values and the rows.
    #[inline(never)]
    fn edge(&mut self, lines: &[Line], start: usize, wide: usize) {
        let (place, end) = (self.place, self.place + self.values.len());
        for (r, line) in lines.iter().enumerate() {
            let start = start + r * self.columns;
            let (low, high) = (start.max(place), (start + wide).min(end));
            if low < high {
                let target = &mut self.values[low - place..high - place];
                target.iter_mut().zip(&line[low - start..]).for_each(|(value, x)| *value += x);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::simd::Level;

    #[test]
    fn every_level_gives_the_same_bits_for_every_part() {
        let numbers = |count: usize, seed: usize| -> Vec<f32> {
            (0..count).map(|i| ((i * 37 + seed) % 101) as f32 / 7.0 - 6.0).collect()
        };
        for columns in [1, 15, 16, 33] {
            let [one, two] =
                [3, 4].map(|rank| (numbers(19 * rank, rank), numbers(rank * columns, 5), rank));
            let pair = |(up, down, rank): &(Vec<f32>, Vec<f32>, usize)| {
                Pair::new(up, down, *rank, columns)
            };
            let expected = |place: usize| {
                let product = |(up, down, rank): &(Vec<f32>, Vec<f32>, usize)| {
                    let (row, column) = (place / columns, place % columns);
                    (0..*rank).fold(0.0, |sum: f32, k| {
                        sum + up[row * rank + k] * down[k * columns + column]
                    })
                };
                (0.25 + product(&one) * product(&two)).to_bits()
            };
            let pairs = [pair(&one), pair(&two)];
            let whole: Vec<u32> = (0..19 * columns).map(expected).collect();
            for place in 0..19 * columns {
                for end in [place + 1, (place + 3 * columns + 1).min(19 * columns), 19 * columns] {
                    for level in Level::all() {
                        let part = added(level, &pairs, columns, place, end - place);
                        assert_eq!(part, whole[place..end], "{place} to {end} of {columns}");
                    }
                }
            }
        }
    }

    fn added(level: Level, pairs: &[Pair], columns: usize, place: usize, count: usize) -> Vec<u32> {
        let mut values = vec![0.25; count];
        level.run(Add { pairs, columns, place, values: &mut values });
        values.into_iter().map(f32::to_bits).collect()
    }
}
