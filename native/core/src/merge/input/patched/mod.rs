//! A tensor and what `LoRA`s add to it, computed as it is read, some rows at a time.
//!
//! All is float32: a product is summed over its rank in order, each term rounded before it is added,
//! times a scale, and then added to what is stored; changes are added one after another. So a value is the same however the tensor
//! is cut, and differs from the exact one by no more than the rounding of as many sums as there are
//! ranks.

mod changes;
mod factors;
mod grain;
mod lengths;
mod of_weight;
mod product;
mod stages;
mod straight;
mod turns;

use super::super::Sources;
use super::reading::Buffer;
use super::{Input, Plain};
use crate::error::{Error, Result};
use crate::vm::simd::Level;
pub use changes::{Change, Delta, Factor, Matrix};
use factors::{Loaded, Within};
use lengths::Stretch;
pub use lengths::{Found, Lengths};
pub use stages::{rotations, Stages};
pub use turns::{Form, Turns};

/// Rows that make good use of what is loaded of a product's second factor; more leave the caches.
const ROWS: u64 = 8;

/// A tensor with changes, which are summed.
#[derive(Debug, Clone, PartialEq)]
pub struct Patched {
    /// The tensor without them.
    pub base: Box<Input>,
    /// Rows of the tensor.
    pub rows: u64,
    /// Elements of a row.
    pub columns: u64,
    /// The changes.
    pub changes: Vec<Change>,
}

/// What a thread needs to compute such a tensor.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    base: Buffer,
    loaded: Loaded,
    raw: Vec<u8>,
    /// A part before all changes, and after one of them, where lengths are given.
    stored: Vec<f32>,
    changed: Vec<f32>,
}

impl Patched {
    /// Bytes of factors that a thread holds while it computes the tensor.
    pub(super) fn held(&self) -> u64 {
        self.changes.iter().map(Change::held).fold(0, u64::saturating_add)
    }

    /// Elements that are best computed together; 1 if it makes no difference.
    pub(super) fn together(&self) -> u64 {
        match self.changes.iter().map(Change::together).max() {
            None | Some(0) => 1,
            Some(rows) => rows.saturating_mul(self.columns).max(1),
        }
    }

    /// Elements that have enough rows to be computed side by side; 0 if it makes no difference.
    pub(super) fn tall(&self) -> u64 {
        let multiplies = self.changes.iter().any(|change| change.delta.multiplies());
        if multiplies {
            ROWS.saturating_mul(self.columns)
        } else {
            0
        }
    }

    /// Check the changes against the tensor and the sources.
    pub(super) fn check(&self, sources: &Sources, elements: u64) -> Result<()> {
        let Self { base, rows, columns, .. } = self;
        let size = rows.checked_mul(*columns).filter(|size| *size >= elements);
        let size = size.ok_or_else(|| {
            Error::Program(format!("{elements} elements of {rows} rows of {columns}"))
        })?;
        base.check(sources, size)?;
        self.changes.iter().try_for_each(|change| {
            let (begin, end) = change.rows;
            if begin > end || end > *rows {
                let message = format!("a change of rows {begin} to {end}; there are {rows}");
                return Err(Error::Program(message));
            }
            change.check(sources, *columns)
        })
    }

    /// Compute elements from `first` on.
    pub(super) fn read(
        &self,
        sources: &Sources,
        first: u64,
        values: &mut [f32],
        scratch: &mut Scratch,
    ) -> Result<()> {
        let Scratch { base, loaded, raw, stored, changed } = scratch;
        let end = first + values.len() as u64;
        self.base.values(sources, first, values, base)?;
        if self.changes.iter().any(|change| change.lengths.is_some()) {
            stored.clear();
            stored.extend_from_slice(values);
        }
        let ready = loaded.of(self, sources, raw, base)?;
        for (change, ready) in self.changes.iter().zip(ready) {
            let [low, high] = [change.rows.0, change.rows.1].map(|row| row * self.columns);
            let (begin, end) = (first.max(low), end.min(high));
            if begin >= end {
                continue;
            }
            let range = (begin - first) as usize..(end - first) as usize;
            let part = &mut values[range.clone()];
            let (columns, place) = (self.columns as usize, (begin - low) as usize);
            let mut within = Within { patched: self, change, sources, raw, base };
            let (Some(lengths), Some(factors)) = (&change.lengths, &ready.factors) else {
                ready.delta.add(&mut within, place, part)?;
                continue;
            };
            changed.clear();
            changed.extend_from_slice(&stored[range.clone()]);
            ready.delta.add(&mut within, place, changed)?;
            let (stored, changed) = (&stored[range], &changed[..]);
            let stretch =
                Stretch { lengths, factors, columns, place, stored, changed, values: part };
            Level::detect().run(stretch);
        }
        Ok(())
    }
}
