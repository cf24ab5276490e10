//! Products whose first factor lies in memory row after row, as tensors do.

use super::product::{Line, Panels};
use crate::codec::lanes::{Lanes, Sixteen, SIXTEEN};
use crate::codec::Isa;
use crate::vm::simd::Task;

/// Add a matrix, times another, to a third.
pub(super) struct Straight<'a> {
    /// The first one, of as many columns as the second has rows.
    pub(super) rows: &'a [f32],
    /// From one of its rows to the next.
    pub(super) stride: usize,
    pub(super) down: &'a Panels,
    /// Columns of the second.
    pub(super) wide: usize,
    /// The third, of which there are so many rows.
    pub(super) values: &'a mut [f32],
    pub(super) count: usize,
    /// From one of its rows to the next.
    pub(super) width: usize,
}

impl Task for Straight<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let Self { rows, stride, down, wide, values, count, width } = self;
        for (panel, first) in (0..wide).step_by(SIXTEEN).enumerate() {
            let columns = first..wide.min(first + SIXTEEN);
            products::<I>((rows, stride), count, down.panel(panel), |row, line| {
                let target = &mut values[row * width..][columns.clone()];
                match target.first_chunk_mut() {
                    Some(target) => *target = I::Sixteen::from_numbers(*target).add(line).numbers(),
                    None => target.iter_mut().zip(line.numbers()).for_each(|(x, y)| *x += y),
                }
            });
        }
    }
}

/// Give rows of a matrix of lines, times a matrix, one after another.
#[inline(always)]
pub(super) fn products<I: Isa>(
    (rows, stride): (&[f32], usize),
    count: usize,
    lines: &[Line],
    mut give: impl FnMut(usize, I::Sixteen),
) {
    let mut row = 0;
    while row < count {
        let left = count - row;
        let rows = &rows[row * stride..];
        row += match left.div_ceil(left.div_ceil(I::TALL)) {
            1 => tile::<_, 1>(rows, stride, lines, row, &mut give),
            2 => tile::<_, 2>(rows, stride, lines, row, &mut give),
            3 => tile::<_, 3>(rows, stride, lines, row, &mut give),
            4 => tile::<_, 4>(rows, stride, lines, row, &mut give),
            5 => tile::<_, 5>(rows, stride, lines, row, &mut give),
            6 => tile::<_, 6>(rows, stride, lines, row, &mut give),
            7 => tile::<_, 7>(rows, stride, lines, row, &mut give),
            _ => tile::<_, 8>(rows, stride, lines, row, &mut give),
        };
    }
}

/// Give so many rows, summed in order, and return their number.
#[inline(always)]
fn tile<S: Sixteen, const ROWS: usize>(
    rows: &[f32],
    stride: usize,
    lines: &[Line],
    first: usize,
    give: &mut impl FnMut(usize, S),
) -> usize {
    let rows: [&[f32]; ROWS] = std::array::from_fn(|row| &rows[row * stride..][..lines.len()]);
    let mut sums = [S::splat(0.0); ROWS];
    for (k, line) in lines.iter().enumerate() {
        let line = S::from_numbers(*line);
        for (sum, row) in sums.iter_mut().zip(&rows) {
            *sum = sum.add(S::splat(row[k]).multiply(line));
        }
    }
    for (row, sum) in sums.into_iter().enumerate() {
        give(first + row, sum);
    }
    ROWS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::simd::Level;

    #[test]
    fn every_level_gives_the_same_bits_for_any_size() {
        let numbers = |count: usize, seed: usize| -> Vec<f32> {
            (0..count).map(|i| ((i * 37 + seed) % 101) as f32 / 7.0 - 6.0).collect()
        };
        let (stride, width) = (11, 40);
        for (count, rank, wide) in [(1, 3, 1), (9, 11, 16), (17, 8, 33), (3, 0, 5), (0, 2, 2)] {
            let (rows, matrix) = (numbers(count * stride, 1), numbers(rank * wide, 2));
            let down = Panels::new(&matrix, rank, wide);
            for level in Level::all() {
                let mut values = vec![0.5; count * width];
                let target = &mut values[..];
                let (rows, down) = (&rows[..], &down);
                level.run(Straight { rows, stride, down, wide, values: target, count, width });
                for (at, found) in values.iter().enumerate() {
                    let (row, column) = (at / width, at % width);
                    let terms =
                        (0..rank).map(|k| rows[row * stride + k] * matrix[k * wide + column]);
                    let sum = if column < wide { terms.fold(0.0, |sum, x| sum + x) } else { 0.0 };
                    assert_eq!(found.to_bits(), (0.5 + sum).to_bits(), "{row}, {column}");
                }
            }
        }
    }
}
