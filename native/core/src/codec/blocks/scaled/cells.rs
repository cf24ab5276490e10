//! Whole cells of rows whose scales lie in tiles: nvfp4 and mxfp8, unrolled.

use super::super::Nibbles;
use super::reader::{power, Reader};
use crate::codec::lanes::{Lanes, Sixteen};
use crate::codec::{all_finite, Isa};
use crate::dtype::Dtype;

/// Cells whose scales are brought together.
const CELLS: usize = 32;

impl Reader<'_> {
    /// Decode whole cells of sixteen of a row of E2M1, whose scales lie in tiles; how many elements
    /// they have, and whether no scale is so great that one of them may not be finite.
    #[inline(always)]
    pub(super) fn nibble_cells<I: Isa>(
        &self,
        nibbles: &Nibbles,
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
            finite &= self.scales_of::<I>((row, first), scales);
            I::look_up_cells(codes, nibbles.high_first, (&nibbles.numbers, scales), cells);
        }
        (cells.len() * 16, finite)
    }

    /// Multiply whole cells of a row by their scales in tiles; how many elements they have.
    #[inline(always)]
    pub(super) fn scale_cells<I: Isa, const N: usize>(
        &self,
        (row, column): (u64, u64),
        target: &mut [f32],
    ) -> usize {
        let (cells, _) = target.as_chunks_mut::<N>();
        let mut scales = [0.0; CELLS];
        let several = cells.chunks_mut(CELLS).zip((column / N as u64..).step_by(CELLS));
        for (cells, first) in several {
            let scales = &mut scales[..cells.len()];
            self.scales_of::<I>((row, first), scales);
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

    /// The scales of at most [`CELLS`] of a row's cells from number `first` on; whether all are finite,
    /// where that of the tensor is.
    #[inline(always)]
    fn scales_of<I: Isa>(&self, (row, first): (u64, u64), target: &mut [f32]) -> bool {
        let codes = &self.scales[self.scale_index(row, first)..][..target.len()];
        if self.scaled.scale == Dtype::F8_E4M3 {
            if let ([codes], [target]) = (codes.as_chunks().0, target.as_chunks_mut::<CELLS>().0) {
                return I::scale_e4m3(codes, self.tensor, target);
            }
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
