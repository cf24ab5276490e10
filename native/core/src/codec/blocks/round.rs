//! Scaled values to codes, and what scales come of.

use super::scaled::Code;
use crate::codec::eight;

/// The largest number of a code.
pub(super) fn largest(code: Code) -> f32 {
    match code {
        Code::E4M3 => 448.0,
        Code::E5M2 => 57344.0,
        Code::I8 => 127.0,
        Code::E2M1 => 6.0,
        Code::I4 => 7.0,
    }
}

/// The greatest magnitude of those that are finite, and whether all are.
#[inline(always)]
pub(super) fn greatest(values: &[f32]) -> (f32, bool) {
    let mut greatest = 0;
    for value in values {
        greatest = greatest.max(value.to_bits() & 0x7fff_ffff);
    }
    if greatest < 0x7f80_0000 {
        return (f32::from_bits(greatest), true);
    }
    let magnitudes = values.iter().map(|value| value.to_bits() & 0x7fff_ffff);
    let greatest = magnitudes.filter(|magnitude| *magnitude < 0x7f80_0000).max();
    (f32::from_bits(greatest.unwrap_or(0)), false)
}

/// Round scaled values to codes.
#[inline(always)]
pub(super) fn store(code: Code, values: &[f32], codes: &mut [u8]) {
    match code {
        Code::E4M3 => each(values, codes, eight::to_e4m3),
        Code::E5M2 => each(values, codes, eight::to_e5m2),
        Code::I8 => each(values, codes, |x| whole(x, 127.0) as u8),
        Code::E2M1 => {
            let (pairs, _) = values.as_chunks::<2>();
            for (code, [even, odd]) in codes.iter_mut().zip(pairs) {
                *code = eight::to_e2m1(*even) << 4 | eight::to_e2m1(*odd);
            }
        }
        Code::I4 => {
            let nibble = |x: f32| whole(x, 7.0) as u8 & 15;
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

/// Limit a number and round it to the nearest whole one, halves to even; the bits of that.
#[inline(always)]
pub(super) fn whole(value: f32, largest: f32) -> u32 {
    // The sum is between 2^23 and 2^24: its last bits are the whole number.
    const ALIGNER: f32 = 12_582_912.0;
    let above = if value > largest { largest } else { value };
    let limited = if above < -largest { -largest } else { above };
    (limited + ALIGNER).to_bits()
}
