//! One pass of an item: what is known before it, and how it is cut into units.

use std::collections::HashMap;
use std::sync::Arc;

use super::job::{may_sample, Item, Task};
use super::request::Job;
use crate::codec::blocks::encode::Companions;
use crate::program::stage::Stage;
use crate::program::{scalar, Op, Program};
use crate::reduce::{Bracket, Form, Found, Gather, Tiling};
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
    /// Where the k-th values are that this pass is to find.
    brackets: HashMap<usize, Bracket>,
    /// The stage's scalars, rounded.
    pub(super) scalars: Vec<f32>,
    /// What is collected; nothing in the last pass.
    pub(super) gather: Option<Gather>,
    /// Tiles of a unit, if something is collected.
    tiles: u64,
    /// What the units of an output that is encoded share.
    pub(super) companions: Option<Arc<Companions>>,
    /// Whether the greatest magnitudes of such an output are looked for.
    pub(super) measures: bool,
    /// Units of the item that are one then: bounds of all come of the same tiles of scales.
    joined: u64,
    /// Number of the first pass that ran for the first time; those before run without a sample.
    fresh: usize,
    /// Whether units are taken from the last to the first: the next pass finds in the caches, and
    /// in maps, what this one has read last.
    backwards: bool,
}

impl Pass {
    /// The first pass of an item.
    pub(super) fn first(item: &Item) -> Self {
        let Task::Job { program, .. } = item.task else {
            return Self { units: item.units(), ..Self::default() };
        };
        let values = vec![0.0; program.nodes().len()];
        let vectors = vec![Arc::default(); program.nodes().len()];
        Self { values, vectors, ..Self::default() }.prepared(item)
    }

    /// What was collected of each, when all units are over; nothing in the last pass, nor where a
    /// sample has misled.
    pub(super) fn found(&self, item: &Item) -> Option<Vec<Found>> {
        let (Task::Job { program, .. }, Some(gather)) = (item.task, &self.gather) else {
            return None;
        };
        let found = self.ranks(program).into_iter().enumerate();
        let found: Vec<Found> = found.map(|(index, k)| gather.finish(index, k)).collect();
        let sure = !found.iter().any(|each| matches!(each, Found::Unsure));
        sure.then_some(found)
    }

    /// The pass after this one, which found that.
    pub(super) fn after(&self, item: &Item, found: &[Found]) -> Self {
        let (mut values, mut vectors) = (self.values.clone(), self.vectors.clone());
        let mut brackets = HashMap::new();
        if let Task::Job { program, .. } = item.task {
            for (collect, found) in program.stages()[self.number].collects.iter().zip(found) {
                match found {
                    Found::Scalar(value) => {
                        values[collect.node] = *value;
                        // An axis that is the whole tensor: one column, one vector.
                        vectors[collect.node] = Arc::new(vec![*value as f32]);
                    }
                    Found::Vector(all) => vectors[collect.node] = Arc::clone(all),
                    Found::Bracket(bracket) => {
                        brackets.insert(collect.node, *bracket);
                    }
                    Found::Unsure => {} // is not handed out by `found`
                }
            }
        }
        let (number, fresh) = (self.number + 1, self.fresh);
        let pass = Self { number, values, vectors, brackets, fresh, ..Self::default() };
        pass.prepared(item)
    }

    /// The pass after this one, which has found nothing; `None` if it was the last.
    pub(super) fn beyond(&self, item: &Item) -> Option<Self> {
        match self.gather {
            Some(_) => Some(self.again().prepared(item)),
            None => self.measures.then(|| self.measured(item)),
        }
    }

    /// The rank that each selection asks for; 0 for what selects nothing.
    fn ranks(&self, program: &Program) -> Vec<f64> {
        let collects = &program.stages()[self.number].collects;
        collects.iter().map(|collect| rank(program, collect.node, &self.values)).collect()
    }

    /// All numbers that what is collected depends on, beside the elements of inputs and vectors.
    pub(super) fn parameters(&self, program: &Program) -> Vec<u64> {
        let brackets = program.stages()[self.number].collects.iter().flat_map(|collect| {
            let Bracket { first, length } =
                self.brackets.get(&collect.node).copied().unwrap_or_default();
            [u64::from(first), u64::from(length)]
        });
        let scalars = self.scalars.iter().map(|scalar| u64::from(scalar.to_bits()));
        let ranks = self.ranks(program).into_iter().map(f64::to_bits);
        scalars.chain(ranks).chain(brackets).collect()
    }

    /// The same pass, which stores what this one has measured.
    fn measured(&self, item: &Item) -> Self {
        Self {
            number: self.number,
            units: item.units(),
            values: self.values.clone(),
            vectors: self.vectors.clone(),
            scalars: self.scalars.clone(),
            companions: self.companions.clone(),
            fresh: self.fresh,
            ..Self::default()
        }
    }

    /// The pass that took a sample, this one or the one before, without it.
    fn again(&self) -> Self {
        let number = if self.samples() { self.number } else { self.number - 1 };
        let (values, vectors) = (self.values.clone(), self.vectors.clone());
        Self { number, values, vectors, fresh: self.number + 1, ..Self::default() }
    }

    /// Whether only a sample of the elements is looked at.
    pub(super) fn samples(&self) -> bool {
        self.gather.as_ref().is_some_and(|gather| gather.tiling.is_sample())
    }

    /// Whether its bytes count as progress: a sample's do not, nor what runs again.
    pub(super) fn counts(&self) -> bool {
        self.number >= self.fresh && !self.samples()
    }

    /// Number of the unit that is handed out after so many others.
    pub(super) fn turn(&self, issued: u64) -> u64 {
        if self.backwards {
            self.units - 1 - issued
        } else {
            issued
        }
    }

    /// Elements or bytes of a unit: (begin, end).
    pub(super) fn range(&self, item: &Item, unit: u64) -> (u64, u64) {
        let Some(gather) = &self.gather else {
            let (first, end) = (unit * self.joined.max(1), (unit + 1) * self.joined.max(1));
            return (item.unit(first).0, item.unit(end.min(item.units()) - 1).1);
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
        // The output is written from its beginning on.
        let left = program.stages().len() - 1 - self.number;
        self.backwards =
            left % 2 == 1 && self.gather.as_ref().is_some_and(|gather| !gather.ordered);
        self
    }

    fn cut(&mut self, item: &Item, stage: &Stage, geometry: Geometry) {
        if stage.output.is_some() {
            self.units = item.units();
            if let Task::Job { job: Job { encoding: Some(encoding), .. }, .. } = item.task {
                self.companions = Some(encoding.begin());
                self.measures = encoding.codec.is_measured();
                if self.measures {
                    self.joined = encoding.units_of_tiles(item.step);
                    self.units = self.units.div_ceil(self.joined);
                }
            }
            return;
        }
        let brackets = |node| self.brackets.get(&node).copied().unwrap_or_default();
        let forms = Form::all(stage, &geometry, brackets);
        let tiling = if self.number >= self.fresh && may_sample(stage, &geometry) {
            Tiling::sample(&geometry)
        } else {
            Tiling::new(&forms, &geometry)
        };
        let gather = Gather::new(forms, geometry, tiling);
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
