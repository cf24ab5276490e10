//! Between the bytes of a file and float32.
//!
//! Decoding is exact but for F64, which is rounded to nearest even; encoding rounds once, to
//! nearest even. F8 values beyond the largest, infinities too, become the largest. A NaN stays
//! a NaN of the same sign, made quiet.

mod eight;
mod half;
mod isa;
mod stochastic;

pub(crate) use isa::{Isa, Portable};
pub(crate) use stochastic::encode_by_chance;

#[cfg(target_arch = "x86_64")]
pub(crate) use isa::Avx2;

use crate::dtype::Dtype;

/// Decode as many values as `target` holds.
#[inline(always)]
pub(crate) fn decode<I: Isa>(dtype: Dtype, source: &[u8], target: &mut [f32]) {
    match dtype {
        Dtype::F16 => I::decode_f16(source, target),
        Dtype::BF16 => decode_with(source, target, |bytes| {
            f32::from_bits(quiet(u32::from(u16::from_le_bytes(bytes)) << 16))
        }),
        Dtype::F32 => decode_with(source, target, |bytes| {
            let bits = quiet(u32::from_le_bytes(bytes));
            f32::from_bits(bits)
        }),
        Dtype::F64 => decode_with(source, target, |bytes| f64::from_le_bytes(bytes) as f32),
        Dtype::F8_E4M3 => decode_with(source, target, |[byte]: [u8; 1]| eight::from_e4m3(byte)),
        Dtype::F8_E5M2 => decode_with(source, target, |[byte]: [u8; 1]| eight::from_e5m2(byte)),
        _ => {} // jobs are refused other types before a run starts
    }
}

/// Encode values; false if one of them is not finite in the type.
#[inline(always)]
pub(crate) fn encode<I: Isa>(dtype: Dtype, values: &[f32], target: &mut [u8]) -> bool {
    match dtype {
        Dtype::F16 => I::encode_f16(values, target),
        Dtype::BF16 => encode_with(values, target, |x| half::to_bf16(x).to_le_bytes()),
        Dtype::F32 => encode_with(values, target, f32::to_le_bytes),
        Dtype::F64 => encode_with(values, target, |x| f64::from(x).to_le_bytes()),
        Dtype::F8_E4M3 => encode_with(values, target, |x| [eight::to_e4m3(x)]),
        Dtype::F8_E5M2 => encode_with(values, target, |x| [eight::to_e5m2(x)]),
        _ => {} // jobs are refused other types before a run starts
    }
    all_below(values, limit(dtype))
}

/// The least magnitude that is not finite in the type.
#[inline(always)]
fn limit(dtype: Dtype) -> f32 {
    match dtype {
        Dtype::F16 => 65520.0,
        Dtype::BF16 => f32::from_bits(0x7f7f_8000),
        _ => f32::INFINITY,
    }
}

/// Whether no value is a NaN or as large as the limit.
#[inline(always)]
pub(crate) fn all_below(values: &[f32], limit: f32) -> bool {
    // Magnitudes are in the order of their bits, NaN above all; a maximum of integers is the
    // cheapest loop there is.
    let mut greatest = 0;
    for value in values {
        greatest = greatest.max(value.to_bits() & 0x7fff_ffff);
    }
    greatest < limit.to_bits()
}

#[inline(always)]
fn decode_with<const N: usize>(source: &[u8], target: &mut [f32], f: impl Fn([u8; N]) -> f32) {
    let (chunks, _) = source.as_chunks::<N>();
    for (target, bytes) in target.iter_mut().zip(chunks) {
        *target = f(*bytes);
    }
}

#[inline(always)]
fn encode_with<const N: usize>(values: &[f32], target: &mut [u8], f: impl Fn(f32) -> [u8; N]) {
    let (chunks, _) = target.as_chunks_mut::<N>();
    for (bytes, value) in chunks.iter_mut().zip(values) {
        *bytes = f(*value);
    }
}

/// Make a NaN quiet, as a conversion between formats does.
#[inline(always)]
fn quiet(bits: u32) -> u32 {
    let nan = bits & 0x7fff_ffff > 0x7f80_0000;
    bits | (u32::from(nan) << 22)
}
