//! The elementwise operations, each a loop over a strip.
//!
//! Truths are 0 and 1. Nothing here may depend on the instruction set: only exactly rounded
//! operations of IEEE 754, and [`super::math`] which is built from them. Loops are `for` loops:
//! `for_each` and `fold` may stay functions of their own, without the instruction set.

use super::block::{Source, Strip};
use super::math;
use crate::program::{Binary, Unary};

#[inline(always)]
fn map(target: &mut Strip, x: &Strip, f: impl Fn(f32) -> f32) {
    for (target, x) in target.iter_mut().zip(x) {
        *target = f(*x);
    }
}

#[inline(always)]
fn zip(target: &mut Strip, x: Source, y: Source, f: impl Fn(f32, f32) -> f32) {
    match (x, y) {
        (Source::Strip(x), Source::Strip(y)) => {
            for ((target, x), y) in target.iter_mut().zip(x).zip(y) {
                *target = f(*x, *y);
            }
        }
        (Source::Strip(x), Source::Splat(y)) => map(target, x, |x| f(x, y)),
        (Source::Splat(x), Source::Strip(y)) => map(target, y, |y| f(x, y)),
        (Source::Splat(x), Source::Splat(y)) => target.fill(f(x, y)),
    }
}

#[inline(always)]
fn truth(value: bool) -> f32 {
    f32::from(u8::from(value))
}

/// `target = op(x)`.
#[inline(always)]
pub(super) fn unary(op: Unary, target: &mut Strip, x: &Strip) {
    match op {
        Unary::Neg => map(target, x, |x| -x),
        Unary::Abs => map(target, x, f32::abs),
        Unary::Sign => map(target, x, |x| truth(x > 0.0) - truth(x < 0.0)),
        Unary::Sqrt => map(target, x, f32::sqrt),
        Unary::Square => map(target, x, |x| x * x),
        Unary::Exp => map(target, x, math::exp),
        Unary::Log => map(target, x, math::log),
        Unary::Sin => periodic(target, x, math::sin, math::large_sin),
        Unary::Cos => periodic(target, x, math::cos, math::large_cos),
        Unary::Acos => map(target, x, math::acos),
        Unary::Tanh => map(target, x, math::tanh),
        Unary::Floor => map(target, x, f32::floor),
        Unary::Ceil => map(target, x, f32::ceil),
        Unary::Trunc => map(target, x, f32::trunc),
        Unary::Round => map(target, x, f32::round_ties_even),
        Unary::IsNan => map(target, x, |x| truth(x.is_nan())),
        Unary::IsFinite => map(target, x, |x| truth(x.is_finite())),
        Unary::LogicalNot => map(target, x, |x| truth(x == 0.0)),
    }
}

/// `target = op(x, y)`.
#[inline(always)]
pub(super) fn binary(op: Binary, target: &mut Strip, x: Source, y: Source) {
    match op {
        Binary::Add => zip(target, x, y, |x, y| x + y),
        Binary::Subtract => zip(target, x, y, |x, y| x - y),
        Binary::Multiply => zip(target, x, y, |x, y| x * y),
        Binary::Divide => zip(target, x, y, |x, y| x / y),
        Binary::Pow => pow(target, x, y),
        Binary::Minimum => zip(target, x, y, minimum),
        Binary::Maximum => zip(target, x, y, maximum),
        Binary::Copysign => zip(target, x, y, f32::copysign),
        Binary::Less => zip(target, x, y, |x, y| truth(x < y)),
        Binary::LessEqual => zip(target, x, y, |x, y| truth(x <= y)),
        Binary::Greater => zip(target, x, y, |x, y| truth(x > y)),
        Binary::GreaterEqual => zip(target, x, y, |x, y| truth(x >= y)),
        Binary::Equal => zip(target, x, y, |x, y| truth(x == y)),
        Binary::NotEqual => zip(target, x, y, |x, y| truth(x != y)),
        Binary::LogicalAnd => zip(target, x, y, |x, y| x * y),
        Binary::LogicalOr => zip(target, x, y, |x, y| truth(x + y != 0.0)),
    }
}

/// `target = op(x * scale, y * scale)`, a sum or a difference; a product with 1 is exact.
#[inline(always)]
pub(super) fn scaled(op: Binary, target: &mut Strip, x: (&Strip, f32), y: (&Strip, f32)) {
    let ((x, s), (y, t)) = (x, y);
    let (x, y) = (Source::Strip(x), Source::Strip(y));
    match op {
        Binary::Subtract => zip(target, x, y, |x, y| x * s - y * t),
        _ => zip(target, x, y, |x, y| x * s + y * t),
    }
}

/// `target = condition ? x : y`.
#[inline(always)]
pub(super) fn select(target: &mut Strip, condition: &Strip, x: &Strip, y: &Strip) {
    let arguments = condition.iter().zip(x).zip(y);
    for (target, ((condition, x), y)) in target.iter_mut().zip(arguments) {
        // Masks of bits: of a choice the compiler makes a jump per element.
        let mask = u32::from(*condition != 0.0).wrapping_neg();
        *target = f32::from_bits((x.to_bits() & mask) | (y.to_bits() & !mask));
    }
}

/// A function that has other code for arguments that are large.
#[inline(always)]
fn periodic(target: &mut Strip, x: &Strip, f: impl Fn(f32) -> f32, large: fn(f32) -> f32) {
    map(target, x, f);
    for (target, x) in target.iter_mut().zip(x) {
        if math::is_large(*x) {
            *target = large(*x);
        }
    }
}

/// A power of two is a product: the exact square rounded once, as through float64.
#[inline(always)]
fn pow(target: &mut Strip, x: Source, y: Source) {
    if let (Source::Strip(x), Source::Splat(2.0)) = (x, y) {
        return map(target, x, |x| x * x);
    }
    // Two loops: one would be too much for the compiler to make vector code of.
    zip(target, x, y, math::pow_magnitude);
    update(target, x, y, math::pow_special);
}

/// `target = f(target, x, y)`.
#[inline(always)]
fn update(target: &mut Strip, x: Source, y: Source, f: impl Fn(f32, f32, f32) -> f32) {
    match (x, y) {
        (Source::Strip(x), Source::Strip(y)) => {
            for ((t, x), y) in target.iter_mut().zip(x).zip(y) {
                *t = f(*t, *x, *y);
            }
        }
        (Source::Strip(x), Source::Splat(y)) => {
            for (t, x) in target.iter_mut().zip(x) {
                *t = f(*t, *x, y);
            }
        }
        (Source::Splat(x), Source::Strip(y)) => {
            for (t, y) in target.iter_mut().zip(y) {
                *t = f(*t, x, *y);
            }
        }
        (Source::Splat(x), Source::Splat(y)) => {
            for t in target {
                *t = f(*t, x, y);
            }
        }
    }
}

/// NaN if either is; the second of equals, as torch's vector code has it.
#[inline(always)]
fn minimum(x: f32, y: f32) -> f32 {
    let least = if x < y { x } else { y };
    if x.is_nan() {
        x
    } else {
        least
    }
}

/// NaN if either is; the second of equals, as torch's vector code has it.
#[inline(always)]
fn maximum(x: f32, y: f32) -> f32 {
    let greatest = if x > y { x } else { y };
    if x.is_nan() {
        x
    } else {
        greatest
    }
}
