//! Which changes of task vectors count: trims and votes of single numbers.
//!
//! What a number is compared with, and in which order it is added, is what the operations of a method
//! would do one by one: the results are the same to the bit, NaN among them.

use crate::program::LEAST_WEIGHT;

/// `factor * (|d| >= least ? d : 0)`.
#[inline(always)]
pub(crate) fn trimmed(d: f32, least: f32, factor: f32) -> f32 {
    kept(d, d.abs() >= least) * factor
}

/// The sign of the sum; 0 has that of positive numbers.
#[inline(always)]
pub(crate) fn strongest<const N: usize>(lanes: [f32; N]) -> f32 {
    if sum(lanes, [true; N]) >= 0.0 {
        1.0
    } else {
        -1.0
    }
}

/// The sign that more values have; 0 if as many have the other.
#[inline(always)]
pub(crate) fn most<const N: usize>(lanes: [f32; N]) -> f32 {
    let mut signs = [0.0; N];
    for (sign, lane) in signs.iter_mut().zip(lanes) {
        *sign = sign_of(lane);
    }
    sign_of(sum(signs, [true; N]))
}

/// The sum of the values that have the elected sign, and which these are.
#[inline(always)]
pub(crate) fn mixed<const N: usize>(lanes: [f32; N], elected: f32) -> (f32, [bool; N]) {
    let mut agree = [false; N];
    for (agree, lane) in agree.iter_mut().zip(lanes) {
        *agree = lane * elected > 0.0;
    }
    (sum(lanes, agree), agree)
}

/// The sum of the weights that took part; 1 where there is nothing to divide by.
#[inline(always)]
pub(crate) fn divisor<const N: usize>(weights: &[f32; N], agree: [bool; N]) -> f32 {
    let sum = sum(*weights, agree);
    if sum.abs() < LEAST_WEIGHT as f32 {
        1.0
    } else {
        sum
    }
}

/// The sum of the numbers that count, from the first on.
#[inline(always)]
fn sum<const N: usize>(lanes: [f32; N], counts: [bool; N]) -> f32 {
    let mut sum = kept(lanes[0], counts[0]);
    for index in 1..N {
        sum += kept(lanes[index], counts[index]);
    }
    sum
}

#[inline(always)]
fn sign_of(x: f32) -> f32 {
    f32::from(u8::from(x > 0.0)) - f32::from(u8::from(x < 0.0))
}

/// A number if it counts, else 0.
#[inline(always)]
fn kept(x: f32, counts: bool) -> f32 {
    if counts {
        x
    } else {
        0.0
    }
}
