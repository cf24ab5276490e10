//! The arithmetic of reductions, float64.

use crate::program::Reduction;

/// Sums of a slice that run side by side.
const LANES: usize = 16;

/// What a reduction of nothing is before [`finish`].
pub(super) fn start(op: Reduction) -> f64 {
    match op {
        Reduction::Min => f64::INFINITY,
        Reduction::Max => f64::NEG_INFINITY,
        Reduction::All => 1.0,
        _ => 0.0,
    }
}

/// The result, from what was folded and how many elements that were.
pub(super) fn finish(op: Reduction, folded: f64, count: u64) -> f64 {
    match op {
        Reduction::Mean => folded / count as f64,
        Reduction::VectorNorm => folded.sqrt(),
        _ => folded,
    }
}

/// Put two folded values together.
#[inline(always)]
pub(super) fn combine(op: Reduction, x: f64, y: f64) -> f64 {
    match op {
        Reduction::Min | Reduction::All => least(x, y),
        Reduction::Max | Reduction::Any => greatest(x, y),
        _ => x + y,
    }
}

/// NaN if either is.
#[inline(always)]
fn least(x: f64, y: f64) -> f64 {
    let least = if x < y { x } else { y };
    if x.is_nan() {
        x
    } else {
        least
    }
}

/// NaN if either is.
#[inline(always)]
fn greatest(x: f64, y: f64) -> f64 {
    let greatest = if x > y { x } else { y };
    if x.is_nan() {
        x
    } else {
        greatest
    }
}

/// Call `$run` with the way from elements to float64 and the way to put these together.
macro_rules! with {
    ($op:expr, $run:ident, $($argument:expr),*) => {
        match $op {
            Reduction::Sum | Reduction::Mean => {
                $run($($argument),*, |x, _| f64::from(x), |x, y| x + y)
            }
            Reduction::VectorNorm => {
                $run($($argument),*, |x, _| f64::from(x) * f64::from(x), |x, y| x + y)
            }
            Reduction::Vecdot => {
                $run($($argument),*, |x, y| f64::from(x) * f64::from(y), |x, y| x + y)
            }
            Reduction::Min | Reduction::All => $run($($argument),*, |x, _| f64::from(x), least),
            Reduction::Max | Reduction::Any => $run($($argument),*, |x, _| f64::from(x), greatest),
        }
    };
}

/// Fold a slice onto `folded`; `ys` is the second argument of a dot product, else `xs` again.
#[inline(always)]
pub(super) fn slice(op: Reduction, folded: f64, xs: &[f32], ys: &[f32]) -> f64 {
    with!(op, slice_with, start(op), folded, xs, ys)
}

/// What [`slice`] makes of sums of products of each lane and of the products after the last.
#[inline(always)]
pub(super) fn sums(folded: f64, lanes: &[f64], rest: &[f64]) -> f64 {
    let mut sum = folded;
    if !lanes.is_empty() {
        let mut all = 0.0;
        for lane in lanes {
            all += lane;
        }
        sum += all;
    }
    for product in rest {
        sum += product;
    }
    sum
}

#[inline(always)]
fn slice_with(
    start: f64,
    folded: f64,
    xs: &[f32],
    ys: &[f32],
    lift: impl Fn(f32, f32) -> f64,
    combine: impl Fn(f64, f64) -> f64,
) -> f64 {
    let (x_lanes, x_rest) = xs.as_chunks::<LANES>();
    let (y_lanes, y_rest) = ys.as_chunks::<LANES>();
    let mut folded = folded;
    if !x_lanes.is_empty() {
        let mut lanes = [start; LANES];
        for (xs, ys) in x_lanes.iter().zip(y_lanes) {
            for ((lane, x), y) in lanes.iter_mut().zip(xs).zip(ys) {
                *lane = combine(*lane, lift(*x, *y));
            }
        }
        folded = combine(folded, lanes.into_iter().fold(start, &combine));
    }
    let rest = x_rest.iter().zip(y_rest);
    rest.fold(folded, |folded, (x, y)| combine(folded, lift(*x, *y)))
}

/// Fold each element onto the value of its column.
#[inline(always)]
pub(super) fn columns(op: Reduction, folded: &mut [f64], xs: &[f32], ys: &[f32]) {
    with!(op, columns_with, folded, xs, ys);
}

#[inline(always)]
fn columns_with(
    folded: &mut [f64],
    xs: &[f32],
    ys: &[f32],
    lift: impl Fn(f32, f32) -> f64,
    combine: impl Fn(f64, f64) -> f64,
) {
    for ((folded, x), y) in folded.iter_mut().zip(xs).zip(ys) {
        *folded = combine(*folded, lift(*x, *y));
    }
}
