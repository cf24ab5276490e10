//! The items of work, in the order in which they are started.

use super::memory;
use super::request::{Copy, Job, Request};
use super::Sources;
use crate::program::stage::{Collector, Stage};
use crate::program::Program;
use crate::reduce::Tiling;
use crate::vm::geometry::Geometry;

/// Bytes of one unit of a copy: as many as a unit of a job writes, of 16-bit numbers.
const PIECE: u64 = 256 * 1024;

/// What is to be done.
#[derive(Debug, Clone, Copy)]
pub(super) enum Task<'a> {
    Job { index: usize, job: &'a Job, program: &'a Program, geometry: Geometry },
    Copy(&'a Copy),
}

/// A task with its division into units.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item<'a> {
    pub(super) task: Task<'a>,
    /// Elements or bytes of a unit.
    pub(super) step: u64,
    /// Elements or bytes of the task.
    pub(super) length: u64,
    /// Bytes that its progress counts.
    pub(super) work: u64,
}

impl Item<'_> {
    /// Elements or bytes that are written.
    pub(super) fn outputs(&self) -> u64 {
        match self.task {
            Task::Job { job, .. } => job.outputs(),
            Task::Copy(_) => self.length,
        }
    }

    /// Elements or bytes by which the first unit is shorter, so that the others begin where a
    /// multiple of their size lies in the output.
    fn lead(&self) -> u64 {
        if self.length <= self.step {
            return 0;
        }
        match self.task {
            Task::Job { job, .. } if job.encoding.is_some() => 0,
            Task::Job { job, .. } => {
                let lead = job.offset / job.dtype.bytes() as u64 % self.step;
                lead - lead % memory::together(job)
            }
            Task::Copy(copy) => copy.offset % self.step,
        }
    }

    /// Number of units that write the output.
    pub(super) fn units(&self) -> u64 {
        (self.outputs() + self.lead()).div_ceil(self.step)
    }

    /// Elements or bytes of such a unit: (begin, end).
    pub(super) fn unit(&self, index: u64) -> (u64, u64) {
        let (begin, lead) = (index * self.step, self.lead());
        (begin.saturating_sub(lead), (begin + self.step - lead).min(self.outputs()))
    }

    /// Place in the output, for the order of work.
    fn place(&self) -> (usize, u64) {
        match self.task {
            Task::Job { job, .. } => (job.sink, job.offset),
            Task::Copy(copy) => (copy.sink, copy.offset),
        }
    }
}

/// All items by their place in the output, so that writes are nearly sequential.
pub(super) fn items<'a>(request: &'a Request, sources: &Sources, threads: usize) -> Vec<Item<'a>> {
    let jobs = request.jobs.iter().enumerate().map(|(index, job)| {
        let program = request.programs[job.program];
        let step = memory::unit_elements(request, sources, program, job, threads);
        let step = job.encoding.as_ref().map_or(step, |encoding| encoding.whole_rows(step));
        let length = job.elements();
        let geometry = Geometry::of(&job.shape);
        let task = Task::Job { index, job, program, geometry };
        Item { task, step, length, work: work(program, job, &geometry) }
    });
    let copies = request.copies.iter().map(|copy| {
        let (length, task) = (copy.length, Task::Copy(copy));
        Item { task, step: PIECE, length, work: length }
    });
    let mut items: Vec<_> = jobs.chain(copies).collect();
    items.sort_by_key(Item::place);
    items
}

/// Input bytes of all passes, but for those that look at a sample.
fn work(program: &Program, job: &Job, geometry: &Geometry) -> u64 {
    let stages = program.stages().iter().filter(|stage| !may_sample(stage, geometry));
    let once = stages.map(|stage| bytes_of(stage, job)).fold(0, u64::saturating_add);
    // What is measured before it is encoded is computed twice.
    let measured = job.encoding.as_ref().is_some_and(|encoding| encoding.codec.is_measured());
    let last = program.stages().last().filter(|_| measured);
    once.saturating_add(last.map_or(0, |stage| bytes_of(stage, job)))
}

/// Input bytes of a pass.
pub(super) fn bytes_of(stage: &Stage, job: &Job) -> u64 {
    let elements = if stage.output.is_some() { job.outputs() } else { job.elements() };
    let bytes = stage.inputs.iter().map(|input| job.inputs[*input].bytes_before(elements));
    bytes.fold(0, u64::saturating_add)
}

/// Whether a pass only looks for where k-th values are, and of a large tensor.
pub(super) fn may_sample(stage: &Stage, geometry: &Geometry) -> bool {
    let all = stage.collects.iter().all(|collect| collect.what == Collector::KthBracket);
    all && stage.output.is_none() && Tiling::samples(geometry)
}
