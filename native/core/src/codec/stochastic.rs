//! Rounding up or down by chance: up with the probability by which a value is nearer to that.
//!
//! The mean of many roundings is the value itself. What the type holds exactly stays, and so does
//! everything that rounding to nearest makes infinite, limits or refuses.

use super::{encode, half, is_finite_as, Isa};
use crate::dtype::Dtype;

/// The least magnitudes that rounding to nearest makes infinite.
const INFINITE_F16: f32 = 65520.0;
const INFINITE_BF16: f32 = f32::from_bits(0x7f7f_8000);

/// Encode values with draws of [0, 1), one for each; false if one is not finite in the type.
#[inline(always)]
pub(crate) fn encode_by_chance<I: Isa>(
    dtype: Dtype,
    values: &[f32],
    draws: &[f32],
    target: &mut [u8],
) -> bool {
    let pairs = values.iter().copied().zip(draws.iter().copied());
    match dtype {
        Dtype::F16 => fill(pairs, target, |x, draw| to_f16(x, draw).to_le_bytes()),
        Dtype::BF16 => fill(pairs, target, |x, draw| to_bf16(x, draw).to_le_bytes()),
        Dtype::F8_E4M3 => fill(pairs, target, |x, draw| [to_eight::<3, 7>(x, draw, 448.0)]),
        Dtype::F8_E5M2 => fill(pairs, target, |x, draw| [to_eight::<2, 15>(x, draw, 57344.0)]),
        _ => return encode::<I>(dtype, values, target), // nothing to round
    }
    is_finite_as(dtype, values, target)
}

#[inline(always)]
fn fill<const N: usize>(
    pairs: impl Iterator<Item = (f32, f32)>,
    target: &mut [u8],
    f: impl Fn(f32, f32) -> [u8; N],
) {
    let (chunks, _) = target.as_chunks_mut::<N>();
    for (bytes, (value, draw)) in chunks.iter_mut().zip(pairs) {
        *bytes = f(value, draw);
    }
}

#[inline(always)]
fn to_f16(value: f32, draw: f32) -> u16 {
    let absolute = value.abs();
    let finite = magnitude::<10, 15>(absolute.min(65504.0), draw) as u16;
    let sign = (value.to_bits() >> 16) as u16 & 0x8000;
    if absolute < INFINITE_F16 {
        sign | finite
    } else {
        half::to_f16(value)
    }
}

/// The bits of a float32 go on below those of a BF16: a number of as many bits is added to them.
#[inline(always)]
fn to_bf16(value: f32, draw: f32) -> u16 {
    let absolute = value.abs();
    let chance = (draw * 65536.0) as i32 as u32;
    let finite = (absolute.to_bits().wrapping_add(chance) >> 16).min(0x7f7f) as u16;
    let sign = (value.to_bits() >> 16) as u16 & 0x8000;
    if absolute < INFINITE_BF16 {
        sign | finite
    } else {
        half::to_bf16(value)
    }
}

#[inline(always)]
fn to_eight<const MANTISSA: u32, const BIAS: u32>(value: f32, draw: f32, largest: f32) -> u8 {
    let finite = magnitude::<MANTISSA, BIAS>(value.abs().min(largest), draw) as u8;
    let sign = (value.to_bits() >> 24) as u8 & 0x80;
    sign | if value.is_nan() { 0x7f } else { finite }
}

/// The bits without sign of a finite value that is not beyond the type's largest.
#[inline(always)]
fn magnitude<const MANTISSA: u32, const BIAS: u32>(absolute: f32, draw: f32) -> u32 {
    let least_normal = 128 - BIAS;
    let exponent = (absolute.to_bits() >> 23).max(least_normal);
    // In units of the last place, which are a power of two: nothing is lost.
    let scaled = absolute * f32::from_bits((254 + MANTISSA - exponent) << 23);
    let below = scaled as i32;
    let up = u32::from(draw < scaled - below as f32);
    ((exponent - least_normal) << MANTISSA) + below as u32 + up
}
