//! Float32 to codes with scales, some rows of a tensor at a time.
//!
//! Where the scales of several rows depend on each other, the greatest magnitudes are looked for in
//! a pass of its own. A maximum does not depend on the order, so any number of threads gives the
//! same codes. Values that are not finite have no part in scales; NaN becomes a NaN where there is
//! one, else zero, and infinity the largest number.

use std::sync::atomic::{AtomicU32, AtomicU8, Ordering};

use super::rotation::rotate;
use super::round::{greatest, largest, store};
use super::scaled::{Code, Scaled, Scales};
use crate::codec::{eight, half};
use crate::dtype::Dtype;
use crate::vm::Level;

/// What the rows of a tensor share while it is encoded.
#[derive(Debug)]
pub(crate) struct Companions {
    /// Greatest magnitudes, as bits: of each cell, or of the whole tensor.
    greatest: Vec<AtomicU32>,
    /// The bytes of the part that holds the scales.
    scales: Vec<AtomicU8>,
}

impl Companions {
    /// Those of a codec whose sizes were asked for.
    pub(crate) fn new(scaled: &Scaled, scale_bytes: u64) -> Self {
        let cells = match scaled.scales {
            _ if scaled.tensor_scale => 1,
            Scales::Grid { rows, across, .. } if rows > 1 => scaled.rows.div_ceil(rows) * across,
            _ => 0,
        };
        Self {
            greatest: (0..cells).map(|_| AtomicU32::new(0)).collect(),
            scales: (0..scale_bytes).map(|_| AtomicU8::new(0)).collect(),
        }
    }

    /// Note the greatest magnitude of some elements of a tensor with one scale, as bits.
    pub(crate) fn reach(&self, greatest: u32) {
        for cell in &self.greatest {
            cell.fetch_max(greatest, Ordering::Relaxed);
        }
    }

    /// The bytes of the scales, when all rows have been encoded.
    pub(crate) fn scales(&self) -> Vec<u8> {
        self.scales.iter().map(|byte| byte.load(Ordering::Relaxed)).collect()
    }

    /// The scale of the whole tensor.
    pub(crate) fn tensor_scale(&self) -> f32 {
        let greatest = self.greatest.first().map_or(0, |cell| cell.load(Ordering::Relaxed));
        positive(f32::from_bits(greatest) / (6.0 * 448.0))
    }
}

impl Scaled {
    fn bits(&self) -> usize {
        self.code.bits() as usize
    }

    /// Whether the greatest magnitudes must be known before anything is encoded.
    pub(crate) fn is_measured(&self) -> bool {
        let several = matches!(self.scales, Scales::Grid { rows, .. } if rows > 1);
        self.tensor_scale || several
    }
}

/// The same, or 1 of what is no positive number.
fn positive(scale: f32) -> f32 {
    if scale > 0.0 {
        scale
    } else {
        1.0
    }
}

/// Note the greatest magnitudes of elements from number `begin` on; whether all are finite.
pub(crate) fn measure(
    scaled: &Scaled,
    companions: &Companions,
    begin: u64,
    values: &[f32],
) -> bool {
    match Level::detect() {
        Level::Portable => measure_cells(scaled, companions, begin, values),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 | Level::Avx512 => {
            // SAFETY: this level is only made where these features were detected.
            unsafe { measure_avx2(scaled, companions, begin, values) }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,f16c")]
fn measure_avx2(scaled: &Scaled, companions: &Companions, begin: u64, values: &[f32]) -> bool {
    measure_cells(scaled, companions, begin, values)
}

#[inline(always)]
fn measure_cells(scaled: &Scaled, companions: &Companions, begin: u64, values: &[f32]) -> bool {
    let (rows, cell, across) = match scaled.scales {
        Scales::Grid { rows, columns, across } if !scaled.tensor_scale => (rows, columns, across),
        _ => (u64::MAX, u64::MAX, 1),
    };
    let mut finite = true;
    let mut element = begin;
    let mut rest = values;
    while !rest.is_empty() {
        let (row, column) = (element / scaled.columns, element % scaled.columns);
        let whole = rows >= scaled.rows && cell >= scaled.columns;
        let left =
            if whole { u64::MAX } else { (cell - column % cell).min(scaled.columns - column) };
        let (run, others) = rest.split_at(left.min(rest.len() as u64) as usize);
        let (greatest, all) = greatest(run);
        finite &= all;
        let at = &companions.greatest[(row / rows * across + column / cell) as usize];
        if at.load(Ordering::Relaxed) < greatest.to_bits() {
            at.fetch_max(greatest.to_bits(), Ordering::Relaxed);
        }
        element += run.len() as u64;
        rest = others;
    }
    finite
}

/// Encode whole rows, the first of which is number `row`; stored rows may have zeros at their end.
/// Whether all values were finite, where nothing was measured before.
pub(crate) fn encode(
    scaled: &Scaled,
    companions: &Companions,
    row: u64,
    values: &mut [f32],
    codes: &mut [u8],
) -> bool {
    encode_at(Level::detect(), scaled, companions, row, values, codes)
}

fn encode_at(
    level: Level,
    scaled: &Scaled,
    companions: &Companions,
    row: u64,
    values: &mut [f32],
    codes: &mut [u8],
) -> bool {
    match level {
        Level::Portable => encode_rows(scaled, companions, row, values, codes),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 | Level::Avx512 => {
            // SAFETY: this level is only made where these features were detected.
            unsafe { encode_avx2(scaled, companions, row, values, codes) }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,f16c")]
fn encode_avx2(
    scaled: &Scaled,
    companions: &Companions,
    row: u64,
    values: &mut [f32],
    codes: &mut [u8],
) -> bool {
    encode_rows(scaled, companions, row, values, codes)
}

#[inline(always)]
fn encode_rows(
    scaled: &Scaled,
    companions: &Companions,
    row: u64,
    values: &mut [f32],
    codes: &mut [u8],
) -> bool {
    if let Some(group) = scaled.rotation {
        values.chunks_exact_mut(group as usize).for_each(rotate);
    }
    let columns = scaled.columns as usize;
    let stored = scaled.stride as usize * scaled.code.bits() as usize / 8;
    let rows = values.chunks_exact_mut(columns).zip(codes.chunks_exact_mut(stored));
    let mut finite = true;
    for (index, (values, codes)) in rows.enumerate() {
        let used = columns * scaled.code.bits() as usize / 8;
        codes[used..].fill(0);
        finite &= encode_row(scaled, companions, row + index as u64, values, codes);
    }
    finite
}

#[inline(always)]
fn encode_row(
    scaled: &Scaled,
    companions: &Companions,
    row: u64,
    values: &mut [f32],
    codes: &mut [u8],
) -> bool {
    let cell = match scaled.scales {
        Scales::Grid { columns, .. } | Scales::Tiled { columns, .. } => columns as usize,
    };
    let whole = if scaled.tensor_scale { companions.tensor_scale() } else { 1.0 };
    let place = Line { scaled, companions, row, whole };
    // Small cells of a known size are unrolled.
    let (done, finite) = match cell {
        16 => place.cells::<16>(values, codes),
        32 => place.cells::<32>(values, codes),
        _ => (0, true),
    };
    let (values, codes) = (&mut values[done..], &mut codes[done * scaled.bits() / 8..]);
    let mut all = finite;
    for (index, values) in values.chunks_mut(cell).enumerate() {
        let codes = &mut codes[index * cell * scaled.bits() / 8..];
        all &= place.cell(done / cell + index, values, codes);
    }
    all
}

/// Cells whose scales are found together.
const CELLS: usize = 32;

/// A row of a tensor, and what is known before its cells are.
struct Line<'a> {
    scaled: &'a Scaled,
    companions: &'a Companions,
    row: u64,
    whole: f32,
}

impl Line<'_> {
    /// Encode all whole cells; how many elements they have, and whether all are finite.
    #[inline(always)]
    fn cells<const N: usize>(&self, values: &mut [f32], codes: &mut [u8]) -> (usize, bool) {
        let (cells, _) = values.as_chunks_mut::<N>();
        let (done, mut finite) = (cells.len() * N, true);
        let bytes = N * self.scaled.bits() / 8;
        let several = cells.chunks_mut(CELLS).zip(codes.chunks_mut(CELLS * bytes));
        for (number, (cells, codes)) in several.enumerate() {
            let (mut magnitudes, mut divisors) = ([0.0; CELLS], [1.0; CELLS]);
            for (magnitude, cell) in magnitudes.iter_mut().zip(&*cells) {
                let (greatest, all) = greatest(cell);
                (*magnitude, finite) = (greatest, finite & all);
            }
            self.scales(number * CELLS, &magnitudes[..cells.len()], &mut divisors);
            let codes = codes.chunks_exact_mut(bytes);
            for ((values, codes), divisor) in cells.iter_mut().zip(codes).zip(divisors) {
                self.divide(values, divisor, codes);
            }
        }
        (done, finite)
    }

    /// Encode a cell's values; whether all are finite, as far as that is looked at.
    #[inline(always)]
    fn cell(&self, number: usize, values: &mut [f32], codes: &mut [u8]) -> bool {
        let (greatest, finite) = match self.scaled.scales {
            Scales::Grid { rows, across, .. } if rows > 1 => {
                let place = (self.row / rows * across) as usize + number;
                let greatest = self.companions.greatest[place].load(Ordering::Relaxed);
                (f32::from_bits(greatest), true)
            }
            _ => greatest(values),
        };
        let mut divisor = [1.0];
        self.scales(number, &[greatest], &mut divisor);
        self.divide(values, divisor[0], codes);
        finite
    }

    #[inline(always)]
    fn divide(&self, values: &mut [f32], divisor: f32, codes: &mut [u8]) {
        for value in &mut *values {
            *value /= divisor;
        }
        store(self.scaled.code, values, codes);
    }

    /// Find the scales of cells from number `first` on and note them; what values are divided by.
    #[inline(always)]
    fn scales(&self, first: usize, greatest: &[f32], divisors: &mut [f32]) {
        let (code, whole) = (self.scaled.code, self.whole);
        let least = if code == Code::I8 { 1e-30 } else { 0.0 };
        let exact = |greatest: f32| (greatest / largest(code) / whole).max(least);
        match self.scaled.scale {
            Dtype::F8_E8M0 => self.each(first, greatest, divisors, |greatest| {
                let code = power_above(exact(greatest));
                ([code], positive(f32::from_bits(u32::from(code) << 23)))
            }),
            Dtype::F8_E4M3 => self.each(first, greatest, divisors, |greatest| {
                let code = eight::to_e4m3(exact(greatest));
                ([code], positive(whole * eight::from_e4m3(code)))
            }),
            Dtype::BF16 => self.each(first, greatest, divisors, |greatest| {
                let code = half::to_bf16(positive(exact(greatest)));
                (code.to_le_bytes(), positive(f32::from_bits(u32::from(code) << 16)))
            }),
            Dtype::F16 => self.each(first, greatest, divisors, |greatest| {
                let code = half::to_f16(positive(exact(greatest)));
                (code.to_le_bytes(), positive(half::from_f16(code)))
            }),
            _ => self.each(first, greatest, divisors, |greatest| {
                let scale = positive(exact(greatest));
                (scale.to_le_bytes(), scale)
            }),
        }
    }

    /// Make the scale of each cell, first all of them, and then note their bytes.
    #[inline(always)]
    fn each<const B: usize>(
        &self,
        first: usize,
        greatest: &[f32],
        divisors: &mut [f32],
        scale: impl Fn(f32) -> ([u8; B], f32),
    ) {
        let mut bytes = [[0; B]; CELLS];
        let made = bytes.iter_mut().zip(&mut *divisors);
        for ((bytes, divisor), greatest) in made.zip(greatest) {
            (*bytes, *divisor) = scale(*greatest);
        }
        for (index, bytes) in bytes[..greatest.len()].iter().enumerate() {
            let place = self.place(first + index) * B;
            for (at, byte) in self.companions.scales[place..place + B].iter().zip(bytes) {
                at.store(*byte, Ordering::Relaxed);
            }
        }
    }

    /// The number of a cell's scale.
    #[inline(always)]
    fn place(&self, number: usize) -> usize {
        match self.scaled.scales {
            Scales::Grid { rows, across, .. } => (self.row / rows * across) as usize + number,
            Scales::Tiled { tiles, .. } => tiled(self.row, number as u64, tiles),
        }
    }
}

/// The place of a scale in cuBLAS's tiles.
fn tiled(row: u64, cell: u64, tiles: u64) -> usize {
    let tile = row / 128 * tiles + cell / 4;
    (tile * 512 + row % 32 * 16 + row % 128 / 32 * 4 + cell % 4) as usize
}

/// The exponent of the least power of two that is not below a scale; 0 for none.
fn power_above(scale: f32) -> u8 {
    if scale <= 0.0 {
        return 0;
    }
    let bits = scale.max(f32::MIN_POSITIVE).to_bits();
    let above = (bits >> 23) + u32::from(bits & 0x7f_ffff != 0);
    above.min(254) as u8
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a panic is a failed test

    use super::super::round::{e2m1, whole};
    use super::*;

    /// Numbers of many sizes, with halves and what is not finite among them.
    fn values(count: usize) -> Vec<f32> {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from_bits((0x3800_0000 + (state >> 4 & 0x0a00_0000)) | (state & 0x8070_0000))
        };
        let mut all: Vec<f32> = (0..count).map(|_| next()).collect();
        (all[7], all[100], all[200]) = (f32::NAN, f32::INFINITY, f32::NEG_INFINITY);
        all[300..440].fill(0.0);
        all
    }

    #[test]
    fn every_processor_gives_the_same_codes_and_scales() {
        let rows = Scales::Grid { rows: 1, columns: 70, across: 1 };
        let cells = Scales::Grid { rows: 5, columns: 32, across: 3 };
        let tiles = |columns| Scales::Tiled { columns, tiles: 2 };
        for (code, scales, scale) in [
            (Code::E4M3, cells, Dtype::F32),
            (Code::E5M2, rows, Dtype::BF16),
            (Code::I8, rows, Dtype::F16),
            (Code::I4, rows, Dtype::F32),
            (Code::E4M3, tiles(32), Dtype::F8_E8M0),
            (Code::E2M1, tiles(16), Dtype::F8_E4M3),
        ] {
            let tensor_scale = scale == Dtype::F8_E4M3;
            let (rows, columns, stride, rotation) = (13, 70, 80, None);
            let (column_factors, factor) = (false, 1.0);
            let scaled = Scaled {
                code,
                rows,
                columns,
                stride,
                scales,
                scale,
                tensor_scale,
                column_factors,
                factor,
                rotation,
            };
            let sizes = scaled.sizes().unwrap();
            let encoded = |level| {
                let companions = Companions::new(&scaled, sizes[1]);
                let mut values = values(13 * 70);
                if scaled.is_measured() {
                    measure(&scaled, &companions, 0, &values);
                }
                let mut codes = vec![0; sizes[0] as usize];
                let (first, last) = values.split_at_mut(6 * 70);
                let (upper, lower) = codes.split_at_mut(sizes[0] as usize / 13 * 6);
                encode_at(level, &scaled, &companions, 0, first, upper);
                encode_at(level, &scaled, &companions, 6, last, lower);
                (codes, companions.scales(), companions.tensor_scale().to_bits())
            };
            assert_eq!(encoded(Level::Portable), encoded(Level::detect()), "{scaled:?}");
        }
    }

    #[test]
    fn halves_are_rounded_to_the_even_code() {
        let middles = [0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0, 9.0];
        assert_eq!(middles.map(e2m1), [0, 2, 2, 4, 4, 6, 6, 7]);
        assert_eq!(middles.map(|x| e2m1(-x)), [8, 10, 10, 12, 12, 14, 14, 15]);
        assert_eq!([0.0, 1.0, 1.5, 1e-45].map(power_above), [0, 127, 128, 1]);
        let rounded = [0.5, 1.5, -2.5, 126.7, -300.0].map(|x| whole(x, 127.0) as i8);
        assert_eq!(rounded, [0, 2, -2, 127, -127]);
    }
}
