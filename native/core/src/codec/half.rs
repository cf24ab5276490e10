//! The 16-bit formats.

use super::{decode_with, encode_with};

/// What differs between instruction sets; the results do not.
pub(crate) trait Codec {
    /// Decode half floats.
    fn decode_f16(source: &[u8], target: &mut [f32]);
    /// Encode half floats, rounding to nearest even.
    fn encode_f16(values: &[f32], target: &mut [u8]);
}

/// Integer and float32 arithmetic only.
pub(crate) struct Portable;

impl Codec for Portable {
    #[inline(always)]
    fn decode_f16(source: &[u8], target: &mut [f32]) {
        decode_with(source, target, |bytes| from_f16(u16::from_le_bytes(bytes)));
    }

    #[inline(always)]
    fn encode_f16(values: &[f32], target: &mut [u8]) {
        encode_with(values, target, |x| to_f16(x).to_le_bytes());
    }
}

/// The conversions of F16C. Used only where AVX2 and F16C were detected (`vm/simd.rs`).
#[cfg(target_arch = "x86_64")]
pub(crate) struct Avx2;

#[cfg(target_arch = "x86_64")]
impl Codec for Avx2 {
    #[inline(always)]
    fn decode_f16(source: &[u8], target: &mut [f32]) {
        // SAFETY: the features were detected; see the type's documentation.
        unsafe { x86::decode(source, target) }
    }

    #[inline(always)]
    fn encode_f16(values: &[f32], target: &mut [u8]) {
        // SAFETY: the features were detected; see the type's documentation.
        unsafe { x86::encode(values, target) }
    }
}

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

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! Eight halves at a time, the rest one by one.

    use std::arch::x86_64::{
        __m128i, __m256, _mm256_cvtph_ps, _mm256_cvtps_ph, _MM_FROUND_TO_NEAREST_INT,
    };

    use super::{Codec, Portable};

    #[target_feature(enable = "avx2,f16c")]
    #[inline]
    pub(super) fn decode(source: &[u8], target: &mut [f32]) {
        let (halves, _) = source.as_chunks::<16>();
        let (floats, rest) = target.as_chunks_mut::<8>();
        let whole = floats.len();
        for (float, half) in floats.iter_mut().zip(halves) {
            // SAFETY: both are plain vectors of 16 bytes; every bit pattern is valid.
            let half = unsafe { std::mem::transmute::<[u8; 16], __m128i>(*half) };
            let wide = _mm256_cvtph_ps(half);
            // SAFETY: both are plain vectors of 32 bytes; every bit pattern is valid.
            *float = unsafe { std::mem::transmute::<__m256, [f32; 8]>(wide) };
        }
        Portable::decode_f16(&source[whole * 16..], rest);
    }

    #[target_feature(enable = "avx2,f16c")]
    #[inline]
    pub(super) fn encode(values: &[f32], target: &mut [u8]) {
        let (floats, rest) = values.as_chunks::<8>();
        let (halves, tail) = target.split_at_mut(floats.len() * 16);
        for (float, half) in floats.iter().zip(halves.as_chunks_mut::<16>().0) {
            // SAFETY: both are plain vectors of 32 bytes; every bit pattern is valid.
            let wide = unsafe { std::mem::transmute::<[f32; 8], __m256>(*float) };
            let packed = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(wide);
            // SAFETY: both are plain vectors of 16 bytes; every bit pattern is valid.
            *half = unsafe { std::mem::transmute::<__m128i, [u8; 16]>(packed) };
        }
        Portable::encode_f16(rest, tail);
    }
}
