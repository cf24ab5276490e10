//! Runs of rows of codes, decoded.

use super::super::rotation::rotate;
use super::super::{Nibbles, Parts};
use super::tiles::FOUR;
use super::{Code, Scaled, Scales};
use crate::codec::{all_finite, eight, Isa};
use crate::dtype::Dtype;

/// Ranges of parts, and what is known of them before any element is.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Reader<'a> {
    pub(super) scaled: &'a Scaled,
    pub(super) codes: &'a [u8],
    /// First byte of `codes` in its part.
    codes_at: u64,
    /// Row by row, those in tiles too.
    pub(super) scales: &'a [u8],
    /// First row of the scales.
    scales_row: u64,
    columns: Option<&'a [u8]>,
    pub(super) tensor: f32,
    /// What nibbles are.
    nibbles: Option<&'static Nibbles>,
}

impl<'a> Reader<'a> {
    pub(in super::super) fn new(scaled: &'a Scaled, parts: &Parts<'a>) -> Self {
        let Parts { bytes, begin, end } = *parts;
        let rows = match scaled.scales {
            Scales::Grid { rows, .. } => rows,
            Scales::Tiled { .. } => 1,
        };
        Self {
            scaled,
            codes: bytes[0],
            codes_at: scaled.span(0, begin, end).0,
            scales: bytes[1],
            scales_row: begin.checked_div(scaled.columns).unwrap_or(0) / rows,
            columns: scaled.column_factors.then_some(bytes[2 + usize::from(scaled.tensor_scale)]),
            tensor: if scaled.tensor_scale && begin < end { float(bytes[2], 0) } else { 1.0 },
            nibbles: match scaled.code {
                Code::E2M1 => Some(&E2M1),
                Code::I4 => Some(&I4),
                Code::E4M3 | Code::E5M2 | Code::I8 => None,
            },
        }
    }

    /// Decode elements from number `first` on; false if one of them is not finite.
    #[inline(always)]
    pub(in super::super) fn decode<I: Isa>(&self, first: u64, target: &mut [f32]) -> bool {
        let columns = self.scaled.columns;
        let (mut row, mut column) = (first / columns, first % columns);
        let (mut finite, mut rest) = (true, target);
        while !rest.is_empty() {
            let count = rest.len().min((columns - column) as usize);
            let (run, others) = rest.split_at_mut(count);
            let mut known = false;
            match self.scaled.rotation {
                None => known = self.read::<I>(row, column, run),
                Some(group) => self.read_groups::<I>(row, column, group, run),
            }
            known &= !self.finish(column, run);
            finite &= known || all_finite(run);
            (row, column, rest) = (row + 1, 0, others);
        }
        finite
    }

    /// Decode a run of one row; whether all are finite by their scales alone.
    #[inline(always)]
    fn read<I: Isa>(&self, row: u64, column: u64, target: &mut [f32]) -> bool {
        let place = row * self.scaled.stride + column;
        if let Some(nibbles) = self.nibbles {
            let place = place - 2 * self.codes_at;
            // Small cells of a known size are unrolled.
            let (first, finite) = match (self.scaled.scales, self.scaled.scale) {
                (Scales::Tiled { columns: 16, .. }, Dtype::F8_E4M3)
                    if column.is_multiple_of(16) && self.scaled.code == Code::E2M1 =>
                {
                    self.nibble_cells::<I>(nibbles, (row, column, place), target)
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
            (Scales::Tiled { columns: 32, .. }, 0) => {
                self.scale_cells::<I, 32>((row, column), target)
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

    /// The scale of a cell: its row of elements and its number in it.
    #[inline(always)]
    fn scale_of(&self, row: u64, cell: u64) -> f32 {
        let index = self.scale_index(row, cell);
        let scale = match self.scaled.scale {
            Dtype::F32 => float(self.scales, index),
            Dtype::F16 | Dtype::BF16 => half(self.scaled.scale, self.scales, index),
            Dtype::F8_E8M0 => power(self.scales[index]),
            _ => eight::from_e4m3(self.scales[index]),
        };
        self.tensor * scale
    }

    /// The place of the scale of a cell among those that are there.
    #[inline(always)]
    pub(super) fn scale_index(&self, row: u64, cell: u64) -> usize {
        let (rows, across) = match self.scaled.scales {
            Scales::Grid { rows, across, .. } => (rows, across),
            Scales::Tiled { tiles, .. } => (1, tiles * FOUR as u64),
        };
        ((row / rows - self.scales_row) * across + cell) as usize
    }

    /// Decode a run of one row out of whole groups, which are rotated back.
    #[inline(always)]
    fn read_groups<I: Isa>(&self, row: u64, column: u64, group: u64, target: &mut [f32]) {
        let mut whole = Vec::new();
        let mut column = column;
        let mut rest = target;
        while !rest.is_empty() {
            let skipped = column % group;
            let count = rest.len().min((group - skipped) as usize);
            let (run, others) = rest.split_at_mut(count);
            if count as u64 == group {
                self.read::<I>(row, column, run);
                rotate::<I>(run);
            } else {
                whole.resize(group as usize, 0.0);
                self.read::<I>(row, column - skipped, &mut whole);
                rotate::<I>(&mut whole);
                run.copy_from_slice(&whole[skipped as usize..][..count]);
            }
            column += count as u64;
            rest = others;
        }
    }

    /// What comes after the scales; whether there is anything.
    #[inline(always)]
    fn finish(&self, column: u64, target: &mut [f32]) -> bool {
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
static E2M1: Nibbles = Nibbles {
    numbers: [
        0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0,
    ],
    high_first: true,
};

/// The sixteen whole numbers, by their lower four bits.
static I4: Nibbles = Nibbles {
    numbers: [
        0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, -8.0, -7.0, -6.0, -5.0, -4.0, -3.0, -2.0, -1.0,
    ],
    high_first: false,
};

/// A power of two, and zero for code 0; the last code is no number.
#[inline(always)]
pub(super) fn power(code: u8) -> f32 {
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
