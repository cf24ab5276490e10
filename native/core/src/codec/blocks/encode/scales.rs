//! What scales come of: greatest magnitudes.

use super::super::round::largest;
use super::super::scaled::{Code, Scaled};
use crate::codec::{eight, half};
use crate::dtype::Dtype;

/// The same, or 1 of what is no positive number.
#[inline(always)]
pub(super) fn positive(scale: f32) -> f32 {
    if scale > 0.0 {
        scale
    } else {
        1.0
    }
}

/// How scales are made and stored.
#[derive(Clone, Copy)]
pub(super) struct Rule {
    dtype: Dtype,
    /// The largest number of a code.
    largest: f32,
    /// The scale of the whole tensor.
    pub(super) whole: f32,
    least: f32,
}

impl Rule {
    pub(super) fn new(scaled: &Scaled, whole: f32) -> Self {
        let least = if scaled.code == Code::I8 { 1e-30 } else { 0.0 };
        Self { dtype: scaled.scale, largest: largest(scaled.code), whole, least }
    }

    /// Make the scale of each greatest magnitude: what values are divided by takes its place, and
    /// `note` gets their bytes.
    #[inline(always)]
    pub(super) fn make<N: Note>(self, cells: &mut [f32], note: &N) {
        match self.dtype {
            Dtype::F8_E8M0 => each(cells, note, |greatest| {
                let code = power_above(self.exact(greatest));
                ([code], f32::from_bits(u32::from(code) << 23))
            }),
            Dtype::F8_E4M3 => each(cells, note, |greatest| {
                let code = eight::to_e4m3(self.exact(greatest));
                ([code], self.whole * eight::from_e4m3(code))
            }),
            Dtype::BF16 => each(cells, note, |greatest| {
                let code = half::to_bf16(positive(self.exact(greatest)));
                (code.to_le_bytes(), f32::from_bits(u32::from(code) << 16))
            }),
            Dtype::F16 => each(cells, note, |greatest| {
                let code = half::to_f16(positive(self.exact(greatest)));
                (code.to_le_bytes(), half::from_f16(code))
            }),
            _ => each(cells, note, |greatest| {
                let scale = positive(self.exact(greatest));
                (scale.to_le_bytes(), scale)
            }),
        }
    }

    /// The scale that takes a magnitude to the largest number.
    #[inline(always)]
    fn exact(self, greatest: f32) -> f32 {
        (greatest / self.largest / self.whole).max(self.least)
    }
}

/// Where the bytes of scales go.
pub(super) trait Note {
    /// Note the bytes of all scales.
    fn note<const B: usize>(&self, bytes: &[[u8; B]]);
}

/// Cells whose scales are made together.
pub(super) const CELLS: usize = 32;

/// Make all scales first, and then note their bytes.
#[inline(always)]
fn each<const B: usize, N: Note>(
    cells: &mut [f32],
    note: &N,
    scale: impl Fn(f32) -> ([u8; B], f32),
) {
    let mut bytes = [[0; B]; CELLS];
    for (bytes, cell) in bytes.iter_mut().zip(&mut *cells) {
        let (stored, divisor) = scale(*cell);
        (*bytes, *cell) = (stored, positive(divisor));
    }
    note.note(&bytes[..cells.len()]);
}

/// The exponent of the least power of two that is not below a scale; 0 for none.
#[inline(always)]
pub(super) fn power_above(scale: f32) -> u8 {
    if scale <= 0.0 {
        return 0;
    }
    let bits = scale.max(f32::MIN_POSITIVE).to_bits();
    let above = (bits >> 23) + u32::from(bits & 0x7f_ffff != 0);
    above.min(254) as u8
}
