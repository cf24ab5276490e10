//! Small numbers times scales: scaled fp8 and int8, mxfp8, nvfp4 and their like.

use super::rotation::{is_group, rotate};
use super::{nibbles, pairs, product};
use crate::codec::{eight, Isa};
use crate::dtype::Dtype;

/// What a code is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, non_camel_case_types)] // the formats' own names
pub enum Code {
    E4M3,
    E5M2,
    I8,
    /// Two in a byte, the even column in the upper half.
    E2M1,
    /// Two in a byte, the even column in the lower half.
    I4,
}

/// Which scale belongs to an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scales {
    /// One for each cell of so many rows and columns; rows of `across` scales.
    Grid {
        /// Rows of a cell.
        rows: u64,
        /// Columns of a cell.
        columns: u64,
        /// Scales in a row of cells.
        across: u64,
    },
    /// One for each row and so many columns, in the tiles of 128 × 4 that cuBLAS takes.
    Tiled {
        /// Columns of a cell.
        columns: u64,
        /// Tiles side by side.
        tiles: u64,
    },
}

/// A matrix of codes; a tensor of more dims is its rows of all other columns.
///
/// Parts: codes, scales, then if there are any the scale of the whole tensor (one F32) and the
/// factors of columns (F32 each).
#[derive(Debug, Clone, PartialEq)]
pub struct Scaled {
    /// What a code is.
    pub code: Code,
    /// Rows of the tensor.
    pub rows: u64,
    /// Columns of the tensor.
    pub columns: u64,
    /// Codes in a stored row, which may be padded.
    pub stride: u64,
    /// Where scales lie.
    pub scales: Scales,
    /// What a scale is: F32, F16, BF16, `F8_E4M3`, or `F8_E8M0` (of which code 0 is zero).
    pub scale: Dtype,
    /// Whether all scales are multiplied by one more.
    pub tensor_scale: bool,
    /// Whether columns are multiplied by factors, at last.
    pub column_factors: bool,
    /// What values are multiplied by after their scale; 1 in most formats.
    pub factor: f32,
    /// Columns of a group that `ConvRot` has rotated.
    pub rotation: Option<u64>,
}

impl Code {
    pub(crate) fn bits(self) -> u64 {
        match self {
            Self::E4M3 | Self::E5M2 | Self::I8 => 8,
            Self::E2M1 | Self::I4 => 4,
        }
    }
}

impl Scaled {
    pub(crate) fn sizes(&self) -> Result<Vec<u64>, String> {
        let codes = product(&[self.rows, self.stride, self.code.bits()])? / 8;
        product(&[self.rows, self.columns])?;
        if self.columns > self.stride || !(self.stride * self.code.bits()).is_multiple_of(8) {
            return Err(format!("{} columns in rows of {} codes", self.columns, self.stride));
        }
        if self
            .rotation
            .is_some_and(|group| !is_group(group) || !self.columns.is_multiple_of(group))
        {
            return Err(format!("groups of {:?} in {} columns", self.rotation, self.columns));
        }
        let mut sizes = vec![codes, self.scale_bytes()?];
        sizes.extend(self.tensor_scale.then_some(4));
        sizes.extend(self.column_factors.then_some(4 * self.columns));
        Ok(sizes)
    }

    fn scale_bytes(&self) -> Result<u64, String> {
        let known = [Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::F8_E4M3, Dtype::F8_E8M0];
        if !known.contains(&self.scale) {
            return Err(format!("scales of {}", self.scale.name()));
        }
        match self.scales {
            Scales::Grid { rows, columns, across } => {
                if rows == 0 || columns == 0 || across < self.columns.div_ceil(columns) {
                    return Err(format!("{across} scales for {} columns", self.columns));
                }
                product(&[self.rows.div_ceil(rows), across, self.scale.bytes() as u64])
            }
            Scales::Tiled { columns, tiles } => {
                let enough = columns > 0 && tiles >= self.columns.div_ceil(columns).div_ceil(4);
                if !enough || self.scale.bytes() != 1 {
                    return Err(format!("{tiles} tiles of scales for {} columns", self.columns));
                }
                product(&[self.rows.div_ceil(128), tiles, 512])
            }
        }
    }

    /// Elements whose codes are needed for those: whole groups of rotated ones.
    fn widened(&self, begin: u64, end: u64) -> (u64, u64) {
        // Groups divide rows, so they lie at multiples of their size in the whole tensor.
        self.rotation
            .map_or((begin, end), |group| (begin - begin % group, end.next_multiple_of(group)))
    }

    pub(super) fn span(&self, part: usize, begin: u64, end: u64) -> (u64, u64) {
        if begin >= end {
            return (0, 0);
        }
        let (begin, end) = self.widened(begin, end);
        let (first, last) = (begin / self.columns, (end - 1) / self.columns);
        match part {
            0 => {
                let place =
                    |element: u64| element / self.columns * self.stride + element % self.columns;
                let bits = self.code.bits();
                (place(begin) * bits / 8, ((place(end - 1) + 1) * bits).div_ceil(8))
            }
            1 => {
                let (rows, bytes) = self.scale_rows();
                (first / rows * bytes, (last / rows + 1) * bytes)
            }
            2 if self.tensor_scale => (0, 4),
            _ => (0, 4 * self.columns),
        }
    }

    /// Rows that have the same row of scales, or of tiles of scales, and its bytes.
    fn scale_rows(&self) -> (u64, u64) {
        match self.scales {
            Scales::Grid { rows, across, .. } => (rows, across * self.scale.bytes() as u64),
            Scales::Tiled { tiles, .. } => (128, tiles * 512),
        }
    }

    #[inline(always)]
    pub(super) fn decode<I: Isa>(&self, parts: &[&[u8]], begin: u64, target: &mut [f32]) {
        let end = begin + target.len() as u64;
        let (from, to) = self.widened(begin, end);
        let reader = Reader::new(self, parts, from, to);
        let group = self.rotation.unwrap_or(1);
        let mut element = begin;
        let mut rest = target;
        while !rest.is_empty() {
            let (row, column) = (element / self.columns, element % self.columns);
            let count = rest.len().min((self.columns - column) as usize);
            let (run, others) = rest.split_at_mut(count);
            if self.rotation.is_none() {
                reader.read::<I>(row, column, run);
            } else {
                reader.read_groups::<I>(row, column, group, run);
            }
            reader.finish(column, run);
            element += count as u64;
            rest = others;
        }
    }
}

/// Spans of parts, and what is known of them before any element is.
struct Reader<'a> {
    scaled: &'a Scaled,
    codes: &'a [u8],
    /// First byte of `codes` in its part.
    codes_at: u64,
    scales: &'a [u8],
    /// First row of the scales.
    scales_row: u64,
    columns: Option<&'a [u8]>,
    /// Each byte as a scale, the scale of the tensor included, where scales are bytes.
    of_byte: [f32; 256],
    tensor: f32,
    pairs: Option<Box<[[f32; 2]; 256]>>,
}

impl<'a> Reader<'a> {
    fn new(scaled: &'a Scaled, parts: &[&'a [u8]], begin: u64, end: u64) -> Self {
        let tensor = if scaled.tensor_scale { float(parts[2], 0) } else { 1.0 };
        let of_byte = |byte: u8| match scaled.scale {
            Dtype::F8_E8M0 => tensor * power(byte),
            _ => tensor * eight::from_e4m3(byte),
        };
        let numbers = match scaled.code {
            Code::E2M1 => Some(E2M1),
            Code::I4 => Some(std::array::from_fn(|code| (code as f32 + 8.0) % 16.0 - 8.0)),
            _ => None,
        };
        let high_first = scaled.code == Code::E2M1;
        let (rows, _) = scaled.scale_rows();
        Self {
            scaled,
            codes: parts[0],
            codes_at: scaled.span(0, begin, end).0,
            scales: parts[1],
            scales_row: begin / scaled.columns / rows,
            columns: scaled.column_factors.then(|| parts[parts.len() - 1]),
            of_byte: std::array::from_fn(|byte| of_byte(byte as u8)),
            tensor,
            pairs: numbers.map(|numbers| Box::new(pairs(&numbers, &numbers, high_first))),
        }
    }

    /// Decode a run of one row.
    #[inline(always)]
    fn read<I: Isa>(&self, row: u64, column: u64, target: &mut [f32]) {
        let place = row * self.scaled.stride + column;
        let bits = self.scaled.code.bits();
        let codes = &self.codes[(place * bits / 8 - self.codes_at) as usize..];
        match self.scaled.code {
            Code::E4M3 => I::decode_e4m3(codes, target),
            Code::E5M2 => I::decode_e5m2(codes, target),
            Code::I8 => {
                for (target, code) in target.iter_mut().zip(codes) {
                    *target = f32::from(*code as i8);
                }
            }
            Code::E2M1 | Code::I4 => {
                if let Some(pairs) = &self.pairs {
                    nibbles(codes, (place % 2) as usize, pairs, target);
                }
            }
        }
        self.scale(row, column, target);
    }

    /// Multiply a run of one row by its scales.
    #[inline(always)]
    fn scale(&self, row: u64, column: u64, target: &mut [f32]) {
        let cell = match self.scaled.scales {
            Scales::Grid { columns, .. } | Scales::Tiled { columns, .. } => columns,
        };
        // Small cells of a known size are unrolled.
        let done = match (self.scaled.scales, cell, column % cell) {
            (Scales::Tiled { .. }, 16, 0) => self.scale_cells::<16>(row, column, target),
            (Scales::Tiled { .. }, 32, 0) => self.scale_cells::<32>(row, column, target),
            _ => 0,
        };
        let mut column = column + done as u64;
        let mut rest = &mut target[done..];
        while !rest.is_empty() {
            let count = (rest.len() as u64).min(cell - column % cell) as usize;
            let (run, others) = rest.split_at_mut(count);
            let scale = self.scale_of(row, column / cell);
            for value in run {
                *value *= scale;
            }
            column += count as u64;
            rest = others;
        }
    }

    /// Multiply whole cells of a row by their scales in tiles; how many elements they have.
    #[inline(always)]
    fn scale_cells<const N: usize>(&self, row: u64, column: u64, target: &mut [f32]) -> usize {
        let (cells, _) = target.as_chunks_mut::<N>();
        let first = column / N as u64;
        for (number, cell) in cells.iter_mut().enumerate() {
            let scale = self.scale_of(row, first + number as u64);
            for value in cell {
                *value *= scale;
            }
        }
        cells.len() * N
    }

    /// The scale of a cell: its row of elements and its number in it.
    #[inline(always)]
    fn scale_of(&self, row: u64, cell: u64) -> f32 {
        match self.scaled.scales {
            Scales::Grid { rows, across, .. } => {
                let index = ((row / rows - self.scales_row) * across + cell) as usize;
                match self.scaled.scale {
                    Dtype::F32 => self.tensor * float(self.scales, index),
                    Dtype::F16 | Dtype::BF16 => {
                        self.tensor * half(self.scaled.scale, self.scales, index)
                    }
                    _ => self.of_byte[usize::from(self.scales[index])],
                }
            }
            Scales::Tiled { tiles, .. } => {
                let tile = (row / 128 - self.scales_row) * tiles + cell / 4;
                let within = row % 32 * 16 + row % 128 / 32 * 4 + cell % 4;
                self.of_byte[usize::from(self.scales[(tile * 512 + within) as usize])]
            }
        }
    }

    /// Decode a run of one row out of whole groups, which are rotated back.
    #[inline(always)]
    fn read_groups<I: Isa>(&self, row: u64, column: u64, group: u64, target: &mut [f32]) {
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

    /// What comes after the scales.
    #[inline(always)]
    fn finish(&self, column: u64, target: &mut [f32]) {
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
    }
}

/// The sixteen numbers of one sign, two exponent and one mantissa bits.
const E2M1: [f32; 16] =
    [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0];

/// A power of two, and zero for code 0; the last code is no number.
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
