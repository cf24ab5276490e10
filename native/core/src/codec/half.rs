//! The 16-bit formats, by integer and float32 arithmetic.

/// Exact for every half float.
#[inline(always)]
pub(super) fn from_f16(half: u16) -> f32 {
    let sign = u32::from(half & 0x8000) << 16;
    let magnitude = u32::from(half & 0x7fff);
    let finite = widened::<10, 15>(magnitude);
    let special = 0x7f80_0000 | (magnitude << 13) | (u32::from(magnitude > 0x7c00) << 22);
    let bits = if magnitude >= 0x7c00 { special } else { finite };
    f32::from_bits(bits | sign)
}

/// The bits of a finite number of so many mantissa bits and that bias, as float32.
///
/// A subnormal's mantissa becomes a number by itself: float32 subnormals on the way would be
/// right too, but processors take a hundred times as long for them.
#[inline(always)]
pub(super) fn widened<const MANTISSA: u32, const BIAS: u32>(magnitude: u32) -> u32 {
    let normal = (magnitude << (23 - MANTISSA)) + ((127 - BIAS) << 23);
    let unit = f32::from_bits((128 - BIAS - MANTISSA) << 23);
    let subnormal = (magnitude as i32 as f32 * unit).to_bits();
    if magnitude < 1 << MANTISSA {
        subnormal
    } else {
        normal
    }
}

/// Round to nearest even; adding one half aligns a subnormal's last bit with that of the sum.
#[inline(always)]
pub(super) fn to_f16(value: f32) -> u16 {
    let bits = value.to_bits();
    let magnitude = bits & 0x7fff_ffff;
    let rebiased = magnitude.wrapping_sub(112 << 23);
    let normal = rebiased.wrapping_add(0xfff + ((rebiased >> 13) & 1)) >> 13;
    let subnormal = (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(0x3f00_0000);
    let nan = 0x7e00 | ((magnitude >> 13) & 0x3ff);
    let finite = if magnitude < 0x3880_0000 { subnormal } else { normal };
    let limited = if magnitude >= 0x477f_f000 { 0x7c00 } else { finite };
    let result = if magnitude > 0x7f80_0000 { nan } else { limited };
    (result | ((bits >> 16) & 0x8000)) as u16
}

/// Round to nearest even.
#[inline(always)]
pub(super) fn to_bf16(value: f32) -> u16 {
    if value.is_nan() {
        ((value.to_bits() | 0x0040_0000) >> 16) as u16
    } else {
        finite_to_bf16(value)
    }
}

/// The same of what is no NaN; a NaN that comes of arithmetic stays one too.
#[inline(always)]
pub(super) fn finite_to_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    (bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16) as u16
}
