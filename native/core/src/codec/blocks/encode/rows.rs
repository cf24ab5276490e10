//! Rows of values to rows of codes with scales.

use super::super::rotation::rotate;
use super::super::round::{greatest, store};
use super::super::scaled::{tiled, Code, Scaled, Scales};
use super::companions::Companions;
use super::scales::{Note, Rule, CELLS};
use crate::codec::Isa;

/// How rows are encoded, and what they share.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) scaled: &'a Scaled,
    pub(super) companions: &'a Companions,
}

impl Rows<'_> {
    /// Encode whole rows, the first of which is number `row`; whether all values were finite, where
    /// nothing was measured before. Stored rows may have zeros at their end.
    #[inline(always)]
    pub(super) fn encode<I: Isa>(self, row: u64, values: &mut [f32], codes: &mut [u8]) -> bool {
        let scaled = self.scaled;
        if let Some(group) = scaled.rotation {
            values.chunks_exact_mut(group as usize).for_each(rotate::<I>);
        }
        let (columns, used) = (scaled.columns as usize, scaled.code_bytes(scaled.columns));
        let rows = values.chunks_exact_mut(columns);
        let stored = codes.chunks_exact_mut(scaled.code_bytes(scaled.stride));
        let whole = if scaled.tensor_scale { self.companions.tensor_scale() } else { 1.0 };
        let rule = Rule::new(scaled, whole);
        let mut finite = true;
        for (row, (values, codes)) in (row..).zip(rows.zip(stored)) {
            let (codes, padding) = codes.split_at_mut(used);
            padding.fill(0);
            finite &= Line { rows: self, row, rule }.encode::<I>(values, codes);
        }
        finite
    }
}

/// A row of a tensor.
#[derive(Clone, Copy)]
struct Line<'a> {
    rows: Rows<'a>,
    row: u64,
    rule: Rule,
}

impl Line<'_> {
    #[inline(always)]
    fn encode<I: Isa>(self, values: &mut [f32], codes: &mut [u8]) -> bool {
        let scaled = self.rows.scaled;
        let cell = scaled.cell() as usize;
        // Small cells of a known size are unrolled, unless several rows have a part in them.
        let (done, mut finite) = match cell {
            16 if !scaled.shares_cells() => self.cells::<I, 16>(values, codes),
            32 if !scaled.shares_cells() => self.cells::<I, 32>(values, codes),
            _ => (0, true),
        };
        let codes = &mut codes[scaled.code_bytes(done as u64)..];
        let cells = values[done..].chunks_mut(cell);
        let codes = codes.chunks_mut(scaled.code_bytes(cell as u64).max(1));
        for (number, (values, codes)) in (done / cell..).zip(cells.zip(codes)) {
            finite &= self.cell(number, values, codes);
        }
        finite
    }

    /// Encode all whole cells; how many elements they have, and whether all are finite.
    #[inline(always)]
    fn cells<I: Isa, const N: usize>(self, values: &mut [f32], codes: &mut [u8]) -> (usize, bool) {
        let (cells, _) = values.as_chunks_mut::<N>();
        let (done, mut finite) = (cells.len() * N, true);
        let bytes = self.rows.scaled.code_bytes(N as u64);
        let several = cells.chunks_mut(CELLS).zip(codes.chunks_mut(CELLS * bytes));
        for (number, (cells, codes)) in several.enumerate() {
            let mut divisors = [0.0; CELLS];
            let all = &mut divisors[..cells.len()];
            let sound = I::greatest_each(cells, all);
            finite &= sound;
            self.scales(number * CELLS, all);
            if sound && N == 16 && self.rows.scaled.code == Code::E2M1 {
                let cells = cells.as_flattened().as_chunks().0;
                I::encode_e2m1(cells, &divisors, codes.as_chunks_mut().0);
                continue;
            }
            let codes = codes.chunks_exact_mut(bytes);
            for ((values, codes), divisor) in cells.iter_mut().zip(codes).zip(divisors) {
                self.divide(values, divisor, codes);
            }
        }
        (done, finite)
    }

    /// Encode a cell's values; whether all are finite, as far as that is looked at.
    #[inline(always)]
    fn cell(self, number: usize, values: &mut [f32], codes: &mut [u8]) -> bool {
        let (greatest, finite) = match self.rows.scaled.scales {
            Scales::Grid { rows, across, .. } if self.rows.scaled.shares_cells() => {
                let cell = (self.row / rows * across) as usize + number;
                (self.rows.companions.greatest_in(cell), true)
            }
            _ => greatest(values),
        };
        let mut divisor = [greatest];
        self.scales(number, &mut divisor);
        self.divide(values, divisor[0], codes);
        finite
    }

    #[inline(always)]
    fn divide(self, values: &mut [f32], divisor: f32, codes: &mut [u8]) {
        for value in &mut *values {
            *value /= divisor;
        }
        store(self.rows.scaled.code, values, codes);
    }

    /// Make the scales of cells from number `first` on, whose greatest magnitudes become divisors.
    #[inline(always)]
    fn scales(self, first: usize, cells: &mut [f32]) {
        self.rule.make(cells, &Place { line: self, first });
    }
}

/// Where the scales of cells from number `first` on lie.
struct Place<'a> {
    line: Line<'a>,
    first: usize,
}

impl Note for Place<'_> {
    #[inline(always)]
    fn note<const B: usize>(&self, bytes: &[[u8; B]]) {
        let (rows, row) = (self.line.rows, self.line.row);
        match rows.scaled.scales {
            Scales::Grid { rows: high, across, .. } => {
                rows.companions.note((row / high * across) as usize + self.first, bytes);
            }
            Scales::Tiled { tiles, .. } => {
                // In a tile four of a row lie together; those of several cells begin with such four.
                let (fours, rest) = bytes.as_chunks::<4>();
                let first = self.first as u64;
                for (four, cell) in fours.iter().zip((first..).step_by(4)) {
                    rows.companions.note(tiled(row, cell, tiles), four);
                }
                for (one, cell) in rest.iter().zip(first + 4 * fours.len() as u64..) {
                    rows.companions.note(tiled(row, cell, tiles), &[*one]);
                }
            }
        }
    }
}
