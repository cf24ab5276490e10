//! The lengths that `DoRA` gives the vectors of a changed matrix, whose own are found first.
//!
//! All rows of a change are computed once to find them. Their squares are summed in float64, of a row in
//! sixteen sums side by side, so that a length is the same on every level and thread.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::Plain;
use crate::codec::Isa;
use crate::error::Result;
use crate::vm::simd::{Level, Task};

/// Sums of a row side by side.
const ASIDE: usize = 16;

/// What is added to a length before it divides: numpy's `finfo(float32).eps`, as `LyCORIS` has it.
const LEAST: f64 = f32::EPSILON as f64;

/// The lengths that vectors get: `W' = m (W + change) / ||W + change||`, of which `weight (W' - W)` is
/// added.
#[derive(Debug, Clone, PartialEq)]
pub struct Lengths {
    /// Where they are stored.
    pub plain: Plain,
    /// How many there are: one for each row, or for as many elements of a row as fall to each.
    pub count: u64,
    /// Whether the vectors are rows.
    pub by_rows: bool,
    /// What the difference is multiplied by.
    pub weight: f32,
    /// What threads have found out.
    pub found: Found,
}

/// What vectors are multiplied by, as long as a thread uses it.
#[derive(Debug, Clone, Default)]
pub struct Found(Arc<Mutex<Weak<Vec<f32>>>>);

impl PartialEq for Found {
    /// It follows from what it belongs to.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Found {
    /// What was found, or is found now, while other threads wait.
    pub(super) fn or_find(&self, find: impl FnOnce() -> Result<Vec<f32>>) -> Result<Arc<Vec<f32>>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.upgrade() {
            return Ok(found);
        }
        let found = Arc::new(find()?);
        *known = Arc::downgrade(&found);
        Ok(found)
    }
}

/// Sums of squares of vectors.
pub(super) struct Squares {
    sums: Vec<f64>,
    columns: usize,
    /// Elements of a row that belong to a vector; all of them where vectors are rows.
    span: usize,
    by_rows: bool,
}

impl Squares {
    pub(super) fn new(lengths: &Lengths, columns: usize) -> Self {
        let count = lengths.count as usize;
        let span = if lengths.by_rows { columns } else { columns / count.max(1) };
        Self { sums: vec![0.0; count], columns, span, by_rows: lengths.by_rows }
    }

    /// Add whole rows, from one of them on.
    pub(super) fn add(&mut self, first: usize, values: &[f32]) {
        Level::detect().run(AddRows { squares: self, first, values });
    }

    /// What each vector is multiplied by to get its length.
    pub(super) fn factors(self, lengths: &[f32]) -> Vec<f32> {
        let pairs = self.sums.iter().zip(lengths);
        pairs.map(|(sum, length)| (f64::from(*length) / (sum.sqrt() + LEAST)) as f32).collect()
    }
}

struct AddRows<'a> {
    squares: &'a mut Squares,
    first: usize,
    values: &'a [f32],
}

impl Task for AddRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let Self { squares: Squares { sums, columns, span, by_rows }, first, values } = self;
        for (row, line) in values.chunks_exact((*columns).max(1)).enumerate() {
            if *by_rows {
                sums[first + row] = sum(line);
            } else if *span == 1 {
                sums.iter_mut().zip(line).for_each(|(sum, x)| *sum += f64::from(*x).powi(2));
            } else {
                let parts = line.chunks_exact(*span);
                sums.iter_mut().zip(parts).for_each(|(total, part)| *total += sum(part));
            }
        }
    }
}

#[inline(always)]
fn sum(line: &[f32]) -> f64 {
    let mut sums = [0.0; ASIDE];
    for part in line.chunks(ASIDE) {
        sums.iter_mut().zip(part).for_each(|(sum, x)| *sum += f64::from(*x).powi(2));
    }
    sums.iter().sum()
}

/// Give a part of a changed matrix its lengths, and add what that changes to values.
pub(super) struct Stretch<'a> {
    pub(super) lengths: &'a Lengths,
    pub(super) factors: &'a [f32],
    pub(super) columns: usize,
    /// The first element of the part.
    pub(super) place: usize,
    /// Before the change, and after it.
    pub(super) stored: &'a [f32],
    pub(super) changed: &'a [f32],
    pub(super) values: &'a mut [f32],
}

impl Task for Stretch<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let Self { lengths, factors, columns, place, stored, changed, values } = self;
        let weight = lengths.weight;
        let span = if lengths.by_rows { columns } else { columns / factors.len().max(1) };
        let mut done = 0;
        while done < values.len() {
            let (row, column) = ((place + done) / columns, (place + done) % columns);
            let end = (done + columns - column).min(values.len());
            let parts = stored[done..end].iter().zip(&changed[done..end]);
            let targets = values[done..end].iter_mut().zip(parts);
            if lengths.by_rows || span > 1 {
                for (at, (value, (stored, changed))) in targets.enumerate() {
                    let vector = if lengths.by_rows { row } else { (column + at) / span };
                    *value += (changed * factors[vector] - stored) * weight;
                }
            } else {
                for ((value, (stored, changed)), factor) in targets.zip(&factors[column..]) {
                    *value += (changed * factor - stored) * weight;
                }
            }
            done = end;
        }
    }
}
