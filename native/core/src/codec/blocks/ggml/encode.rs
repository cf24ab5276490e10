//! Values to blocks.
//!
//! What is not finite becomes zero, and is told of.

#![allow(non_camel_case_types)] // the formats' own names

use super::super::round::greatest;
use super::block::{store, Block};
use super::lanes::ALIGNER;
use super::superblocks::{Q4_K, Q5_K, Q6_K};
use super::Kind;
use crate::codec::Isa;

/// Encode whole blocks; whether all values are finite, and the scales that they need.
#[inline(always)]
pub(super) fn encode<I: Isa>(kind: Kind, values: &[f32], codes: &mut [u8]) -> bool {
    match kind {
        Kind::Q4_0 => blocks::<I, 32, 18, Q4_0>(values, codes),
        Kind::Q4_1 => blocks::<I, 32, 20, Q4_1>(values, codes),
        Kind::Q5_0 => blocks::<I, 32, 22, Q5_0>(values, codes),
        Kind::Q5_1 => blocks::<I, 32, 24, Q5_1>(values, codes),
        Kind::Q8_0 => blocks::<I, 32, 34, Q8_0>(values, codes),
        Kind::Q4_K => blocks::<I, 256, 144, Q4_K>(values, codes),
        Kind::Q5_K => blocks::<I, 256, 176, Q5_K>(values, codes),
        Kind::Q6_K => blocks::<I, 256, 210, Q6_K>(values, codes),
    }
}

/// Encode whole blocks of one kind.
#[inline(always)]
fn blocks<I: Isa, const N: usize, const B: usize, K: Block<N, B>>(
    values: &[f32],
    codes: &mut [u8],
) -> bool {
    let mut finite = true;
    for (values, block) in values.as_chunks::<N>().0.iter().zip(codes.as_chunks_mut::<B>().0) {
        if greatest(values).1 {
            finite &= K::encode::<I>(values, block);
        } else {
            finite = false;
            K::encode::<I>(&values.map(|x| if x.is_finite() { x } else { 0.0 }), block);
        }
    }
    finite
}

/// One over a number, zero for zero.
#[inline(always)]
fn inverse(value: f32) -> f32 {
    if value == 0.0 {
        0.0
    } else {
        1.0 / value
    }
}

/// Round to the nearest whole number, halves away from zero; the bits of that.
#[inline(always)]
fn rounded(value: f32) -> u32 {
    // The sum's last bits are the nearest whole number, which is even for halves.
    let near = (value.abs() + ALIGNER) - ALIGNER;
    let up = if value.abs() - near >= 0.5 { 1.0 } else { 0.0 };
    ((near + up).copysign(value) + ALIGNER).to_bits()
}

struct Q8_0;

impl Block<32, 34> for Q8_0 {
    #[inline(always)]
    fn encode<I: Isa>(values: &[f32; 32], block: &mut [u8; 34]) -> bool {
        let scale = greatest(values).0 / 127.0;
        let factor = inverse(scale);
        for (code, value) in block[2..].iter_mut().zip(values) {
            *code = rounded(value * factor) as u8;
        }
        store(block, 0, scale)
    }
}

/// The first of the values of the greatest magnitude.
#[inline(always)]
fn extreme(values: &[f32; 32]) -> f32 {
    values.iter().fold(0.0, |most: f32, x| if x.abs() > most.abs() { *x } else { most })
}

/// The least value and the greatest.
#[inline(always)]
fn range(values: &[f32; 32]) -> (f32, f32) {
    let (mut least, mut greatest) = (values[0], values[0]);
    for value in values {
        least = if *value < least { *value } else { least };
        greatest = if *value > greatest { *value } else { greatest };
    }
    (least, greatest)
}

/// How far values are above the least.
#[inline(always)]
fn above(values: &[f32; 32], least: f32) -> [f32; 32] {
    let mut above = *values;
    for value in &mut above {
        *value -= least;
    }
    above
}

/// Codes of values times a factor, after which `middle` is added and the fraction left out.
///
/// The sum is rounded once, as fused multiplications of ggml do it.
#[inline(always)]
fn codes(values: &[f32; 32], factor: f32, middle: f64, most: f32) -> [u8; 32] {
    let mut codes = [0; 32];
    for (code, value) in codes.iter_mut().zip(values) {
        let sum = (f64::from(*value) * f64::from(factor) + middle) as f32;
        let limited = if sum < most { sum } else { most };
        let near = (limited + ALIGNER) - ALIGNER;
        let down = if near > limited { 1.0 } else { 0.0 };
        *code = (near - down + ALIGNER).to_bits() as u8;
    }
    codes
}

/// Store the lower four bits of codes, the first half of them in the lower halves of bytes.
#[inline(always)]
fn nibbles(codes: &[u8; 32], bytes: &mut [u8]) {
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = codes[index] & 15 | codes[index + 16] << 4;
    }
}

/// Store the fifth bits of codes.
#[inline(always)]
fn fifths(codes: &[u8; 32], bytes: &mut [u8]) {
    let bits = codes.iter().rev().fold(0_u32, |bits, code| bits << 1 | u32::from(code >> 4));
    bytes.copy_from_slice(&bits.to_le_bytes());
}

struct Q4_0;

impl Block<32, 18> for Q4_0 {
    #[inline(always)]
    fn encode<I: Isa>(values: &[f32; 32], block: &mut [u8; 18]) -> bool {
        let scale = extreme(values) / -8.0;
        nibbles(&codes(values, inverse(scale), 8.5, 15.0), &mut block[2..]);
        store(block, 0, scale)
    }
}

struct Q5_0;

impl Block<32, 22> for Q5_0 {
    #[inline(always)]
    fn encode<I: Isa>(values: &[f32; 32], block: &mut [u8; 22]) -> bool {
        let scale = extreme(values) / -16.0;
        let codes = codes(values, inverse(scale), 16.5, 31.0);
        fifths(&codes, &mut block[2..6]);
        nibbles(&codes, &mut block[6..]);
        store(block, 0, scale)
    }
}

struct Q4_1;

impl Block<32, 20> for Q4_1 {
    #[inline(always)]
    fn encode<I: Isa>(values: &[f32; 32], block: &mut [u8; 20]) -> bool {
        let (least, greatest) = range(values);
        let scale = (greatest - least) / 15.0;
        nibbles(&codes(&above(values, least), inverse(scale), 0.5, 15.0), &mut block[4..]);
        store(block, 0, scale) & store(block, 2, least)
    }
}

struct Q5_1;

impl Block<32, 24> for Q5_1 {
    #[inline(always)]
    fn encode<I: Isa>(values: &[f32; 32], block: &mut [u8; 24]) -> bool {
        let (least, greatest) = range(values);
        let scale = (greatest - least) / 31.0;
        let codes = codes(&above(values, least), inverse(scale), 0.5, 31.0);
        fifths(&codes, &mut block[4..8]);
        nibbles(&codes, &mut block[8..]);
        store(block, 0, scale) & store(block, 2, least)
    }
}
