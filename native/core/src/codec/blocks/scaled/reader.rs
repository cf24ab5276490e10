//! Runs of rows of codes, decoded.

use super::super::rotation::rotate;
use super::super::{Nibbles, Window};
use super::{tiled, Code, Scaled, Scales};
use crate::codec::lanes::{Lanes, Sixteen};
use crate::codec::{eight, Isa};
use crate::dtype::Dtype;

/// Cells whose scales are brought together.
const CELLS: usize = 32;

/// Spans of parts, and what is known of them before any element is.
pub(super) struct Reader<'a> {
    scaled: &'a Scaled,
    codes: &'a [u8],
    /// First byte of `codes` in its part.
    codes_at: u64,
    scales: &'a [u8],
    /// First row of the scales.
    scales_row: u64,
    columns: Option<&'a [u8]>,
    tensor: f32,
    /// What nibbles are.
    nibbles: Option<Nibbles>,
}

impl<'a> Reader<'a> {
    #[inline(always)]
    pub(super) fn new(scaled: &'a Scaled, window: &Window<'a>) -> Self {
        let parts = window.parts;
        let numbers = match scaled.code {
            Code::E2M1 => Some(E2M1),
            Code::I4 => Some(I4),
            _ => None,
        };
        let high_first = scaled.code == Code::E2M1;
        let (rows, _) = scaled.scale_rows();
        Self {
            scaled,
            codes: parts[0],
            codes_at: scaled.span(0, window.begin, window.end).0,
            scales: parts[1],
            scales_row: window.begin / scaled.columns / rows,
            columns: scaled.column_factors.then_some(parts[2 + usize::from(scaled.tensor_scale)]),
            tensor: if scaled.tensor_scale { float(parts[2], 0) } else { 1.0 },
            nibbles: numbers.map(|numbers| Nibbles { numbers, high_first }),
        }
    }

    /// Decode a run of one row; whether all are finite by their scales alone.
    #[inline(always)]
    pub(super) fn read<I: Isa>(&self, row: u64, column: u64, target: &mut [f32]) -> bool {
        let place = row * self.scaled.stride + column;
        if let Some(nibbles) = &self.nibbles {
            let place = place - 2 * self.codes_at;
            // Small cells of a known size are unrolled.
            let (first, finite) = match (self.scaled.scales, self.scaled.scale) {
                (Scales::Tiled { columns: 16, tiles }, Dtype::F8_E4M3)
                    if column.is_multiple_of(16) =>
                {
                    self.nibble_cells::<I>(nibbles, tiles, (row, column, place), target)
                }
                _ => (0, false),
            };
            let (length, rest) = (target.len(), &mut target[first..]);
            let (column, place) = (column + first as u64, place + first as u64);
            self.each_cell(row, column, rest, |done, scale, run| {
                nibbles.decode::<I>(self.codes, place + done, scale, run);
            });
            return finite && first == length;
        }
        let codes = &self.codes[(place - self.codes_at) as usize..];
        match self.scaled.code {
            Code::E4M3 => I::decode_e4m3(codes, target),
            Code::E5M2 => I::decode_e5m2(codes, target),
            Code::I8 | Code::E2M1 | Code::I4 => {
                for (target, code) in target.iter_mut().zip(codes) {
                    *target = f32::from(*code as i8);
                }
            }
        }
        self.scale::<I>(row, column, target);
        false
    }

    /// Multiply a run of one row by its scales.
    #[inline(always)]
    fn scale<I: Isa>(&self, row: u64, column: u64, target: &mut [f32]) {
        // Small cells of a known size are unrolled.
        let done = match (self.scaled.scales, column % 32) {
            (Scales::Tiled { columns: 32, tiles }, 0) => {
                self.scale_cells::<I, 32>(tiles, (row, column), target)
            }
            _ => 0,
        };
        self.each_cell(row, column + done as u64, &mut target[done..], |_, scale, run| {
            for value in run {
                *value *= scale;
            }
        });
    }

    /// Take the runs of one row that have one scale each: elements before it, scale, run.
    #[inline(always)]
    fn each_cell(
        &self,
        row: u64,
        column: u64,
        target: &mut [f32],
        mut take: impl FnMut(u64, f32, &mut [f32]),
    ) {
        let cell = self.scaled.cell();
        let (mut done, mut rest) = (0, target);
        while !rest.is_empty() {
            let at = column + done;
            let count = (rest.len() as u64).min(cell - at % cell);
            let (run, others) = rest.split_at_mut(count as usize);
            take(done, self.scale_of(row, at / cell), run);
            done += count;
            rest = others;
        }
    }

    /// Decode whole cells of sixteen of a row of nibbles, whose scales lie in tiles; how many elements
    /// they have, and whether no scale is so great that one of them may not be finite.
    #[inline(always)]
    fn nibble_cells<I: Isa>(
        &self,
        nibbles: &Nibbles,
        tiles: u64,
        (row, column, place): (u64, u64, u64),
        target: &mut [f32],
    ) -> (usize, bool) {
        /// The bits of a number that is finite eight times.
        const GREATEST: u32 = f32::MAX.to_bits() - (3 << 23);
        let (cells, _) = target.as_chunks_mut::<16>();
        let codes = self.codes[(place / 2) as usize..].as_chunks::<8>().0;
        let (mut scales, mut greatest) = ([0.0; CELLS], 0);
        let several = cells.chunks_mut(CELLS).zip(codes.chunks(CELLS));
        for ((cells, codes), first) in several.zip((column / 16..).step_by(CELLS)) {
            let scales = &mut scales[..cells.len()];
            self.scales_of::<I>(tiles, (row, first), scales);
            for scale in &*scales {
                greatest = greatest.max(scale.to_bits() & 0x7fff_ffff);
            }
            I::look_up_cells(codes, nibbles.high_first, (&nibbles.numbers, scales), cells);
        }
        (cells.len() * 16, greatest <= GREATEST)
    }

    /// Multiply whole cells of a row by their scales in tiles; how many elements they have.
    #[inline(always)]
    fn scale_cells<I: Isa, const N: usize>(
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

    /// The scales of at most [`CELLS`] of a row's cells from number `first` on, which lie in tiles.
    #[inline(always)]
    fn scales_of<I: Isa>(&self, tiles: u64, (row, first): (u64, u64), target: &mut [f32]) {
        let place = tiled(row - 128 * self.scales_row, first - first % 4, tiles);
        let skipped = (first % 4) as usize;
        let mut codes = [[0; 4]; CELLS / 4 + 1];
        // In a tile four of a row lie together.
        let fours = codes[..(skipped + target.len()).div_ceil(4)].iter_mut();
        for (four, place) in fours.zip((place..).step_by(512)) {
            four.copy_from_slice(&self.scales[place..][..4]);
        }
        let codes = &codes.as_flattened()[skipped..];
        if self.scaled.scale == Dtype::F8_E4M3 {
            I::decode_e4m3(codes, target);
        } else {
            for (scale, code) in target.iter_mut().zip(codes) {
                *scale = power(*code);
            }
        }
        for scale in target {
            *scale *= self.tensor;
        }
    }

    /// The scale of a cell: its row of elements and its number in it.
    #[inline(always)]
    fn scale_of(&self, row: u64, cell: u64) -> f32 {
        let index = match self.scaled.scales {
            Scales::Grid { rows, across, .. } => {
                ((row / rows - self.scales_row) * across + cell) as usize
            }
            Scales::Tiled { tiles, .. } => tiled(row - 128 * self.scales_row, cell, tiles),
        };
        let scale = match self.scaled.scale {
            Dtype::F32 => float(self.scales, index),
            Dtype::F16 | Dtype::BF16 => half(self.scaled.scale, self.scales, index),
            Dtype::F8_E8M0 => power(self.scales[index]),
            _ => eight::from_e4m3(self.scales[index]),
        };
        self.tensor * scale
    }

    /// Decode a run of one row out of whole groups, which are rotated back.
    #[inline(always)]
    pub(super) fn read_groups<I: Isa>(
        &self,
        row: u64,
        column: u64,
        group: u64,
        target: &mut [f32],
    ) {
        let mut whole = vec![0.0; group as usize];
        let mut column = column;
        let mut rest = target;
        while !rest.is_empty() {
            let skipped = (column % group) as usize;
            let count = rest.len().min(whole.len() - skipped);
            let (run, others) = rest.split_at_mut(count);
            self.read::<I>(row, column - skipped as u64, &mut whole);
            rotate(&mut whole);
            run.copy_from_slice(&whole[skipped..skipped + count]);
            column += count as u64;
            rest = others;
        }
    }

    /// What comes after the scales; whether there is anything.
    #[inline(always)]
    pub(super) fn finish(&self, column: u64, target: &mut [f32]) -> bool {
        if self.scaled.factor.to_bits() != 1.0_f32.to_bits() {
            for value in &mut *target {
                *value *= self.scaled.factor;
            }
        }
        if let Some(columns) = self.columns {
            for (index, value) in target.iter_mut().enumerate() {
                *value *= float(columns, column as usize + index);
            }
        }
        self.columns.is_some() || self.scaled.factor.to_bits() != 1.0_f32.to_bits()
    }
}

/// The sixteen numbers of one sign, two exponent and one mantissa bits.
const E2M1: [f32; 16] =
    [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0];

/// The sixteen whole numbers, by their lower four bits.
const I4: [f32; 16] =
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, -8.0, -7.0, -6.0, -5.0, -4.0, -3.0, -2.0, -1.0];

/// A power of two, and zero for code 0; the last code is no number.
#[inline(always)]
fn power(code: u8) -> f32 {
    match code {
        255 => f32::NAN,
        code => f32::from_bits(u32::from(code) << 23),
    }
}

/// A number of a list of F32.
#[inline(always)]
fn float(bytes: &[u8], index: usize) -> f32 {
    f32::from_le_bytes(bytes.as_chunks::<4>().0[index])
}

/// A number of a list of F16 or BF16.
#[inline(always)]
fn half(dtype: Dtype, bytes: &[u8], index: usize) -> f32 {
    let bits = u16::from_le_bytes(bytes.as_chunks::<2>().0[index]);
    match dtype {
        Dtype::F16 => crate::codec::half::from_f16(bits),
        _ => f32::from_bits(u32::from(bits) << 16),
    }
}
