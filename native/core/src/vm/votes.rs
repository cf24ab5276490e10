//! Loops of the instructions for task vectors: see [`crate::program`]'s groups.

use super::block::Strip;
use crate::codec::voting::{divisor, mixed, most, strongest, trimmed};
use crate::program::stage::VOTERS;

/// `factor * (|d| >= least ? d : 0)`, of `d = x - y`, or `x` if there is no `y`.
#[inline(always)]
pub(super) fn trim(target: &mut Strip, x: &Strip, y: Option<&Strip>, least: f32, factor: f32) {
    if let Some(y) = y {
        for ((target, x), y) in target.iter_mut().zip(x).zip(y) {
            *target = trimmed(*x - *y, least, factor);
        }
    } else {
        for (target, x) in target.iter_mut().zip(x) {
            *target = trimmed(*x, least, factor);
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
        (true, None) => elect_strip(target, values, most, plain),
        (false, None) => elect_strip(target, values, strongest, plain),
        (true, Some(weights)) => {
            elect_strip(target, values, most, |mixed, agree| mixed / divisor(weights, agree));
        }
        (false, Some(weights)) => {
            elect_strip(target, values, strongest, |mixed, agree| mixed / divisor(weights, agree));
        }
    }
}

#[inline(always)]
fn elect_strip<const N: usize>(
    target: &mut Strip,
    values: [&Strip; N],
    elect: impl Fn([f32; N]) -> f32,
    finish: impl Fn(f32, [bool; N]) -> f32,
) {
    for (index, target) in target.iter_mut().enumerate() {
        let mut lanes = [0.0; N];
        for (lane, values) in lanes.iter_mut().zip(values) {
            *lane = values[index];
        }
        let (sum, agree) = mixed(lanes, elect(lanes));
        *target = finish(sum, agree);
    }
}
