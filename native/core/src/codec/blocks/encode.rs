//! Float32 to codes with scales, some rows of a tensor at a time.
//!
//! Where the scales of several rows depend on each other, the greatest magnitudes are looked for in
//! a pass of its own. A maximum does not depend on the order, so any number of threads gives the
//! same codes. Values that are not finite have no part in scales; NaN becomes a NaN where there is
//! one, else zero, and infinity the largest number.

use std::sync::atomic::{AtomicU32, AtomicU8, Ordering};

use super::rotation::rotate;
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

/// Note the greatest magnitudes of whole rows, the first of which is number `row`.
pub(crate) fn measure(scaled: &Scaled, companions: &Companions, row: u64, values: &[f32]) {
    let columns = scaled.columns as usize;
    let (across, rows, cell) = match scaled.scales {
        Scales::Grid { rows, columns, across } if !scaled.tensor_scale => {
            (across as usize, rows, columns as usize)
        }
        _ => (1, u64::MAX, columns),
    };
    for (index, values) in values.chunks_exact(columns).enumerate() {
        let first = ((row + index as u64) / rows) as usize * across;
        for (number, values) in values.chunks(cell).enumerate() {
            let greatest = greatest(values).to_bits();
            let at = &companions.greatest[first + number];
            if at.load(Ordering::Relaxed) < greatest {
                at.fetch_max(greatest, Ordering::Relaxed);
            }
        }
    }
}

/// Encode whole rows, the first of which is number `row`; stored rows may have zeros at their end.
pub(crate) fn encode(
    scaled: &Scaled,
    companions: &Companions,
    row: u64,
    values: &mut [f32],
    codes: &mut [u8],
) {
    encode_at(Level::detect(), scaled, companions, row, values, codes);
}

fn encode_at(
    level: Level,
    scaled: &Scaled,
    companions: &Companions,
    row: u64,
    values: &mut [f32],
    codes: &mut [u8],
) {
    match level {
        Level::Portable => encode_rows(scaled, companions, row, values, codes),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => {
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
) {
    encode_rows(scaled, companions, row, values, codes);
}

#[inline(always)]
fn encode_rows(
    scaled: &Scaled,
    companions: &Companions,
    row: u64,
    values: &mut [f32],
    codes: &mut [u8],
) {
    if let Some(group) = scaled.rotation {
        values.chunks_exact_mut(group as usize).for_each(rotate);
    }
    let columns = scaled.columns as usize;
    let stored = scaled.stride as usize * scaled.code.bits() as usize / 8;
    let rows = values.chunks_exact_mut(columns).zip(codes.chunks_exact_mut(stored));
    for (index, (values, codes)) in rows.enumerate() {
        let used = columns * scaled.code.bits() as usize / 8;
        codes[used..].fill(0);
        encode_row(scaled, companions, row + index as u64, values, codes);
    }
}

#[inline(always)]
fn encode_row(
    scaled: &Scaled,
    companions: &Companions,
    row: u64,
    values: &mut [f32],
    codes: &mut [u8],
) {
    let cell = match scaled.scales {
        Scales::Grid { columns, .. } | Scales::Tiled { columns, .. } => columns as usize,
    };
    let whole = if scaled.tensor_scale { companions.tensor_scale() } else { 1.0 };
    for (number, values) in values.chunks_mut(cell).enumerate() {
        let scale = scale_of(scaled, companions, row, number, values, whole);
        for value in &mut *values {
            *value /= scale;
        }
        let begin = number * cell;
        store(scaled.code, values, &mut codes[begin * scaled.code.bits() as usize / 8..]);
    }
}

/// Find the scale of a cell's values in a row, note it, and return what they are divided by.
#[inline(always)]
fn scale_of(
    scaled: &Scaled,
    companions: &Companions,
    row: u64,
    number: usize,
    values: &[f32],
    whole: f32,
) -> f32 {
    let (place, rows) = match scaled.scales {
        Scales::Grid { rows, across, .. } => ((row / rows * across) as usize + number, rows),
        Scales::Tiled { tiles, .. } => (tiled(row, number as u64, tiles), 1),
    };
    let greatest = if rows > 1 {
        f32::from_bits(companions.greatest[place].load(Ordering::Relaxed))
    } else {
        greatest(values)
    };
    let least = if scaled.code == Code::I8 { 1e-30 } else { 0.0 };
    let exact = (greatest / largest(scaled.code) / whole).max(least);
    let note = |bytes: &[u8]| {
        let at = &companions.scales[place * bytes.len()..];
        for (at, byte) in at.iter().zip(bytes) {
            at.store(*byte, Ordering::Relaxed);
        }
    };
    match scaled.scale {
        Dtype::F8_E8M0 => {
            let code = power_above(exact);
            note(&[code]);
            positive(f32::from_bits(u32::from(code) << 23))
        }
        Dtype::F8_E4M3 => {
            let code = eight::to_e4m3(exact);
            note(&[code]);
            positive(whole * eight::from_e4m3(code))
        }
        Dtype::BF16 => {
            let code = half::to_bf16(positive(exact));
            note(&code.to_le_bytes());
            positive(f32::from_bits(u32::from(code) << 16))
        }
        Dtype::F16 => {
            let code = half::to_f16(positive(exact));
            note(&code.to_le_bytes());
            positive(half::from_f16(code))
        }
        _ => {
            let scale = positive(exact);
            note(&scale.to_le_bytes());
            scale
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

/// The largest number of a code.
fn largest(code: Code) -> f32 {
    match code {
        Code::E4M3 => 448.0,
        Code::E5M2 => 57344.0,
        Code::I8 => 127.0,
        Code::E2M1 => 6.0,
        Code::I4 => 7.0,
    }
}

/// The greatest magnitude of those that are finite.
#[inline(always)]
fn greatest(values: &[f32]) -> f32 {
    let mut greatest = [0_u32; 8];
    let (eights, rest) = values.as_chunks::<8>();
    for eight in eights {
        for (greatest, value) in greatest.iter_mut().zip(eight) {
            *greatest = (*greatest).max(finite_magnitude(*value));
        }
    }
    let rest = rest.iter().map(|value| finite_magnitude(*value));
    f32::from_bits(greatest.into_iter().chain(rest).max().unwrap_or(0))
}

#[inline(always)]
fn finite_magnitude(value: f32) -> u32 {
    let magnitude = value.to_bits() & 0x7fff_ffff;
    if magnitude < 0x7f80_0000 {
        magnitude
    } else {
        0
    }
}

/// Round scaled values to codes.
#[inline(always)]
fn store(code: Code, values: &[f32], codes: &mut [u8]) {
    match code {
        Code::E4M3 => each(values, codes, eight::to_e4m3),
        Code::E5M2 => each(values, codes, eight::to_e5m2),
        Code::I8 => each(values, codes, |x| {
            let limited = x.clamp(-127.0, 127.0);
            whole(limited) as i32 as u8
        }),
        Code::E2M1 => {
            let (pairs, _) = values.as_chunks::<2>();
            for (code, [even, odd]) in codes.iter_mut().zip(pairs) {
                *code = e2m1(*even) << 4 | e2m1(*odd);
            }
        }
        Code::I4 => {
            let nibble = |x: f32| whole(x.clamp(-7.0, 7.0)) as i32 as u8 & 15;
            let (pairs, _) = values.as_chunks::<2>();
            for (code, [even, odd]) in codes.iter_mut().zip(pairs) {
                *code = nibble(*even) | nibble(*odd) << 4;
            }
        }
    }
}

#[inline(always)]
fn each(values: &[f32], codes: &mut [u8], round: impl Fn(f32) -> u8) {
    for (code, value) in codes.iter_mut().zip(values) {
        *code = round(*value);
    }
}

/// Round a small number to the nearest whole one, halves to even.
#[inline(always)]
fn whole(value: f32) -> f32 {
    // Beyond 2^23 a sum has whole numbers only.
    const ALIGNER: f32 = 12_582_912.0;
    (value + ALIGNER) - ALIGNER
}

/// Round to the nearest of eight magnitudes, from the middle of two to the even code.
#[inline(always)]
fn e2m1(value: f32) -> u8 {
    let size = value.abs();
    let above = [0.25, 1.25, 2.5, 5.0];
    let reached = [0.75, 1.75, 3.5];
    let mut code = (value.to_bits() >> 28) as u8 & 8;
    for least in above {
        code += u8::from(size > least);
    }
    for least in reached {
        code += u8::from(size >= least);
    }
    code
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a panic is a failed test

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
        assert_eq!([0.5, 1.5, -2.5, 126.7].map(whole), [0.0, 2.0, -2.0, 127.0]);
    }
}
