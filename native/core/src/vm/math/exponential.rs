//! exp, log and what is built from them.

use std::f64::consts::LOG2_E;

use super::{polynomial, ROUNDER};

/// ln 2 with so few bits that its product with an exponent is exact, and the rest.
const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;

/// Beyond this, e^x is no float32 but 0 or infinity.
const LIMIT: f64 = 150.0;

/// 1/13! … 1/2!.
const EXP: [f64; 12] = [
    1.605_904_383_682_161_3e-10,
    2.087_675_698_786_81e-9,
    2.505_210_838_544_172e-8,
    2.755_731_922_398_589_3e-7,
    2.755_731_922_398_589_3e-6,
    2.480_158_730_158_73e-5,
    1.984_126_984_126_984e-4,
    1.388_888_888_888_889e-3,
    8.333_333_333_333_333e-3,
    4.166_666_666_666_666_4e-2,
    1.666_666_666_666_666_6e-1,
    0.5,
];

/// 1/21, 1/19 … 1/3.
const LOG: [f64; 10] = [
    1.0 / 21.0,
    1.0 / 19.0,
    1.0 / 17.0,
    1.0 / 15.0,
    1.0 / 13.0,
    1.0 / 11.0,
    1.0 / 9.0,
    1.0 / 7.0,
    1.0 / 5.0,
    1.0 / 3.0,
];

/// The bits of the square root of one half; mantissas are taken from there to its double.
const ROOT_HALF: u64 = 0x3fe6_a09e_667f_3bcd;
const ONE: u64 = 0x3ff0_0000_0000_0000;

/// e^x = scale * (1 + rest): (scale, rest).
#[inline(always)]
fn exp_parts(x: f64) -> (f64, f64) {
    let above = if x > LIMIT { LIMIT } else { x };
    let x = if above < -LIMIT { -LIMIT } else { above };
    let shifted = x * LOG2_E + ROUNDER;
    let k = shifted - ROUNDER;
    let r = (x - k * LN2_HIGH) - k * LN2_LOW;
    let rest = r + r * r * polynomial(r, EXP);
    // The whole number stands in the low bits; moved up it is an exponent.
    let scale = f64::from_bits((shifted.to_bits() << 52).wrapping_add(ONE));
    (scale, rest)
}

#[inline(always)]
fn exp_wide(x: f64) -> f64 {
    let (scale, rest) = exp_parts(x);
    scale + scale * rest
}

/// The logarithm of a positive, finite float32; other arguments give rubbish.
#[inline(always)]
fn log_wide(x: f64) -> f64 {
    let shifted = x.to_bits().wrapping_add(ONE - ROOT_HALF);
    // As the low bits of 2^52 + exponent, the exponent becomes a float64 without conversion.
    let biased = f64::from_bits((shifted >> 52) | 0x4330_0000_0000_0000);
    let exponent = biased - (4_503_599_627_370_496.0 + 1023.0);
    let m = f64::from_bits((shifted & 0x000f_ffff_ffff_ffff).wrapping_add(ROOT_HALF));
    let s = (m - 1.0) / (m + 1.0);
    let z = s * s;
    let log_m = 2.0 * s + 2.0 * s * (z * polynomial(z, LOG));
    exponent * LN2_HIGH + (exponent * LN2_LOW + log_m)
}

/// The logarithm of the absolute value, with 0 and infinity.
#[inline(always)]
fn log_abs(x: f64) -> f64 {
    let magnitude = x.abs();
    let finite = log_wide(magnitude);
    let zero = if magnitude == 0.0 { f64::NEG_INFINITY } else { finite };
    if magnitude < f64::INFINITY {
        zero
    } else {
        magnitude // infinity and NaN
    }
}

#[inline(always)]
pub(in crate::vm) fn exp(x: f32) -> f32 {
    exp_wide(f64::from(x)) as f32
}

#[inline(always)]
pub(in crate::vm) fn log(x: f32) -> f32 {
    let result = log_abs(f64::from(x)) as f32;
    if x < 0.0 {
        f32::NAN
    } else {
        result
    }
}

/// (e^2x - 1) / (e^2x + 1), without the loss near 0.
#[inline(always)]
pub(in crate::vm) fn tanh(x: f32) -> f32 {
    let (scale, rest) = exp_parts(2.0 * f64::from(x).abs());
    let less_one = scale * rest + (scale - 1.0);
    ((less_one / (less_one + 2.0)) as f32).copysign(x)
}

/// |x|^y, but for the cases that [`pow_special`] puts right.
#[inline(always)]
pub(in crate::vm) fn pow_magnitude(x: f32, y: f32) -> f32 {
    exp_wide(f64::from(y) * log_abs(f64::from(x))) as f32
}

/// x^y from its magnitude: the signs and special cases of C.
#[inline(always)]
pub(in crate::vm) fn pow_special(magnitude: f32, x: f32, y: f32) -> f32 {
    let whole = y.trunc() == y;
    let odd = (0.5 * y).trunc() != 0.5 * y;
    let negative = x.to_bits() & 0x8000_0000;
    let sign = if odd { negative } else { 0 };
    let signed = f32::from_bits(magnitude.to_bits() | sign);
    let no_root = if x < 0.0 { f32::NAN } else { magnitude };
    let fraction = if x == f32::NEG_INFINITY { magnitude } else { no_root };
    let result = if whole { signed } else { fraction };
    let base = if y.abs() == f32::INFINITY { x.abs() } else { x };
    let base = if y == 0.0 { 1.0 } else { base };
    if base == 1.0 {
        1.0
    } else {
        result
    }
}
