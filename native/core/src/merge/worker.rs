//! One thread: takes units and runs them with its own registers and buffers.

use std::sync::{Mutex, PoisonError};

use super::copy;
use super::job::Task;
use super::progress::Progress;
use super::queue::{Queue, Unit};
use super::report::Report;
use super::request::{Copy, Job, OnNonFinite, Request};
use super::Sources;
use crate::dtype::Dtype;
use crate::error::{Error, Result};
use crate::program::stage::Stage;
use crate::program::Program;
use crate::vm::geometry::Geometry;
use crate::vm::machine::{Frame, Machine};
use crate::vm::BLOCK;

/// What all threads see.
pub(super) struct Shared<'a> {
    pub(super) request: &'a Request<'a>,
    pub(super) sources: &'a Sources<'a>,
    pub(super) queue: &'a Queue<'a>,
    pub(super) progress: &'a Progress,
    outcome: Mutex<(Report, Option<Error>)>,
}

impl<'a> Shared<'a> {
    pub(super) fn new(
        request: &'a Request,
        sources: &'a Sources,
        queue: &'a Queue,
        progress: &'a Progress,
    ) -> Self {
        let outcome = Mutex::default();
        Self { request, sources, queue, progress, outcome }
    }

    /// Stop the run; the first error is the one that is told.
    pub(super) fn fail(&self, error: Error) {
        self.update(|outcome| {
            outcome.1.get_or_insert(error);
        });
        self.queue.stop();
    }

    /// The result, when all threads are over.
    pub(super) fn finish(self) -> Result<Report> {
        let (report, error) = self.outcome.into_inner().unwrap_or_else(PoisonError::into_inner);
        match error {
            Some(error) => Err(error),
            None if self.progress.cancelled() => Err(Error::Cancelled),
            None => Ok(report.tidy()),
        }
    }

    fn update(&self, change: impl FnOnce(&mut (Report, Option<Error>))) {
        change(&mut self.outcome.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Note a NaN or infinity, or fail because of it.
    fn nonfinite(&self, job: usize, input: Option<usize>) -> Result<()> {
        if self.request.options.on_nonfinite == OnNonFinite::Error {
            return Err(Error::NonFinite { job, input });
        }
        self.update(|outcome| {
            outcome.0.nonfinite.insert((job, input));
        });
        Ok(())
    }
}

/// A thread's own things.
pub(super) struct Worker<'a> {
    shared: &'a Shared<'a>,
    machine: Machine,
    /// One buffer per input that is read from a file.
    inputs: Vec<Vec<u8>>,
    output: Vec<u8>,
}

/// A unit of a job, taken apart.
struct Part<'u, 'a> {
    unit: &'u Unit<'a>,
    index: usize,
    job: &'a Job,
    stage: &'a Stage,
    geometry: Geometry,
}

impl<'a> Worker<'a> {
    pub(super) fn new(shared: &'a Shared<'a>) -> Self {
        Self { shared, machine: Machine::new(), inputs: Vec::new(), output: Vec::new() }
    }

    /// Run units until there are none or one fails.
    pub(super) fn run(&mut self) {
        while let Some(unit) = self.shared.queue.next() {
            match self.run_unit(&unit) {
                Ok(()) => self.shared.queue.complete(&unit),
                Err(error) => return self.shared.fail(error),
            }
        }
    }

    fn run_unit(&mut self, unit: &Unit<'a>) -> Result<()> {
        match unit.item.task {
            Task::Copy(copy) => self.run_copy(copy, unit.begin, unit.end),
            Task::Job { index, job, program, geometry } => {
                let stage = stage(program, unit.pass);
                let part = Part { unit, index, job, stage, geometry };
                self.load(&part)?;
                self.compute(&part)
            }
        }
    }

    fn run_copy(&mut self, copy: &Copy, begin: u64, end: u64) -> Result<()> {
        let source = &self.shared.sources[copy.source];
        let sink = &self.shared.request.sinks[copy.sink];
        self.inputs.resize_with(self.inputs.len().max(1), Vec::new);
        let buffers = (&mut self.inputs[0], &mut self.output);
        // SAFETY: `check` found no overlapping ranges in the sinks.
        unsafe { copy::copy(copy, begin, end, source, sink, buffers) }?;
        self.shared.progress.add_bytes(end - begin);
        self.shared.update(|outcome| outcome.0.bytes_copied += end - begin);
        Ok(())
    }

    /// Read the unit's part of every input that the stage uses.
    fn load(&mut self, part: &Part) -> Result<()> {
        let count = self.inputs.len().max(part.stage.inputs.len());
        self.inputs.resize_with(count, Vec::new);
        for (buffer, input) in self.inputs.iter_mut().zip(&part.stage.inputs) {
            let (source, begin, length) = part.place(*input);
            self.shared.sources[source].load(begin, length, buffer)?;
        }
        Ok(())
    }

    /// Run the stage over the unit's blocks.
    fn compute(&mut self, part: &Part) -> Result<()> {
        let shared = self.shared;
        let inputs: Vec<(&[u8], Dtype)> = part
            .stage
            .inputs
            .iter()
            .zip(&self.inputs)
            .map(|(input, buffer)| {
                let (source, begin, length) = part.place(*input);
                (shared.sources[source].view(begin, length, buffer), part.job.inputs[*input].dtype)
            })
            .collect();
        let frame = part.frame(&inputs);
        let read: usize = inputs.iter().map(|input| input.0.len()).sum();
        self.machine.start(&frame);
        let mut written = 0;
        if part.stage.output.is_some() {
            written = part.output_length();
            let sink = &shared.request.sinks[part.job.sink];
            let machine = &mut self.machine;
            let fill = |target: &mut [u8]| store_blocks(shared, machine, &frame, part, target);
            let begin = part.job.offset + part.unit.begin * part.job.dtype.bytes() as u64;
            // SAFETY: `check` found no overlapping ranges in the sinks.
            let finite = unsafe { sink.write(begin, written, &mut self.output, fill) }?;
            if !finite && !self.machine.nonfinite.contains(&true) {
                shared.nonfinite(part.index, None)?;
            }
        }
        shared.progress.add_bytes(read as u64);
        shared.update(|outcome| {
            outcome.0.bytes_read += read as u64;
            outcome.0.bytes_written += written as u64;
        });
        Ok(())
    }
}

/// Compute and encode all blocks of a unit; false if a result is not finite.
fn store_blocks(
    shared: &Shared,
    machine: &mut Machine,
    frame: &Frame,
    part: &Part,
    target: &mut [u8],
) -> Result<bool> {
    let output = part.stage.output.unwrap_or_default();
    let dtype = part.job.dtype;
    let mut finite = true;
    for (place, bytes) in target.chunks_mut(BLOCK * dtype.bytes()).enumerate() {
        let length = bytes.len() / dtype.bytes();
        machine.run(frame, place * BLOCK, length);
        finite &= machine.store(output, dtype, length, bytes);
        if place % 32 == 31 && shared.progress.cancelled() {
            return Err(Error::Cancelled);
        }
    }
    for (slot, input) in part.stage.inputs.iter().enumerate() {
        if machine.nonfinite[slot] {
            shared.nonfinite(part.index, Some(*input))?;
        }
    }
    Ok(finite)
}

fn stage(program: &Program, pass: usize) -> &Stage {
    &program.stages()[pass]
}

impl Part<'_, '_> {
    /// Where the unit's part of an input lies: (source, begin, length).
    fn place(&self, input: usize) -> (usize, u64, usize) {
        let range = &self.job.inputs[input];
        let bytes = range.dtype.bytes() as u64;
        let length = (self.unit.end - self.unit.begin) * bytes;
        (range.source, range.offset + self.unit.begin * bytes, length as usize)
    }

    fn output_length(&self) -> usize {
        (self.unit.end - self.unit.begin) as usize * self.job.dtype.bytes()
    }

    fn frame<'f>(&'f self, inputs: &'f [(&'f [u8], Dtype)]) -> Frame<'f> {
        Frame {
            stage: self.stage,
            inputs,
            scalars: &self.unit.state.scalars,
            vectors: &self.unit.state.vectors,
            geometry: self.geometry,
            seed: self.job.seed,
            begin: self.unit.begin,
        }
    }
}
