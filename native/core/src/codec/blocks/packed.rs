//! Whole numbers in words of 32 bits, rows and columns of the weight exchanged: GPTQ and AWQ.
//!
//! A word holds neighbours along the columns (GPTQ) or the rows (AWQ) of the weight. A row of it is
//! a column of what is stored, so some rows are runs of bytes that lie a stored row apart.

use super::{product, Parts, Runs};
use crate::codec::half::from_f16;
use crate::dtype::Dtype;

/// Which numbers share a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Words {
    /// Neighbours in a row of the weight, the first in the lowest bits: GPTQ.
    Columns,
    /// Neighbours in a column of the weight, all of even number before the odd ones: AWQ.
    Rows,
}

/// Which columns share a scale and a zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Groups {
    /// So many neighbours.
    Of(u64),
    /// Those that a part lists the same number for, of so many.
    Listed(u64),
}

/// A matrix of packed whole numbers.
///
/// Parts: numbers, zeros (packed along the rows), scales, then the group of each column (I32) if
/// these are listed. Of zeros and scales there is one for each group and row.
#[derive(Debug, Clone, PartialEq)]
pub struct Packed {
    /// Bits of a number: 2, 4 or 8.
    pub bits: u32,
    /// Rows of the weight.
    pub rows: u64,
    /// Columns of the weight.
    pub columns: u64,
    /// Which numbers share a word.
    pub words: Words,
    /// Which columns share a scale.
    pub groups: Groups,
    /// What a scale is: F16, BF16 or F32.
    pub scale: Dtype,
    /// What is added to a stored zero.
    pub zero: u32,
}

/// A zero and a scale.
type Line = (f32, f32);

impl Packed {
    pub(super) fn sizes(&self) -> Result<Vec<u64>, String> {
        if ![2, 4, 8].contains(&self.bits) {
            return Err(format!("numbers of {} bits", self.bits));
        }
        if ![Dtype::F16, Dtype::BF16, Dtype::F32].contains(&self.scale) {
            return Err(format!("scales of {}", self.scale.name()));
        }
        let (rows, columns, each) = (self.rows, self.columns, self.each());
        let along = if self.words == Words::Columns { columns } else { rows };
        if !rows.is_multiple_of(each) || !along.is_multiple_of(each) || rows == 0 || columns == 0 {
            return Err(format!("{rows} x {columns} numbers, {each} in a word"));
        }
        if matches!(self.groups, Groups::Of(0) | Groups::Listed(0)) {
            return Err("groups of no columns".to_owned());
        }
        let groups = self.group_count();
        let scales = product(&[groups, rows, self.scale.bytes() as u64])?;
        let zeros = product(&[groups, rows, 4])? / each;
        let mut sizes = vec![product(&[rows, columns, 4])? / each, zeros, scales];
        sizes.extend(matches!(self.groups, Groups::Listed(_)).then_some(4 * columns));
        Ok(sizes)
    }

    /// Numbers in a word.
    fn each(&self) -> u64 {
        u64::from(32 / self.bits)
    }

    fn group_count(&self) -> u64 {
        match self.groups {
            Groups::Of(columns) => self.columns.div_ceil(columns),
            Groups::Listed(count) => count,
        }
    }

    /// Bytes that the rows of some elements take, of every stored row.
    pub(super) fn runs(&self, part: usize, begin: u64, end: u64) -> Runs {
        if begin >= end {
            return Runs::one(0, 0);
        }
        let (first, last) = (begin / self.columns, (end - 1) / self.columns);
        let (groups, each) = (self.group_count(), self.each());
        // (stored rows, weight's rows of an item, bytes of an item)
        let (count, rows, bytes) = match (part, self.words) {
            (0, Words::Columns) => (self.columns / each, 1, 4),
            (0, Words::Rows) => (self.columns, each, 4),
            (1, _) => (groups, each, 4),
            (2, _) => (groups, 1, self.scale.bytes() as u64),
            _ => return Runs::one(0, 4 * self.columns),
        };
        let length = (last / rows - first / rows + 1) * bytes;
        Runs { begin: first / rows * bytes, length, count, stride: self.rows / rows * bytes }
    }

    #[inline(always)]
    pub(super) fn decode(&self, parts: &Parts, first: u64, target: &mut [f32]) {
        let (Parts { bytes, begin, end }, columns) = (*parts, self.columns);
        let (parts, span) = (&bytes, (begin / columns, (end - 1) / columns));
        let mut lines = vec![(0.0, 0.0); self.group_count() as usize];
        let (mut row, mut column, mut rest) = (first / columns, first % columns, target);
        while !rest.is_empty() {
            let count = rest.len().min((columns - column) as usize);
            let (run, others) = rest.split_at_mut(count);
            self.read_lines(parts, span, row, &mut lines);
            self.read_numbers(parts[0], span, (row, column), run);
            self.scale(parts, &lines, column, run);
            (row, column, rest) = (row + 1, 0, others);
        }
    }

    /// The zeros and scales of a row, of which rows from `first` to `last` are there.
    #[inline(always)]
    fn read_lines(&self, parts: &[&[u8]], span: (u64, u64), row: u64, lines: &mut [Line]) {
        let each = self.each();
        let width = (span.1 / each - span.0 / each + 1) as usize;
        let (word, shift) = ((row / each - span.0 / each) as usize, self.shift(row, Words::Rows));
        let rows = (span.1 - span.0 + 1) as usize;
        for (group, (zero, scale)) in lines.iter_mut().enumerate() {
            let stored = self.number(parts[1], group * width + word, shift);
            *zero = (stored.wrapping_add(self.zero) & self.mask()) as f32;
            *scale = self.float(parts[2], group * rows + (row - span.0) as usize);
        }
    }

    /// The numbers of a run of a row.
    #[inline(always)]
    fn read_numbers(&self, words: &[u8], span: (u64, u64), at: (u64, u64), run: &mut [f32]) {
        let ((row, column), each) = (at, self.each());
        match self.words {
            Words::Columns => {
                let (width, place) = ((span.1 - span.0 + 1) as usize, (row - span.0) as usize);
                for (value, column) in run.iter_mut().zip(column..) {
                    let word = (column / each) as usize * width + place;
                    *value = self.number(words, word, self.shift(column, Words::Columns)) as f32;
                }
            }
            Words::Rows => {
                let width = (span.1 / each - span.0 / each + 1) as usize;
                let place = (row / each - span.0 / each) as usize;
                let shift = self.shift(row, Words::Rows);
                for (value, column) in run.iter_mut().zip(column as usize..) {
                    *value = self.number(words, column * width + place, shift) as f32;
                }
            }
        }
    }

    #[inline(always)]
    fn scale(&self, parts: &[&[u8]], lines: &[Line], column: u64, run: &mut [f32]) {
        for (value, column) in run.iter_mut().zip(column..) {
            let group = match self.groups {
                Groups::Of(columns) => (column / columns) as usize,
                Groups::Listed(_) => word(parts[3], column as usize) as usize,
            };
            // What is listed may be anything.
            let (zero, scale) = lines.get(group).copied().unwrap_or((f32::NAN, f32::NAN));
            *value = (*value - zero) * scale;
        }
    }

    /// Bits below a number in its word.
    #[inline(always)]
    fn shift(&self, index: u64, along: Words) -> u32 {
        let (each, within) = (32 / self.bits, (index % self.each()) as u32);
        let interleaved = along == Words::Rows && self.words == Words::Rows;
        let place = if interleaved { within % 2 * each / 2 + within / 2 } else { within };
        place * self.bits
    }

    fn mask(&self) -> u32 {
        (1 << self.bits) - 1
    }

    #[inline(always)]
    fn number(&self, words: &[u8], index: usize, shift: u32) -> u32 {
        word(words, index) >> shift & self.mask()
    }

    #[inline(always)]
    fn float(&self, scales: &[u8], index: usize) -> f32 {
        let half = |at: usize| u16::from_le_bytes([scales[at], scales[at + 1]]);
        match self.scale {
            Dtype::F16 => from_f16(half(2 * index)),
            Dtype::BF16 => f32::from_bits(u32::from(half(2 * index)) << 16),
            _ => f32::from_bits(word(scales, index)),
        }
    }
}

#[inline(always)]
fn word(bytes: &[u8], index: usize) -> u32 {
    bytes.as_chunks().0.get(index).map_or(0, |bytes| u32::from_le_bytes(*bytes))
}
