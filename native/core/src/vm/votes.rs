//! Loops of the instructions for task vectors: see [`crate::program`]'s groups.
//!
//! What a number is compared with, and in which order it is added, is what the single operations
//! would do: the results are the same to the bit, NaN among them.

use super::block::Strip;
use crate::program::stage::VOTERS;
use crate::program::LEAST_WEIGHT;

/// `factor * (|d| >= least ? d : 0)`, of `d = x - y`, or `x` if there is no `y`.
#[inline(always)]
pub(super) fn trim(target: &mut Strip, x: &Strip, y: Option<&Strip>, least: f32, factor: f32) {
    let trimmed = |d: f32| kept(d, d.abs() >= least) * factor;
    if let Some(y) = y {
        for ((target, x), y) in target.iter_mut().zip(x).zip(y) {
            *target = trimmed(*x - *y);
        }
    } else {
        for (target, x) in target.iter_mut().zip(x) {
            *target = trimmed(*x);
        }
    }
}

/// The sum of those values that have the elected sign, divided by the sum of their weights if there
/// are any.
#[inline(always)]
pub(super) fn vote(
    target: &mut Strip,
    values: &[&Strip],
    by_count: bool,
    weights: Option<&[f32; VOTERS]>,
) {
    match values {
        [a, b] => vote_of(target, [a, b], by_count, weights),
        [a, b, c] => vote_of(target, [a, b, c], by_count, weights),
        [a, b, c, d] => vote_of(target, [a, b, c, d], by_count, weights),
        _ => {} // the compiler makes no others
    }
}

#[inline(always)]
fn vote_of<const N: usize>(
    target: &mut Strip,
    values: [&Strip; N],
    by_count: bool,
    weights: Option<&[f32; VOTERS]>,
) {
    let plain = |mixed, _| mixed;
    match (by_count, weights.and_then(|weights| weights.first_chunk::<N>())) {
        (true, None) => mix(target, values, most, plain),
        (false, None) => mix(target, values, strongest, plain),
        (true, Some(weights)) => {
            mix(target, values, most, |mixed, agree| mixed / divisor(weights, agree));
        }
        (false, Some(weights)) => {
            mix(target, values, strongest, |mixed, agree| mixed / divisor(weights, agree));
        }
    }
}

#[inline(always)]
fn mix<const N: usize>(
    target: &mut Strip,
    values: [&Strip; N],
    elect: impl Fn([f32; N]) -> f32,
    finish: impl Fn(f32, [bool; N]) -> f32,
) {
    for (index, target) in target.iter_mut().enumerate() {
        let (mut lanes, mut agree) = ([0.0; N], [false; N]);
        for (lane, values) in lanes.iter_mut().zip(values) {
            *lane = values[index];
        }
        let elected = elect(lanes);
        for (agree, lane) in agree.iter_mut().zip(lanes) {
            *agree = lane * elected > 0.0;
        }
        *target = finish(sum(lanes, agree), agree);
    }
}

/// The sign of the sum; 0 has that of positive numbers.
#[inline(always)]
fn strongest<const N: usize>(lanes: [f32; N]) -> f32 {
    if sum(lanes, [true; N]) >= 0.0 {
        1.0
    } else {
        -1.0
    }
}

/// The sign that more values have; 0 if as many have the other.
#[inline(always)]
fn most<const N: usize>(lanes: [f32; N]) -> f32 {
    let mut signs = [0.0; N];
    for (sign, lane) in signs.iter_mut().zip(lanes) {
        *sign = sign_of(lane);
    }
    sign_of(sum(signs, [true; N]))
}

/// The sum of the weights that took part; 1 where there is nothing to divide by.
#[inline(always)]
fn divisor<const N: usize>(weights: &[f32; N], agree: [bool; N]) -> f32 {
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
