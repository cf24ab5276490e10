//! Whole cells of rows whose scales lie in tiles: nvfp4 and mxfp8, unrolled.

use super::super::Nibbles;
use super::reader::{power, Reader};
use super::tiled;
use crate::codec::lanes::{Lanes, Sixteen};
use crate::codec::{all_finite, Isa};
use crate::dtype::Dtype;

/// Cells whose scales are brought together.
const CELLS: usize = 32;

/// Scales that lie together in a tile: those of neighbours in a row. The next ones are a tile further.
const FOUR: usize = 4;
const TILE: usize = 512;

impl Reader<'_> {
    /// Decode whole cells of sixteen of a row of nibbles, whose scales lie in tiles; how many elements
    /// they have, and whether no scale is so great that one of them may not be finite.
    #[inline(always)]
    pub(super) fn nibble_cells<I: Isa>(
        &self,
        nibbles: &Nibbles,
        tiles: u64,
        (row, column, place): (u64, u64, u64),
        target: &mut [f32],
    ) -> (usize, bool) {
        /// The largest number of E4M3, and what is finite eight times.
        const LARGEST: f32 = 448.0;
        const LIMIT: f32 = f32::MAX / 8.0;
        let (cells, _) = target.as_chunks_mut::<16>();
        let codes = self.codes[(place / 2) as usize..].as_chunks::<8>().0;
        let (mut scales, mut finite) = ([0.0; CELLS], self.tensor.abs() * LARGEST <= LIMIT);
        let several = cells.chunks_mut(CELLS).zip(codes.chunks(CELLS));
        for ((cells, codes), first) in several.zip((column / 16..).step_by(CELLS)) {
            let scales = &mut scales[..cells.len()];
            finite &= self.scales_of::<I>(tiles, (row, first), scales);
            I::look_up_cells(codes, nibbles.high_first, (&nibbles.numbers, scales), cells);
        }
        (cells.len() * 16, finite)
    }

    /// Multiply whole cells of a row by their scales in tiles; how many elements they have.
    #[inline(always)]
    pub(super) fn scale_cells<I: Isa, const N: usize>(
        &self,
        tiles: u64,
        (row, column): (u64, u64),
        target: &mut [f32],
    ) -> usize {
        let (cells, _) = target.as_chunks_mut::<N>();
        let mut scales = [0.0; CELLS];
        let several = cells.chunks_mut(CELLS).zip((column / N as u64..).step_by(CELLS));
        for (cells, first) in several {
            let scales = &mut scales[..cells.len()];
            self.scales_of::<I>(tiles, (row, first), scales);
            // Plain loops would be made one over cells, which gathers and scatters.
            for (cell, scale) in cells.iter_mut().zip(&*scales) {
                let scale = I::Sixteen::splat(*scale);
                for values in cell.as_chunks_mut().0 {
                    *values = I::Sixteen::from_numbers(*values).multiply(scale).numbers();
                }
            }
        }
        cells.len() * N
    }

    /// The scales of at most [`CELLS`] of a row's cells from number `first` on, which lie in tiles;
    /// whether all are finite, where that of the tensor is.
    #[inline(always)]
    fn scales_of<I: Isa>(&self, tiles: u64, (row, first): (u64, u64), target: &mut [f32]) -> bool {
        let skipped = (first % FOUR as u64) as usize;
        let scales = &self.scales[tiled(row - 128 * self.scales_row, first, tiles) - skipped..];
        let e4m3 = self.scaled.scale == Dtype::F8_E4M3;
        if let (true, 0, [target]) = (e4m3, skipped, target.as_chunks_mut::<CELLS>().0) {
            let scales = &scales[..(CELLS / FOUR - 1) * TILE + FOUR];
            // Never in memory, where what is stored by fours is not to be had as a whole at once.
            let fours =
                std::array::from_fn(|four| std::array::from_fn(|at| scales[four * TILE + at]));
            return I::scale_e4m3(fours, self.tensor, target);
        }
        let mut codes = [[0; FOUR]; CELLS / FOUR + 1];
        let fours = codes[..(skipped + target.len()).div_ceil(FOUR)].iter_mut();
        for (codes, scales) in fours.zip(scales.chunks(TILE)) {
            codes.copy_from_slice(&scales[..FOUR]);
        }
        let codes = &codes.as_flattened()[skipped..];
        if e4m3 {
            I::decode_e4m3(codes, target);
        } else {
            for (scale, code) in target.iter_mut().zip(codes) {
                *scale = power(*code);
            }
        }
        for scale in &mut *target {
            *scale *= self.tensor;
        }
        all_finite(target)
    }
}
