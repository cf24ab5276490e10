//! What all threads found in a pass, put together in the order of the tiles.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::kth::{self, Within};
use super::local::{Local, Part};
use super::{fold, Bracket, Form, Tiling};
use crate::program::Reduction;
use crate::vm::geometry::Geometry;

/// Tiles that may wait for an earlier one before threads wait too.
const PARKED: usize = 64;

/// How often a waiting thread looks whether the run was stopped.
const TICK: Duration = Duration::from_millis(20);

/// The result of a collector.
#[derive(Debug, Clone)]
pub(crate) enum Found {
    /// One per tensor.
    Scalar(f64),
    /// One per column or vector.
    Vector(Arc<Vec<f32>>),
    /// Where the k-th value is.
    Bracket(Bracket),
    /// A sample has misled: the pass that took it must run again without.
    Unsure,
}

/// One collector's findings so far.
#[derive(Debug)]
enum Whole {
    /// One per tile.
    Tiles(Vec<f64>),
    Columns(Vec<f64>),
    Vectors(Vec<f32>),
    /// One per counter.
    Counts(Vec<u64>),
    /// What is below a bracket, and within it.
    Values {
        below: u64,
        within: Within,
    },
}

/// A tile's columns: collector, first column, values.
type Columns = (usize, usize, Vec<f64>);

#[derive(Debug, Default)]
struct State {
    parts: Vec<Whole>,
    /// The next tile whose columns may be added.
    next: u64,
    parked: BTreeMap<u64, Vec<Columns>>,
}

/// The findings of a pass of a job.
#[derive(Debug)]
pub(crate) struct Gather {
    pub(crate) forms: Vec<Form>,
    pub(crate) tiling: Tiling,
    geometry: Geometry,
    /// Whether tiles must be put together one after the other.
    pub(crate) ordered: bool,
    state: Mutex<State>,
    advanced: Condvar,
}

impl Gather {
    /// Make room for a pass that collects in these forms from these tiles.
    pub(crate) fn new(forms: Vec<Form>, geometry: Geometry, tiling: Tiling) -> Self {
        let parts = forms.iter().map(|form| room(*form, &tiling, &geometry)).collect();
        let ordered = forms.iter().any(|form| matches!(form, Form::Columns(_)));
        let state = Mutex::new(State { parts, ..State::default() });
        Self { forms, tiling, geometry, ordered, state, advanced: Condvar::new() }
    }

    /// Take over a tile; waits if too many later tiles are parked. False if stopped meanwhile.
    pub(crate) fn deliver(&self, tile: u64, local: &mut Local, stopped: impl Fn() -> bool) -> bool {
        let mut state = self.lock();
        let mut columns = Vec::new();
        let (begin, _) = self.tiling.range(tile);
        for (index, part) in local.parts.iter_mut().enumerate() {
            match (part, &mut state.parts[index]) {
                (
                    Part::Whole { folded, .. } | Part::Vectors { folded, .. },
                    Whole::Tiles(tiles),
                ) => {
                    tiles[tile as usize] = *folded;
                }
                (Part::Vectors { done, .. }, Whole::Vectors(all)) => {
                    let first = (begin / self.geometry.last) as usize;
                    all[first..first + done.len()].copy_from_slice(done);
                }
                (Part::Columns { first, folded, .. }, _) => {
                    columns.push((index, *first, std::mem::take(folded)));
                }
                _ => {}
            }
        }
        if !self.ordered {
            return true;
        }
        state.parked.insert(tile, columns);
        self.add_parked(&mut state);
        while state.parked.len() > PARKED {
            if stopped() {
                return false;
            }
            let waited = self.advanced.wait_timeout(state, TICK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Take over the counts of a unit.
    pub(crate) fn deliver_counts(&self, local: &Local) {
        let mut state = self.lock();
        for (part, whole) in local.parts.iter().zip(&mut state.parts) {
            match (part, whole) {
                (Part::Coarse(found), Whole::Counts(counts)) => {
                    for (count, found) in counts.iter_mut().zip(found) {
                        *count += u64::from(*found);
                    }
                }
                (Part::Fine { bracket, below: found, inside }, Whole::Values { below, within }) => {
                    *below += found;
                    within.add(*bracket, inside);
                }
                _ => {}
            }
        }
    }

    /// The result of a collector; `k` is the rank that a selection asks for.
    pub(crate) fn finish(&self, index: usize, k: f64) -> Found {
        let mut state = self.lock();
        let Geometry { elements, rows, last, .. } = self.geometry;
        match (self.forms[index], &mut state.parts[index]) {
            (Form::Whole(op), Whole::Tiles(tiles)) => {
                Found::Scalar(fold::finish(op, together(op, tiles), elements))
            }
            (Form::Vectors(op), Whole::Tiles(tiles)) => {
                let vectors = tiles.chunks(self.tiling.per_period() as usize);
                let finish = |tiles| fold::finish(op, together(op, tiles), last) as f32;
                Found::Vector(Arc::new(vectors.map(finish).collect()))
            }
            (Form::Columns(op), Whole::Columns(all)) => {
                let finish = |folded: &f64| fold::finish(op, *folded, rows) as f32;
                Found::Vector(Arc::new(all.iter().map(finish).collect()))
            }
            (Form::Coarse, Whole::Counts(counts)) => {
                let rank = kth::rank(k, elements);
                let bracket = if self.tiling.is_sample() {
                    kth::estimate(counts, rank, elements)
                } else {
                    kth::locate(counts, rank)
                };
                bracket.map_or(Found::Unsure, Found::Bracket)
            }
            (Form::Fine(bracket), Whole::Values { below, within }) => {
                let value = within.select(bracket, *below, kth::rank(k, elements));
                value.map_or(Found::Unsure, Found::Scalar)
            }
            (_, Whole::Vectors(all)) => Found::Vector(Arc::new(std::mem::take(all))),
            _ => Found::Scalar(f64::NAN), // forms and parts were made together
        }
    }

    /// Add the columns of all tiles that are next.
    fn add_parked(&self, state: &mut State) {
        while let Some(columns) = state.parked.remove(&state.next) {
            state.next += 1;
            for (index, first, folded) in columns {
                let (Form::Columns(op), Whole::Columns(all)) =
                    (self.forms[index], &mut state.parts[index])
                else {
                    continue;
                };
                for (all, folded) in all[first..].iter_mut().zip(&folded) {
                    *all = fold::combine(op, *all, *folded);
                }
            }
        }
        self.advanced.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room for the findings of a form.
fn room(form: Form, tiling: &Tiling, geometry: &Geometry) -> Whole {
    match form {
        Form::Whole(_) => Whole::Tiles(vec![0.0; tiling.count() as usize]),
        Form::Vectors(_) if geometry.last > tiling.step() => {
            Whole::Tiles(vec![0.0; tiling.count() as usize])
        }
        Form::Vectors(_) => Whole::Vectors(vec![0.0; (geometry.elements / geometry.last) as usize]),
        Form::Columns(op) => Whole::Columns(vec![fold::start(op); geometry.columns as usize]),
        Form::Coarse => Whole::Counts(vec![0; kth::COARSE]),
        Form::Fine(_) => Whole::Values { below: 0, within: Within::default() },
    }
}

/// The tiles of one result, in their order.
fn together(op: Reduction, tiles: &[f64]) -> f64 {
    tiles.iter().fold(fold::start(op), |folded, tile| fold::combine(op, folded, *tile))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Portable;
    use crate::program::Reduction::Sum;

    /// The sums of the columns of a tensor whose tiles arrive in some order.
    fn sums(order: impl Iterator<Item = u64>, geometry: &Geometry, values: &[f32]) -> Vec<f32> {
        let forms = vec![Form::Columns(Sum)];
        let tiling = Tiling::new(&forms, geometry);
        let gather = Gather::new(forms, *geometry, tiling);
        for tile in order {
            let (begin, end) = gather.tiling.range(tile);
            let mut local = Local::default();
            local.begin_unit(&gather.forms, geometry);
            local.begin_tile(begin, end);
            let values = &values[begin as usize..end as usize];
            local.add::<Portable>(0, 0, values, values);
            assert!(gather.deliver(tile, &mut local, || true));
        }
        match gather.finish(0, 0.0) {
            Found::Vector(sums) => sums.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn columns_are_summed_in_the_order_of_the_tiles_whatever_order_they_arrive_in() {
        // What is small is lost beside what is large, unless it comes later.
        let (rows, columns) = (6, 70_000);
        let geometry = Geometry::of(&[rows, columns]);
        let column = [1e30_f32, -1e30, 1.0, 1e20, -1e20, 2.0];
        let values: Vec<f32> =
            column.iter().flat_map(|x| std::iter::repeat_n(*x, columns as usize)).collect();
        let count = Tiling::new(&[Form::Columns(Sum)], &geometry).count();
        for order in [
            (0..count).collect::<Vec<_>>(),
            (0..count).rev().collect(),
            (count / 2..count).chain(0..count / 2).collect(),
        ] {
            assert_eq!(sums(order.into_iter(), &geometry, &values), vec![2.0; columns as usize]);
        }
    }
}
