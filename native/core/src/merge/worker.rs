//! One thread: takes units and runs them with its own registers and buffers.

use std::time::{Duration, Instant};

use super::compute::{collect, encoded, store};
use super::finish::finish;
use super::input::bounds::{Limits, Question};
use super::input::reading;
use super::job::Task;
use super::pairs::{self, Pairs, Target};
use super::part::Part;
use super::queue::Unit;
use super::read_mode::ReadMode;
use super::request::{Copy, Rounding};
use super::shared::Shared;
use crate::codec::blocks::encode::{Companions, Encoder};
use crate::dtype::Dtype;
use crate::error::Result;
use crate::reduce::Local;
use crate::vm::frame::Frame;
use crate::vm::machine::Machine;
use crate::vm::view::View;
use crate::vm::BLOCK;

/// A buffer and which range of which item it holds.
#[derive(Debug, Default)]
struct Buffer {
    part: reading::Buffer,
    holds: Option<(usize, u64, u64, ReadMode)>,
}

/// A thread's own things.
pub(super) struct Worker<'a> {
    shared: &'a Shared<'a>,
    machine: Machine,
    /// One per input of a job.
    inputs: Vec<Buffer>,
    output: Vec<u8>,
    /// Results before they are encoded.
    values: Vec<f32>,
    pairs: Pairs,
    limits: Limits,
    local: Local,
    /// Time that reading and computing a unit took, and bytes that were read.
    spent: Duration,
    read: u64,
}

impl<'a> Worker<'a> {
    pub(super) fn new(shared: &'a Shared<'a>) -> Self {
        Self {
            shared,
            machine: Machine::new(),
            inputs: Vec::new(),
            output: Vec::new(),
            values: Vec::new(),
            pairs: Pairs::default(),
            limits: Limits::default(),
            local: Local::default(),
            spent: Duration::ZERO,
            read: 0,
        }
    }

    /// Run units until there are none or one fails.
    pub(super) fn run(&mut self) {
        while let Some(unit) = self.shared.queue.next() {
            if let Err(error) = self.run_unit(&unit) {
                return self.shared.fail(error);
            }
            if self.shared.queue.complete(&unit) {
                let sound = self.shared.is_sound(&unit.item);
                let next = self.shared.course.next(&unit.item, &unit.pass, sound);
                if next.is_none() {
                    if let Err(error) = self.finish(&unit) {
                        return self.shared.fail(error);
                    }
                }
                self.shared.queue.advance(&unit, next);
            }
        }
    }

    /// Write what comes after the last unit of an item.
    fn finish(&self, unit: &Unit) -> Result<()> {
        let (Task::Job { job, .. }, Some(companions)) = (unit.item.task, &unit.pass.companions)
        else {
            return Ok(());
        };
        let encoding = job.encoding.as_ref();
        encoding.map_or(Ok(()), |encoding| finish(encoding, self.shared, job, companions))
    }

    fn run_unit(&mut self, unit: &Unit<'a>) -> Result<()> {
        match unit.item.task {
            Task::Copy(copy) => self.run_copy(copy, unit.begin, unit.end),
            Task::Job { index, job, program, geometry } => {
                let stage = &program.stages()[unit.pass.number];
                let tiles = unit.pass.tiles(unit.index);
                let (begin, end) = (unit.begin, unit.end);
                let (mode, timed) = self.shared.modes.pick(unit.pass.samples());
                let sources = self.shared.modes.sources(mode);
                let mapped = job.inputs.iter().any(|input| !input.needs_buffer(sources));
                let part = Part {
                    unit,
                    index,
                    job,
                    stage,
                    geometry,
                    begin,
                    end,
                    tiles,
                    mapped,
                    mode,
                    sources,
                };
                (self.spent, self.read) = (Duration::ZERO, 0);
                self.run_job(&part)?;
                if timed {
                    self.shared.modes.note(mode, self.read, self.spent);
                }
                Ok(())
            }
        }
    }

    fn run_job(&mut self, part: &Part) -> Result<()> {
        let Some(gather) = &part.unit.pass.gather else {
            return self.run_part(part);
        };
        self.local.begin_unit(&gather.forms, &part.geometry);
        if part.unit.pass.samples() {
            for tile in part.tiles.0..part.tiles.1 {
                let (begin, end) = gather.tiling.range(tile);
                self.run_part(&Part { begin, end, tiles: (tile, tile + 1), ..*part })?;
            }
        } else {
            self.run_part(part)?;
        }
        gather.deliver_counts(&self.local);
        Ok(())
    }

    fn run_part(&mut self, part: &Part) -> Result<()> {
        if let Some(companions) = &part.unit.pass.companions {
            if self.run_pairs(part, companions)? || self.run_bounded(part, companions)? {
                return Ok(());
            }
        }
        self.run_whole(part)
    }

    /// Load and compute all of a part.
    fn run_whole(&mut self, part: &Part) -> Result<()> {
        let start = Instant::now();
        self.load(part)?;
        self.spent += start.elapsed();
        self.compute(part)?;
        let start = Instant::now();
        part.release()?;
        self.spent += start.elapsed();
        Ok(())
    }

    /// Measure what may be greater than all that was measured before, if bounds say what that is.
    fn run_bounded(&mut self, part: &Part, companions: &Companions) -> Result<bool> {
        if !part.unit.pass.measures {
            return Ok(false);
        }
        let Part { job, stage, begin, end, .. } = *part;
        let (scalars, reached) = (&part.unit.pass.scalars[..], companions.reached());
        let question = Question { job, stage, scalars, begin, end, reached };
        let Some(runs) = self.limits.exceeding(&question, part.sources)? else {
            let step = part.unit.item.step;
            if end - begin <= step {
                return Ok(false);
            }
            for begin in (begin..end).step_by(step as usize) {
                let end = end.min(begin + step);
                self.run_part(&Part { begin, end, ..*part })?;
            }
            return Ok(true);
        };
        let mut left = part.bytes_read();
        for (begin, end) in runs {
            let run = Part { begin, end, ..*part };
            self.run_whole(&run)?;
            left -= run.bytes_read();
        }
        self.shared.progress.add_bytes(left);
        self.shared.update(|outcome| outcome.0.bytes_read += left);
        Ok(true)
    }

    /// Look up all results of a part, if they can be and all are finite.
    fn run_pairs(&mut self, part: &Part, companions: &Companions) -> Result<bool> {
        let (Some(inputs), Some(encoding)) =
            (pairs::inputs_of(part.job, part.stage), &part.job.encoding)
        else {
            return Ok(false);
        };
        let (shared, machine) = (self.shared, &mut self.machine);
        self.pairs.prepare(part.unit.place, inputs, part.sources, |numbers| {
            let bytes = numbers.map(bytes_of);
            let inputs = [0, 1].map(|input| View::Plain(&bytes[input], Dtype::F32));
            let frame = part.frame(&inputs, false);
            machine.start(&frame);
            machine.results(&frame, 0, BLOCK).to_vec()
        })?;
        let (begin, count) = (part.begin, (part.end - part.begin) as usize);
        let (pairs, sources) = (&mut self.pairs, part.sources);
        let (mut written, mut busy) = (0, Duration::ZERO);
        let mut look_up = |mut target: Target| {
            let start = Instant::now();
            let found = pairs.look_up(sources, inputs, begin, &mut target);
            busy = start.elapsed();
            found
        };
        let found = if part.unit.pass.measures {
            look_up(Target::Measure(companions, count))?
        } else {
            written = count;
            let sink = &shared.request.sinks[part.job.sink];
            let fill = |target: &mut [u8]| {
                look_up(Target::Encode(Encoder { codec: &encoding.codec, companions }, target))
            };
            // SAFETY: `check` found no overlapping ranges in the sinks.
            unsafe { sink.write(part.job.offset + begin, count, &mut self.output, fill) }?
        };
        if found.is_none() {
            return Ok(false);
        }
        (self.spent, self.read) = (self.spent + busy, self.read + part.bytes_read());
        shared.progress.add_bytes(part.bytes_read());
        shared.update(|outcome| {
            outcome.0.bytes_read += part.bytes_read();
            outcome.0.bytes_written += written as u64;
        });
        Ok(true)
    }

    fn run_copy(&mut self, copy: &Copy, begin: u64, end: u64) -> Result<()> {
        let source = &self.shared.sources[copy.source];
        let sink = &self.shared.request.sinks[copy.sink];
        let (from, to, length) = (copy.source_offset + begin, copy.offset + begin, end - begin);
        let fill = |target: &mut [u8]| source.read(from, target);
        // SAFETY: `check` found no overlapping ranges in the sinks.
        unsafe { sink.write(to, length as usize, &mut self.output, fill) }?;
        self.shared.progress.add_bytes(length);
        self.shared.update(|outcome| outcome.0.bytes_copied += length);
        Ok(())
    }

    /// Read the part of every input that the stage uses, unless it is there from the pass before
    /// (jobs of a single unit).
    fn load(&mut self, part: &Part) -> Result<()> {
        let count = self.inputs.len().max(part.job.inputs.len());
        self.inputs.resize_with(count, Buffer::default);
        for input in &part.stage.inputs {
            let buffer = &mut self.inputs[*input];
            let wanted = Some((part.unit.place, part.begin, part.end, part.mode));
            if buffer.holds != wanted {
                let stored = &part.job.inputs[*input];
                buffer.holds = None;
                stored.load(part.sources, part.begin, part.end, &mut buffer.part)?;
                buffer.holds = wanted;
            }
        }
        Ok(())
    }

    /// Run the stage over the part's blocks.
    fn compute(&mut self, part: &Part) -> Result<()> {
        let shared = self.shared;
        let view = |input: &usize| {
            let (stored, buffer) = (&part.job.inputs[*input], &self.inputs[*input].part);
            stored.view(part.sources, part.begin, part.end, buffer)
        };
        let inputs: Vec<View> = part.stage.inputs.iter().map(view).collect();
        let by_chance = shared.request.options.rounding == Rounding::Stochastic;
        let frame = part.frame(&inputs, by_chance);
        let read = part.bytes_read();
        self.machine.start(&frame);
        let mut written = 0;
        let (start, mut busy) = (Instant::now(), Duration::ZERO);
        if let Some(gather) = &part.unit.pass.gather {
            collect(shared, &mut self.machine, &frame, part, gather, &mut self.local)?;
            busy = start.elapsed();
        } else if let Some(companions) = &part.unit.pass.companions {
            let buffers = (&**companions, &mut self.values, &mut self.output);
            written = encoded(shared, &mut self.machine, &frame, part, buffers)?;
            busy = start.elapsed();
        } else {
            written = part.output_length();
            let sink = &shared.request.sinks[part.job.sink];
            let machine = &mut self.machine;
            let past = sink.is_memory() && machine.writes_past(&frame);
            let fill = |target: &mut [u8]| {
                store(shared, machine, &Frame { past, ..frame }, part, target)?;
                busy = start.elapsed();
                Ok(())
            };
            let begin = part.job.offset + part.begin * part.job.dtype.bytes() as u64;
            if past {
                // SAFETY: `check` found no overlapping ranges in the sinks.
                unsafe { sink.write_in_place(begin, written, &mut self.output, fill) }?;
            } else {
                // SAFETY: `check` found no overlapping ranges in the sinks.
                unsafe { sink.write(begin, written, &mut self.output, fill) }?;
            }
        }
        (self.spent, self.read) = (self.spent + busy, self.read + read);
        if part.unit.pass.counts() {
            shared.progress.add_bytes(read);
        }
        shared.update(|outcome| {
            outcome.0.bytes_read += read;
            outcome.0.bytes_written += written as u64;
        });
        Ok(())
    }
}

/// Little-endian bytes.
fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}
