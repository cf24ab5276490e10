//! A tensor and what `LoRA`s add to it, computed as it is read, some rows at a time.
//!
//! All is float32: a product is summed over its rank in order, without fusing, and then added to
//! what is stored; changes are added one after another. So a value is the same however the tensor
//! is cut, and differs from the exact one by no more than the rounding of as many sums as there are
//! ranks.

mod factors;
mod lengths;
mod product;

use super::super::check::{check_source, size};
use super::super::Sources;
use super::reading::Buffer;
use super::{Input, Plain};
use crate::error::{Error, Result};
use crate::vm::simd::Level;
use factors::Loaded;
use lengths::Stretch;
pub use lengths::{Found, Lengths};

/// A matrix, row after row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matrix {
    /// Where it is stored.
    pub plain: Plain,
    /// Number of rows.
    pub rows: u64,
    /// Number of columns.
    pub columns: u64,
}

/// A matrix, or the product of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Factor {
    /// As it is stored.
    Whole(Matrix),
    /// The first times the second.
    Product(Matrix, Matrix),
}

/// What is added to some rows, but for its scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delta {
    /// A matrix: of `LoRA` a product, of full differences the stored one.
    One(Factor),
    /// Two products, element by element: `LoHa`.
    Elementwise(Factor, Factor),
    /// The Kronecker product: `LoKr`.
    Kronecker(Factor, Factor),
}

/// A change of some rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The first row and one past the last.
    pub rows: (u64, u64),
    /// What the change is multiplied by, in its first factor.
    pub scale: f32,
    /// The change.
    pub delta: Delta,
    /// The lengths that vectors of the changed rows get.
    pub lengths: Option<Lengths>,
}

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
        let changes = self.changes.iter();
        let held = changes.map(|change| {
            let lengths = change.lengths.as_ref().map_or(0, |lengths| lengths.count);
            4 * change.delta.held().saturating_add(lengths)
        });
        held.fold(0, u64::saturating_add)
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
            if let Some(lengths) = &change.lengths {
                lengths.check(sources, (end - begin, *columns))?;
            }
            change.delta.check(sources, (end - begin, *columns))
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
            let (Some(lengths), Some(factors)) = (&change.lengths, &ready.factors) else {
                ready.delta.add(change.scale, sources, columns, place, part, raw)?;
                continue;
            };
            changed.clear();
            changed.extend_from_slice(&stored[range.clone()]);
            ready.delta.add(change.scale, sources, columns, place, changed, raw)?;
            let (stored, changed) = (&stored[range], &changed[..]);
            let stretch =
                Stretch { lengths, factors, columns, place, stored, changed, values: part };
            Level::detect().run(stretch);
        }
        Ok(())
    }
}

impl Delta {
    /// Numbers that are held.
    fn held(&self) -> u64 {
        match self {
            Self::One(Factor::Whole(_)) => 0,
            Self::One(factor) => factor.stored(),
            Self::Elementwise(one, other) => one.stored().saturating_add(other.stored()),
            Self::Kronecker(one, other) => [one, other].map(Factor::size).into_iter().sum(),
        }
    }

    fn check(&self, sources: &Sources, expected: (u64, u64)) -> Result<()> {
        let shape = match self {
            Self::One(factor) => factor.check(sources)?,
            Self::Elementwise(one, other) => {
                let [first, second] = [one.check(sources)?, other.check(sources)?];
                let products = [one, other].iter().all(|x| matches!(x, Factor::Product(..)));
                if first != second || !products {
                    return Err(Error::program("a change is of two products of one shape"));
                }
                first
            }
            Self::Kronecker(one, other) => {
                let [(a, b), (c, d)] = [one.check(sources)?, other.check(sources)?];
                let sizes = a.checked_mul(c).zip(b.checked_mul(d));
                sizes.ok_or_else(|| Error::program("a change is too large"))?
            }
        };
        if shape == expected {
            return Ok(());
        }
        let ((rows, columns), (a, b)) = (shape, expected);
        Err(Error::Program(format!("a change is of {rows} x {columns}, its rows of {a} x {b}")))
    }
}

impl Lengths {
    /// Check them against the sources, and the rows and columns of the change.
    fn check(&self, sources: &Sources, (rows, columns): (u64, u64)) -> Result<()> {
        let Self { plain, count, by_rows, .. } = self;
        let fits =
            if *by_rows { *count == rows } else { *count > 0 && columns.is_multiple_of(*count) };
        if !fits {
            let message = format!("{count} lengths for {rows} x {columns}");
            return Err(Error::Program(message));
        }
        check_source(sources, plain.source, plain.offset, size(plain.dtype, &[*count])?)
    }
}

impl Factor {
    /// Numbers that are stored.
    fn stored(&self) -> u64 {
        match self {
            Self::Whole(matrix) => matrix.rows * matrix.columns,
            Self::Product(up, down) => up.rows * up.columns + down.rows * down.columns,
        }
    }

    /// Numbers of the matrix.
    fn size(&self) -> u64 {
        match self {
            Self::Whole(matrix) => matrix.rows * matrix.columns,
            Self::Product(up, down) => up.rows.saturating_mul(down.columns),
        }
    }

    /// Rows and columns.
    fn check(&self, sources: &Sources) -> Result<(u64, u64)> {
        match self {
            Self::Whole(matrix) => matrix.check(sources),
            Self::Product(up, down) => {
                let ((rows, inner), (rank, columns)) = (up.check(sources)?, down.check(sources)?);
                if inner != rank {
                    let message = format!("a product of {inner} columns and {rank} rows");
                    return Err(Error::Program(message));
                }
                Ok((rows, columns))
            }
        }
    }
}

impl Matrix {
    fn check(&self, sources: &Sources) -> Result<(u64, u64)> {
        let length = size(self.plain.dtype, &[self.rows, self.columns])?;
        check_source(sources, self.plain.source, self.plain.offset, length)?;
        Ok((self.rows, self.columns))
    }
}
