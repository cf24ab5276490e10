//! The kernel: products of thin matrices, added to values.
//!
//! The second factor is cut into panels of sixteen columns, which fit the innermost cache, and rows are
//! taken several at a time, as many as have their sums in registers: each number of a panel is loaded
//! once for all of them. Of a panel those rows alone are computed that the part has elements of.

use super::grain::Grain;
use crate::codec::lanes::{Sixteen, SIXTEEN};
use crate::codec::Isa;
use crate::vm::prefetch::fetch;
use crate::vm::simd::Task;

/// Numbers of a line of memory that the processor caches.
const CACHED: usize = 16;

/// One row of a panel.
pub(super) type Line = [f32; SIXTEEN];

/// Rows of a product's first factor.
#[derive(Debug)]
pub(super) struct Up {
    /// Column after column.
    numbers: Vec<f32>,
    /// From one column to the next.
    stride: usize,
    grain: Grain,
}

/// A product's second factor.
#[derive(Debug)]
pub(super) struct Panels {
    rank: usize,
    /// Panel after panel; of each, a line for every rank.
    lines: Vec<Line>,
    grain: Grain,
}

impl Up {
    /// Arrange so many rows and columns; each number is asked for by its row and column.
    pub(super) fn new(rows: usize, rank: usize, number: impl Fn(usize, usize) -> f32) -> Self {
        // An odd number of cached lines: a row's numbers do not drive each other out.
        let stride = (rows.div_ceil(CACHED) | 1) * CACHED;
        let mut numbers = vec![0.0; stride * rank];
        for row in 0..rows {
            for k in 0..rank {
                numbers[k * stride + row] = number(row, k);
            }
        }
        Self { grain: Grain::of(&numbers), numbers, stride }
    }
}

impl Panels {
    /// Cut a matrix of so many rows and columns into panels; the last one is filled up with zeros.
    pub(super) fn new(matrix: &[f32], rank: usize, columns: usize) -> Self {
        let mut lines = vec![[0.0; SIXTEEN]; columns.div_ceil(SIXTEEN) * rank];
        for (k, row) in matrix.chunks_exact(columns.max(1)).enumerate() {
            for (panel, part) in row.chunks(SIXTEEN).enumerate() {
                lines[panel * rank + k][..part.len()].copy_from_slice(part);
            }
        }
        Self { rank, grain: Grain::of(lines.as_flattened()), lines }
    }

    /// The lines of a panel.
    pub(super) fn panel(&self, panel: usize) -> &[Line] {
        &self.lines[panel * self.rank..][..self.rank]
    }

    /// Some rows of a panel, summed in order; the first ones of it fetch the next panel.
    #[inline(always)]
    fn multiply<S: Sixteen, const ROWS: usize>(
        &self,
        up: &Up,
        panel: usize,
        row: usize,
        fetches: bool,
    ) -> [S; ROWS] {
        let (lines, others) = self.lines[panel * self.rank..].split_at(self.rank);
        let next = if fetches { others } else { &[] };
        let numbers = up.numbers.get(row..).unwrap_or_default().chunks(up.stride);
        let rows = numbers.filter_map(|numbers| numbers.first_chunk());
        if up.grain.is_exact_with(self.grain) {
            sum(rows, lines, next, |sum: S, up, line| sum.add_exact(up, line))
        } else {
            sum(rows, lines, next, |sum: S, up, line| sum.add(up.multiply(line)))
        }
    }
}

/// Sum the products of columns and lines, and fetch others meanwhile.
#[inline(always)]
fn sum<'a, S: Sixteen, const ROWS: usize>(
    columns: impl Iterator<Item = &'a [f32; ROWS]>,
    lines: &[Line],
    others: &[Line],
    add: impl Fn(S, S, S) -> S,
) -> [S; ROWS] {
    let mut tile = [S::splat(0.0); ROWS];
    let mut others = others.iter();
    for (line, column) in lines.iter().zip(columns) {
        others.next().map(fetch);
        let line = S::from_numbers(*line);
        for (sum, up) in tile.iter_mut().zip(column) {
            *sum = add(*sum, S::splat(*up), line);
        }
    }
    tile
}

/// Add the element-wise product of some products, times a scale, to values.
pub(super) struct Add<'a> {
    /// Both factors of each; all of as many rows and columns.
    pub(super) pairs: &'a [(&'a Up, &'a Panels)],
    pub(super) scale: f32,
    /// The first of the matrix's rows that the products have.
    pub(super) row: usize,
    /// The first of its columns that they have, and one past the last.
    pub(super) range: (usize, usize),
    /// Columns of the matrix.
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
        let (from, to) = self.range;
        for panel in 0..(to - from).div_ceil(SIXTEEN) {
            let first = from + panel * SIXTEEN;
            let wide = SIXTEEN.min(to - first);
            let mut row = (place + columns - first - wide) / columns;
            let last = (end + columns - 1 - first) / columns;
            let begin = row;
            while row < last {
                let fetches = row == begin;
                let left = last - row;
                let count = left.div_ceil(left.div_ceil(I::TALL));
                match count {
                    1 => self.tile::<I::Sixteen, 1>(panel, row, fetches),
                    2 => self.tile::<I::Sixteen, 2>(panel, row, fetches),
                    3 => self.tile::<I::Sixteen, 3>(panel, row, fetches),
                    4 => self.tile::<I::Sixteen, 4>(panel, row, fetches),
                    5 => self.tile::<I::Sixteen, 5>(panel, row, fetches),
                    6 => self.tile::<I::Sixteen, 6>(panel, row, fetches),
                    7 => self.tile::<I::Sixteen, 7>(panel, row, fetches),
                    _ => self.tile::<I::Sixteen, 8>(panel, row, fetches),
                }
                row += count;
            }
        }
    }
}

impl Add<'_> {
    /// Add what some rows have of a panel.
    #[inline(always)]
    fn tile<S: Sixteen, const ROWS: usize>(&mut self, panel: usize, row: usize, fetches: bool) {
        let Some(((up, down), others)) = self.pairs.split_first() else {
            return;
        };
        let mut tile = down.multiply::<S, ROWS>(up, panel, row - self.row, fetches);
        for (up, down) in others {
            let other = down.multiply::<S, ROWS>(up, panel, row - self.row, fetches);
            tile.iter_mut().zip(other).for_each(|(value, other)| *value = value.multiply(other));
        }
        let scale = S::splat(self.scale);
        for value in &mut tile {
            *value = value.multiply(scale);
        }
        let (from, to) = self.range;
        let column = from + panel * SIXTEEN;
        let start = row * self.columns + column;
        let end = start + (ROWS - 1) * self.columns + SIXTEEN;
        let whole = column + SIXTEEN <= to;
        if whole && start >= self.place && end <= self.place + self.values.len() {
            for (r, line) in tile.into_iter().enumerate() {
                let target = &mut self.values[start - self.place + r * self.columns..];
                if let Some(target) = target.first_chunk_mut() {
                    *target = S::from_numbers(*target).add(line).numbers();
                }
            }
        } else {
            self.edge(&tile.map(S::numbers), start, SIXTEEN.min(to - column));
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

    const SCALE: f32 = 0.7;

    #[test]
    fn every_level_gives_the_same_bits_for_every_part() {
        // Products of sevenths are rounded, those of eighths are exact.
        for (columns, part) in [(1, 7.0), (15, 7.0), (16, 7.0), (16, 8.0), (33, 7.0), (33, 8.0)] {
            let numbers = |count: usize, seed: usize| -> Vec<f32> {
                (0..count).map(|i| ((i * 37 + seed) % 101) as f32 / part - 6.0).collect()
            };
            let [one, two] =
                [3, 4].map(|rank| (numbers(19 * rank, rank), numbers(rank * columns, 5), rank));
            let pair = |(up, down, rank): &(Vec<f32>, Vec<f32>, usize)| {
                let up = Up::new(19, *rank, |row, k| up[row * rank + k]);
                (up, Panels::new(down, *rank, columns))
            };
            let expected = |place: usize| {
                let product = |(up, down, rank): &(Vec<f32>, Vec<f32>, usize)| {
                    let (row, column) = (place / columns, place % columns);
                    (0..*rank).fold(0.0, |sum: f32, k| {
                        sum + up[row * rank + k] * down[k * columns + column]
                    })
                };
                (0.25 + product(&one) * product(&two) * SCALE).to_bits()
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

    fn added(
        level: Level,
        pairs: &[(Up, Panels); 2],
        columns: usize,
        place: usize,
        count: usize,
    ) -> Vec<u32> {
        let mut values = vec![0.25; count];
        let pairs = &pairs.each_ref().map(|(up, down)| (up, down));
        let (row, range) = (0, (0, columns));
        level.run(Add { pairs, scale: SCALE, row, range, columns, place, values: &mut values });
        values.into_iter().map(f32::to_bits).collect()
    }
}
