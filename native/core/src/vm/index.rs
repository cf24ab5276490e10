//! Values that follow from an element's place in the tensor.

use super::block::{Strip, STRIP};
use super::geometry::Geometry;
use crate::program::Extent;

/// Repeat a value per column or per vector over the elements from `begin` on.
pub(super) fn spread(
    target: &mut Strip,
    values: &[f32],
    extent: Extent,
    geometry: &Geometry,
    begin: u64,
) {
    if extent == Extent::Vectors {
        return runs(target, geometry.last, begin, |place| {
            values.get(place as usize).copied().unwrap_or_default()
        });
    }
    if geometry.columns == 1 {
        return target.fill(values[0]);
    }
    let mut from = (begin % geometry.columns) as usize;
    let mut to = 0;
    while to < STRIP {
        let count = (values.len() - from).min(STRIP - to);
        target[to..to + count].copy_from_slice(&values[from..from + count]);
        to += count;
        from = 0;
    }
}

/// The index along dim 0 of the elements from `begin` on.
pub(super) fn rows(target: &mut Strip, geometry: &Geometry, begin: u64) {
    runs(target, geometry.columns, begin, |row| row as f32);
}

/// Fill every run of `length` elements with a value of its place.
fn runs(target: &mut Strip, length: u64, begin: u64, value: impl Fn(u64) -> f32) {
    let mut run = begin / length;
    let mut left = length - begin % length;
    let mut to = 0;
    while to < STRIP {
        let count = left.min((STRIP - to) as u64) as usize;
        target[to..to + count].fill(value(run));
        to += count;
        run += 1;
        left = length;
    }
}
