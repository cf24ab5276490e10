//! Between the bytes of a file and float32.
//!
//! Decoding is exact but for F64, which is rounded to nearest even; encoding rounds once, to
//! nearest even. F8 values beyond the largest, infinities too, become the largest. A NaN stays
//! a NaN of the same sign, made quiet.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub mod blocks;
#[cfg(target_arch = "x86_64")]
mod cells_avx2;
#[cfg(target_arch = "x86_64")]
mod cells_avx512;
mod eight;
pub(crate) mod formula;
mod half;
mod isa;
pub(crate) mod lanes;
pub(crate) mod pairs;
#[cfg(target_arch = "x86_64")]
mod quotients;
#[cfg(target_arch = "x86_64")]
mod rotation_x86;
#[cfg(target_arch = "x86_64")]
mod search_avx2;
mod stochastic;
pub(crate) mod voting;

pub(crate) use isa::{Isa, Portable};
pub(crate) use lanes::{change, combine, products, Summed};
pub(crate) use stochastic::encode_by_chance;

#[cfg(target_arch = "x86_64")]
pub(crate) use {avx2::Avx2, avx512::Avx512};

use crate::dtype::Dtype;

/// Decode as many values as `target` holds; false if one of them is not finite.
#[inline(always)]
pub(crate) fn decode<I: Isa>(dtype: Dtype, source: &[u8], target: &mut [f32]) -> bool {
    match dtype {
        Dtype::F16 => I::decode_f16(source, target),
        Dtype::BF16 => decode_with(source, target, |bytes| {
            f32::from_bits(quiet(u32::from(u16::from_le_bytes(bytes)) << 16))
        }),
        Dtype::F32 => return decode_f32(source, target),
        Dtype::F64 => decode_with(source, target, |bytes| f64::from_le_bytes(bytes) as f32),
        Dtype::F8_E4M3 => I::decode_e4m3(source, target),
        Dtype::F8_E5M2 => I::decode_e5m2(source, target),
        _ => {} // jobs are refused other types before a run starts
    }
    let source = &source[..target.len() * dtype.bytes()];
    match dtype.bytes() {
        1 | 2 => all_finite_bytes(dtype, source),
        _ => all_finite(target),
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
    is_finite_as(dtype, values, target)
}

/// Whether no value is a NaN or infinite, in float32 and as the bytes of the type that it became:
/// an 8-bit type limits what is infinite.
#[inline(always)]
fn is_finite_as(dtype: Dtype, values: &[f32], bytes: &[u8]) -> bool {
    match dtype.bytes() {
        2 => all_finite_bytes(dtype, bytes),
        _ => all_finite(values),
    }
}

/// Whether no number of a type of 8, 16 or 32 bits is a NaN or infinite.
///
/// Magnitudes are in the order of their bits, NaN above all: a maximum of integers is the cheapest
/// loop there is, the more so of short ones.
#[inline(always)]
pub(crate) fn all_finite_bytes(dtype: Dtype, bytes: &[u8]) -> bool {
    match dtype {
        Dtype::F16 | Dtype::BF16 => greatest_half(bytes) < infinity(dtype),
        Dtype::F32 => greatest_float(bytes) < f32::INFINITY.to_bits(),
        Dtype::F8_E5M2 => greatest_eight(bytes) < 0x7c,
        _ => greatest_eight(bytes) < 0x7f,
    }
}

/// The same of float32.
#[inline(always)]
pub(crate) fn all_finite(values: &[f32]) -> bool {
    let mut greatest = 0;
    for value in values {
        greatest = greatest.max(value.to_bits() & 0x7fff_ffff);
    }
    greatest < f32::INFINITY.to_bits()
}

/// The bits of infinity in a 16-bit type.
#[inline(always)]
fn infinity(dtype: Dtype) -> u16 {
    if dtype == Dtype::F16 {
        0x7c00
    } else {
        0x7f80
    }
}

/// The greatest magnitude of 16-bit numbers, as bits.
#[inline(always)]
fn greatest_half(bytes: &[u8]) -> u16 {
    let mut greatest = 0;
    for half in bytes.as_chunks::<2>().0 {
        greatest = greatest.max(u16::from_le_bytes(*half) & 0x7fff);
    }
    greatest
}

/// The greatest magnitude of float32, as bits.
#[inline(always)]
fn greatest_float(bytes: &[u8]) -> u32 {
    let mut greatest = 0;
    for float in bytes.as_chunks::<4>().0 {
        greatest = greatest.max(u32::from_le_bytes(*float) & 0x7fff_ffff);
    }
    greatest
}

/// The greatest magnitude of 8-bit numbers, as bits.
#[inline(always)]
fn greatest_eight(bytes: &[u8]) -> u8 {
    let mut greatest = 0;
    for byte in bytes {
        greatest = greatest.max(byte & 0x7f);
    }
    greatest
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

/// The same of F32, in one loop unless there is a NaN.
#[inline(always)]
fn decode_f32(source: &[u8], target: &mut [f32]) -> bool {
    let mut greatest = 0;
    for (target, bytes) in target.iter_mut().zip(source.as_chunks::<4>().0) {
        let bits = u32::from_le_bytes(*bytes);
        greatest = greatest.max((bits & 0x7fff_ffff) as i32);
        *target = f32::from_bits(bits);
    }
    let infinity = f32::INFINITY.to_bits() as i32;
    if greatest > infinity {
        for target in target {
            *target = f32::from_bits(quiet(target.to_bits()));
        }
    }
    greatest < infinity
}

/// Make a NaN quiet, as a conversion between formats does.
#[inline(always)]
fn quiet(bits: u32) -> u32 {
    let nan = bits & 0x7fff_ffff > 0x7f80_0000;
    bits | (u32::from(nan) << 22)
}
