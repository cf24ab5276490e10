//! The kernel: products of thin matrices, added to values.
//!
//! The second factor is cut into panels of columns that fit the innermost cache, and rows are taken
//! four at a time, so that each number of it is used from a register four times.

use crate::vm::simd::Level;

/// Columns of a panel.
const WIDE: usize = 16;

/// Rows that are taken together.
const TALL: usize = 4;

/// One number of each row of a group.
pub(super) type Group = [f32; TALL];

/// One row of a panel.
type Line = [f32; WIDE];

/// The factors of a product.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) rank: usize,
    /// Rows x rank.
    pub(super) up: Vec<f32>,
    /// Panel after panel; of each, a line for every rank.
    pub(super) down: Vec<Line>,
}

/// Cut a matrix of so many columns into panels; the last one is filled up with zeros.
pub(super) fn pack(matrix: &[f32], columns: usize) -> Vec<Line> {
    let rank = matrix.len() / columns.max(1);
    let mut panels = vec![[0.0; WIDE]; columns.div_ceil(WIDE) * rank];
    for (k, row) in matrix.chunks_exact(columns.max(1)).enumerate() {
        for (panel, part) in row.chunks(WIDE).enumerate() {
            panels[panel * rank + k][..part.len()].copy_from_slice(part);
        }
    }
    panels
}

/// Add the element-wise product of some products to values: elements from `place` on of a matrix of
/// so many columns.
pub(super) fn add(
    level: Level,
    pairs: &[Pair],
    columns: usize,
    place: usize,
    values: &mut [f32],
    groups: &mut Vec<Group>,
) {
    let part = Part { columns, place, first: place / columns, end: place + values.len() };
    groups.clear();
    for pair in pairs {
        part.gather(pair, groups);
    }
    match level {
        Level::Portable => part.add(pairs, groups, values),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: this level is only made where these features were detected.
        Level::Avx2 | Level::Avx512 => unsafe { add_avx2(part, pairs, groups, values) },
    }
}

/// Elements of a matrix that follow one another, perhaps from within a row to within another.
#[derive(Clone, Copy)]
struct Part {
    columns: usize,
    /// The first element and one past the last.
    place: usize,
    end: usize,
    /// The row of the first.
    first: usize,
}

impl Part {
    /// Groups of rows that it has elements of.
    fn count(&self) -> usize {
        (self.end.div_ceil(self.columns) - self.first).div_ceil(TALL)
    }

    /// Bring the rows of a first factor beside each other, group by group.
    fn gather(&self, pair: &Pair, groups: &mut Vec<Group>) {
        for group in 0..self.count() {
            let row = |r| pair.up.get((self.first + group * TALL + r) * pair.rank..);
            let rows: [&[f32]; TALL] = std::array::from_fn(|r| row(r).unwrap_or(&[]));
            groups.extend((0..pair.rank).map(|k| rows.map(|row| row.get(k).map_or(0.0, |x| *x))));
        }
    }

    #[inline(always)]
    fn add(self, pairs: &[Pair], groups: &[Group], values: &mut [f32]) {
        let count = self.count();
        for panel in 0..self.columns.div_ceil(WIDE) {
            for group in 0..count {
                let (mut tile, mut before) = ([[1.0; WIDE]; TALL], 0);
                for (index, pair) in pairs.iter().enumerate() {
                    let ups = &groups[before + group * pair.rank..][..pair.rank];
                    let lines = &pair.down[panel * pair.rank..][..pair.rank];
                    let one = multiply(ups, lines);
                    tile = if index == 0 { one } else { elementwise(tile, one) };
                    before += count * pair.rank;
                }
                for (r, line) in tile.iter().enumerate() {
                    self.add_line(self.first + group * TALL + r, panel * WIDE, line, values);
                }
            }
        }
    }

    /// Add a line of a row from a column on, as far as it is within the part and the row.
    #[inline(always)]
    fn add_line(self, row: usize, column: usize, line: &Line, values: &mut [f32]) {
        let start = row * self.columns + column;
        let wide = WIDE.min(self.columns - column);
        if start >= self.place && start + WIDE <= self.end && wide == WIDE {
            let target = &mut values[start - self.place..][..WIDE];
            target.iter_mut().zip(line).for_each(|(value, change)| *value += change);
            return;
        }
        for (at, change) in (start..start + wide).zip(line) {
            if (self.place..self.end).contains(&at) {
                values[at - self.place] += change;
            }
        }
    }
}

/// Four rows times sixteen columns, summed in order.
#[inline(always)]
fn multiply(ups: &[Group], lines: &[Line]) -> [Line; TALL] {
    let mut tile = [[0.0_f32; WIDE]; TALL];
    for (ups, line) in ups.iter().zip(lines) {
        for (row, up) in tile.iter_mut().zip(ups) {
            for (value, down) in row.iter_mut().zip(line) {
                *value += up * down;
            }
        }
    }
    tile
}

#[inline(always)]
fn elementwise(mut tile: [Line; TALL], other: [Line; TALL]) -> [Line; TALL] {
    let pairs = tile.as_flattened_mut().iter_mut().zip(other.as_flattened());
    pairs.for_each(|(value, other)| *value *= other);
    tile
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,f16c")]
fn add_avx2(part: Part, pairs: &[Pair], groups: &[Group], values: &mut [f32]) {
    part.add(pairs, groups, values);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_gives_the_same_bits_for_every_part() {
        let numbers = |count: usize, seed: usize| -> Vec<f32> {
            (0..count).map(|i| ((i * 37 + seed) % 101) as f32 / 7.0 - 6.0).collect()
        };
        for columns in [1, 15, 16, 33] {
            let pair = |rank: usize| Pair {
                rank,
                up: numbers(9 * rank, rank),
                down: pack(&numbers(rank * columns, 5), columns),
            };
            let pairs = [pair(3), pair(4)];
            let whole = added(Level::Portable, &pairs, columns, 0, 9 * columns);
            for place in 0..9 * columns {
                for end in [place + 1, 9 * columns] {
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
        add(level, pairs, columns, place, &mut values, &mut Vec::new());
        values.into_iter().map(f32::to_bits).collect()
    }
}
