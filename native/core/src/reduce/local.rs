//! What one thread reduces by itself: a tile at a time, and counts over a unit.

use super::{fold, kth, Bracket, Form};
use crate::codec::Isa;
use crate::program::Reduction;
use crate::vm::geometry::Geometry;

/// One collector's share of the current tile.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    Whole { op: Reduction, folded: f64 },
    Columns { op: Reduction, first: usize, folded: Vec<f64> },
    Vectors { op: Reduction, folded: f64, filled: usize, done: Vec<f32> },
    Coarse(Vec<u32>),
    Fine { bracket: Bracket, below: u64, inside: Vec<u32> },
}

/// All collectors' shares.
#[derive(Debug, Default)]
pub(crate) struct Local {
    pub(super) parts: Vec<Part>,
    last: usize,
    columns: usize,
}

impl Local {
    /// Make ready for a unit of a pass.
    pub(crate) fn begin_unit(&mut self, forms: &[Form], geometry: &Geometry) {
        self.last = geometry.last as usize;
        self.columns = geometry.columns as usize;
        self.parts.clear();
        let parts = forms.iter().map(|form| match *form {
            Form::Whole(op) => Part::Whole { op, folded: 0.0 },
            Form::Columns(op) => Part::Columns { op, first: 0, folded: Vec::new() },
            Form::Vectors(op) => Part::Vectors { op, folded: 0.0, filled: 0, done: Vec::new() },
            Form::Coarse => Part::Coarse(vec![0; kth::COARSE]),
            Form::Fine(bracket) => Part::Fine { bracket, below: 0, inside: Vec::new() },
        });
        self.parts.extend(parts);
    }

    /// Make ready for a tile.
    pub(crate) fn begin_tile(&mut self, begin: u64, end: u64) {
        let length = (end - begin) as usize;
        let columns = self.columns;
        for part in &mut self.parts {
            match part {
                Part::Whole { op, folded } => *folded = fold::start(*op),
                Part::Columns { op, first, folded } => {
                    *first = (begin % columns.max(1) as u64) as usize;
                    folded.clear();
                    folded.resize(length.min(columns), fold::start(*op));
                }
                Part::Vectors { op, folded, filled, done } => {
                    *folded = fold::start(*op);
                    *filled = 0;
                    done.clear();
                }
                Part::Coarse(_) | Part::Fine { .. } => {}
            }
        }
    }

    /// Add a block's values, `offset` elements after the tile's first, to one collector.
    #[inline(always)]
    pub(crate) fn add<I: Isa>(&mut self, collector: usize, offset: usize, xs: &[f32], ys: &[f32]) {
        match &mut self.parts[collector] {
            Part::Whole { op, folded } => *folded = fold::slice(*op, *folded, xs, ys),
            Part::Columns { op, folded, .. } => add_columns(*op, folded, offset, xs, ys),
            Part::Vectors { op, folded, filled, done } => {
                add_vectors(*op, self.last, (folded, filled, done), xs, ys);
            }
            Part::Coarse(counts) => kth::count(counts, xs),
            Part::Fine { bracket, below, inside } => *below += I::divide(*bracket, inside, xs),
        }
    }

    /// What collectors of one value have folded.
    #[cfg(test)]
    pub(crate) fn folded(&self) -> Vec<f64> {
        let folded = |part: &Part| match part {
            Part::Whole { folded, .. } => *folded,
            _ => f64::NAN,
        };
        self.parts.iter().map(folded).collect()
    }

    /// Add sums of products of a block to a collector of one value: a sum for each lane of what
    /// [`fold::slice`] takes together, and then the products that are left over, one by one.
    pub(crate) fn add_sums(&mut self, collector: usize, lanes: &[f64], rest: &[f64]) {
        if let Part::Whole { folded, .. } = &mut self.parts[collector] {
            *folded = fold::sums(*folded, lanes, rest);
        }
    }
}

/// A tile begins with a row or lies within one, so its columns count from its first element.
#[inline(always)]
fn add_columns(op: Reduction, folded: &mut [f64], offset: usize, xs: &[f32], ys: &[f32]) {
    let mut column = offset % folded.len();
    let mut from = 0;
    while from < xs.len() {
        let to = (from + folded.len() - column).min(xs.len());
        fold::columns(op, &mut folded[column..], &xs[from..to], &ys[from..to]);
        from = to;
        column = 0;
    }
}

/// A vector may go on from block to block; a tile that is part of a vector never ends one.
#[inline(always)]
fn add_vectors(
    op: Reduction,
    length: usize,
    (folded, filled, done): (&mut f64, &mut usize, &mut Vec<f32>),
    xs: &[f32],
    ys: &[f32],
) {
    let mut from = 0;
    while from < xs.len() {
        let to = (from + length - *filled).min(xs.len());
        *folded = fold::slice(op, *folded, &xs[from..to], &ys[from..to]);
        *filled += to - from;
        from = to;
        if *filled == length {
            done.push(fold::finish(op, *folded, length as u64) as f32);
            *folded = fold::start(op);
            *filled = 0;
        }
    }
}
