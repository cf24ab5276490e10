//! How much of what a job changes is lost when its results are rounded, in a sample of them.
//!
//! The sample is the same for any number of threads: so many elements in the middle of the tensor.
//! A unit looks at those of them that it writes.

use super::input::reading::Buffer;
use super::request::{Base, Job};
use super::Sources;
use crate::codec::{self, Portable};
use crate::dtype::Dtype;
use crate::error::Result;
use crate::vm::BLOCK;

/// Sums over the sample.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rounded {
    /// Squares of the changes before rounding.
    pub change: f64,
    /// Products of the changes before and after rounding.
    pub arrived: f64,
    /// Squares of what there was before the merge.
    pub size: f64,
    /// How many results are beyond the largest number of an 8-bit type, and became that.
    pub beyond: f64,
}

impl Rounded {
    /// The sums of both.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            change: self.change + other.change,
            arrived: self.arrived + other.arrived,
            size: self.size + other.size,
            beyond: self.beyond + other.beyond,
        }
    }
}

/// Elements of the sample from `begin` up to `end`: (begin, end), if there are any.
pub(super) fn sampled(job: &Job, base: &Base, begin: u64, end: u64) -> Option<(u64, u64)> {
    let elements = job.outputs();
    let count = elements.min(base.sample);
    let first = (elements - count) / 2;
    let (begin, end) = (begin.max(first), end.min(first + count));
    (begin < end).then_some((begin, end))
}

/// What values were before the merge, from element `begin` on.
pub(super) fn before(base: &Base, sources: &Sources, begin: u64, count: usize) -> Result<Vec<f32>> {
    let mut values = vec![0.0; count];
    base.input.values(sources, begin, &mut values, &mut Buffer::default())?;
    Ok(values)
}

/// Add what a block of results tells.
///
/// `exact` are the results before, `stored` are their bytes after rounding, `base` is what they are
/// changes of.
pub(super) fn add(sums: &mut Rounded, base: &[f32], exact: &[f32], dtype: Dtype, stored: &[u8]) {
    debug_assert!(base.len() <= BLOCK);
    let rounded = decoded(dtype, stored, base.len());
    let largest = match dtype {
        Dtype::F8_E4M3 => 448.0,
        Dtype::F8_E5M2 => 57344.0,
        _ => f32::INFINITY,
    };
    sums.beyond += exact.iter().filter(|exact| exact.abs() > largest).count() as f64;
    for ((base, exact), rounded) in base.iter().zip(exact).zip(rounded) {
        let change = f64::from(*exact) - f64::from(*base);
        sums.change += change * change;
        sums.size += f64::from(*base) * f64::from(*base);
        sums.arrived += change * (f64::from(rounded) - f64::from(*base));
    }
}

fn decoded(dtype: Dtype, bytes: &[u8], count: usize) -> Vec<f32> {
    let mut values = vec![0.0; count];
    codec::decode::<Portable>(dtype, bytes, &mut values);
    values
}
