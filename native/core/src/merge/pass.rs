//! One pass of an item: what is known before it, and how it is cut into units.

use std::collections::HashMap;
use std::sync::Arc;

use super::job::{Item, Task};
use crate::program::stage::Stage;
use crate::program::{scalar, Op, Program};
use crate::reduce::{Form, Found, Gather};
use crate::vm::geometry::Geometry;

/// What a pass computes with and collects.
#[derive(Debug, Default)]
pub(super) struct Pass {
    /// Number of the pass.
    pub(super) number: usize,
    /// Number of units.
    pub(super) units: u64,
    /// One per node; scalars that are known.
    values: Vec<f64>,
    /// One per node; reductions along an axis that are known.
    pub(super) vectors: Vec<Arc<Vec<f32>>>,
    /// Upper bits of k-th values whose second pass this is, and ranks among these.
    uppers: HashMap<usize, (u32, u64)>,
    /// The stage's scalars, rounded.
    pub(super) scalars: Vec<f32>,
    /// What is collected; nothing in the last pass.
    pub(super) gather: Option<Gather>,
    /// Tiles of a unit, if something is collected.
    tiles: u64,
}

impl Pass {
    /// The first pass of an item.
    pub(super) fn first(item: &Item) -> Self {
        let Task::Job { program, .. } = item.task else {
            return Self { units: item.length.div_ceil(item.step), ..Self::default() };
        };
        let values = vec![0.0; program.nodes().len()];
        let vectors = vec![Arc::default(); program.nodes().len()];
        Self { values, vectors, ..Self::default() }.prepared(item)
    }

    /// The pass after this one, whose units are all over; `None` if it was the last.
    pub(super) fn next(&self, item: &Item) -> Option<Self> {
        let (Task::Job { program, .. }, Some(gather)) = (item.task, &self.gather) else {
            return None;
        };
        let number = self.number + 1;
        let (mut values, mut vectors) = (self.values.clone(), self.vectors.clone());
        let mut uppers = HashMap::new();
        for (index, collect) in program.stages()[self.number].collects.iter().enumerate() {
            let k = rank(program, collect.node, &values);
            match gather.finish(index, k, self.uppers.get(&collect.node).copied()) {
                Found::Scalar(value) => {
                    values[collect.node] = value;
                    // An axis that is the whole tensor: one column, one vector.
                    vectors[collect.node] = Arc::new(vec![value as f32]);
                }
                Found::Vector(all) => vectors[collect.node] = Arc::new(all),
                Found::Upper(upper, rank) => {
                    uppers.insert(collect.node, (upper, rank));
                }
            }
        }
        let pass = Self { number, values, vectors, uppers, ..Self::default() };
        Some(pass.prepared(item))
    }

    /// Elements or bytes of a unit: (begin, end).
    pub(super) fn range(&self, item: &Item, unit: u64) -> (u64, u64) {
        let Some(gather) = &self.gather else {
            let begin = unit * item.step;
            return (begin, (begin + item.step).min(item.length));
        };
        let (first, end) = self.tiles(unit);
        (gather.tiling.range(first).0, gather.tiling.range(end - 1).1)
    }

    /// Tiles of a unit: (begin, end).
    pub(super) fn tiles(&self, unit: u64) -> (u64, u64) {
        let count = self.gather.as_ref().map_or(0, |gather| gather.tiling.count());
        let begin = unit * self.tiles;
        (begin, (begin + self.tiles).min(count))
    }

    /// The upper bits that a collector of a second pass looks for.
    pub(super) fn upper(&self, node: usize) -> u32 {
        self.uppers.get(&node).map_or(0, |found| found.0)
    }

    /// Compute the scalars that are known now, and cut the pass into units.
    fn prepared(mut self, item: &Item) -> Self {
        let Task::Job { job, program, geometry, .. } = item.task else {
            return self;
        };
        scalar::evaluate(program, self.number, &job.scalars, &geometry, &mut self.values);
        let stage = &program.stages()[self.number];
        let round = |node: &usize| self.values[*node] as f32;
        self.scalars = stage.scalars.iter().map(round).collect();
        self.cut(item, stage, geometry);
        self
    }

    fn cut(&mut self, item: &Item, stage: &Stage, geometry: Geometry) {
        if stage.output.is_some() {
            self.units = item.length.div_ceil(item.step);
            return;
        }
        let gather = Gather::new(Form::all(stage, &geometry), geometry);
        let fitting = (item.step / gather.tiling.step()).max(1);
        self.tiles = if gather.ordered { 1 } else { fitting };
        self.units = gather.tiling.count().div_ceil(self.tiles);
        self.gather = Some(gather);
    }
}

/// The rank that a selection asks for.
fn rank(program: &Program, node: usize, values: &[f64]) -> f64 {
    let node = &program.nodes()[node];
    match node.op {
        Op::KthAbs => values[node.args[1]],
        _ => 0.0,
    }
}
