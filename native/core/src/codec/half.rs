//! The 16-bit formats, by integer and float32 arithmetic.

/// Exact for every half float: a product with a power of two also makes subnormals right.
#[inline(always)]
pub(super) fn from_f16(half: u16) -> f32 {
    let sign = u32::from(half & 0x8000) << 16;
    let magnitude = u32::from(half & 0x7fff);
    let finite = f32::from_bits(magnitude << 13) * f32::from_bits(0x7780_0000); // 2^112
    let special = 0x7f80_0000 | (magnitude << 13) | (u32::from(magnitude > 0x7c00) << 22);
    let bits = if magnitude >= 0x7c00 { special } else { finite.to_bits() };
    f32::from_bits(bits | sign)
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
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
    let nan = bits | 0x0040_0000;
    let result = if bits & 0x7fff_ffff > 0x7f80_0000 { nan } else { rounded };
    (result >> 16) as u16
}
