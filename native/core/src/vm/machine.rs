//! The registers, and which way a stage is run.

use super::block::{Block, Strip, STRIP};
use super::direct::{Direct, DirectChanges, DirectProducts};
use super::frame::Frame;
use super::run::{Long, RUN};
use super::simd::Level;
use super::table::Table;
use super::work::{Collect, CollectChanges, Encode, LookUp, Run, RunDirect, RunLong, SumDirect};
use super::BLOCK;
use crate::program::stage::Instruction;
use crate::reduce::Local;

/// The registers of one thread, and which inputs had a NaN or infinity.
pub(crate) struct Machine {
    level: Level,
    registers: Vec<Box<Block>>,
    spare: Box<Block>,
    table: Table,
    /// How the stage's output, or what it collects, is computed, since [`Machine::start`].
    strategy: Strategy,
    /// What is computed in runs where [`Strategy::Registers`] is told, and numbers to spare for it.
    long: Option<Long>,
    others: Vec<f32>,
    /// One per input of the stage, since [`Machine::start`].
    pub(crate) nonfinite: Vec<bool>,
}

/// Strategies from the inputs' bytes to the output's, or to what is collected.
#[derive(Debug, Clone, Copy)]
enum Strategy {
    /// Instruction by instruction.
    Registers,
    Direct(Direct),
    Products(DirectProducts),
    Changes(DirectChanges),
    Table,
}

impl Machine {
    /// A machine for this processor.
    pub(crate) fn new() -> Self {
        Self::at_level(Level::detect())
    }

    /// A machine for a given instruction set.
    pub(crate) fn at_level(level: Level) -> Self {
        Self {
            level,
            registers: Vec::new(),
            spare: Block::zeroed(),
            table: Table::default(),
            strategy: Strategy::Registers,
            long: None,
            others: Vec::new(),
            nonfinite: Vec::new(),
        }
    }

    /// Make ready for a run of blocks of a stage.
    pub(crate) fn start(&mut self, frame: &Frame) {
        let needed = frame.stage.registers.max(self.registers.len());
        self.registers.resize_with(needed, Block::zeroed);
        self.nonfinite.clear();
        self.nonfinite.resize(frame.inputs.len(), false);
        for instruction in &frame.stage.prologue {
            if let Instruction::Splat { target, scalar } = instruction {
                let value = frame.scalars[usize::from(*scalar)];
                self.registers[usize::from(*target)].0.fill(value);
            }
        }
        self.long = Long::of(frame);
        self.others.resize(if self.long.is_some() { RUN } else { 0 }, 0.0);
        self.strategy = self.strategy(frame);
    }

    /// Find the fastest strategy for what the stage stores or collects.
    fn strategy(&mut self, frame: &Frame) -> Strategy {
        if let Some(direct) = Direct::of(frame) {
            return Strategy::Direct(direct);
        }
        if let Some(direct) = DirectProducts::of(frame) {
            return Strategy::Products(direct);
        }
        if let Some(direct) = DirectChanges::of(frame) {
            return Strategy::Changes(direct);
        }
        let mut table = std::mem::take(&mut self.table);
        let made = table.prepare(frame, |frame, target| self.compute(frame, 0, target));
        self.table = table;
        if made {
            Strategy::Table
        } else {
            Strategy::Registers
        }
    }

    /// Compute and encode the stage's output at `offset` from the run's beginning, a block at most;
    /// false if a number is not finite then.
    pub(crate) fn produce(&mut self, frame: &Frame, offset: usize, target: &mut [u8]) -> bool {
        match self.strategy {
            Strategy::Direct(direct) => self.run_direct(direct, frame, offset, target),
            Strategy::Table => {
                self.look_up(frame, offset, target) || self.compute(frame, offset, target)
            }
            Strategy::Products(_) | Strategy::Changes(_) | Strategy::Registers => {
                self.compute(frame, offset, target)
            }
        }
    }

    /// Numbers that [`Machine::results_into`] had best compute at once.
    pub(crate) fn together(&self) -> usize {
        if self.long.is_some() {
            RUN
        } else {
            BLOCK
        }
    }

    /// Whether the stage reads its inputs side by side in one loop, which processors fetch ahead of
    /// by themselves.
    pub(crate) fn streams(&self) -> bool {
        !matches!(self.strategy, Strategy::Registers | Strategy::Table)
    }

    /// Whether [`Machine::produce`] can write past the caches, to memory that nobody reads soon.
    pub(crate) fn writes_past(&self, frame: &Frame) -> bool {
        let direct = matches!(self.strategy, Strategy::Direct(_));
        direct && self.level.writes_past(frame.encoding.dtype)
    }

    /// [`Machine::produce`] in registers.
    pub(super) fn compute(&mut self, frame: &Frame, offset: usize, target: &mut [u8]) -> bool {
        self.run(frame, offset, target.len() / frame.encoding.dtype.bytes());
        self.store(frame, offset, target)
    }

    /// Compute step by step what could be computed in runs.
    #[cfg(test)]
    pub(super) fn forget_runs(&mut self) {
        self.long = None;
    }

    /// Whether [`Machine::produce`] or [`Machine::collect`] need no registers.
    #[cfg(test)]
    pub(super) fn is_short(&self) -> bool {
        !matches!(self.strategy, Strategy::Registers)
    }

    fn look_up(&mut self, frame: &Frame, offset: usize, target: &mut [u8]) -> bool {
        self.level.run(LookUp { table: &mut self.table, frame, offset, target })
    }

    fn run_direct(
        &mut self,
        direct: Direct,
        frame: &Frame,
        offset: usize,
        target: &mut [u8],
    ) -> bool {
        let nonfinite = &mut self.nonfinite[..];
        self.level.run(RunDirect { direct, frame, offset, nonfinite, target })
    }

    /// Compute the block of `length` elements at `offset` from the run's beginning.
    ///
    /// Registers hold rubbish beyond `length`.
    pub(crate) fn run(&mut self, frame: &Frame, offset: usize, length: usize) {
        let Some(long) = self.long else {
            return self.run_into(frame, offset, length, &mut []);
        };
        let Self { registers, others: spare, nonfinite, .. } = self;
        let target = &mut registers[output_of(frame)].0[..length];
        self.level.run(RunLong { long, nonfinite, frame, offset, spare, target });
    }

    /// The same, but what the last instruction makes of as many strips as `results` has goes there.
    fn run_into(&mut self, frame: &Frame, offset: usize, length: usize, results: &mut [Strip]) {
        let Self { registers, spare, nonfinite, .. } = self;
        self.level.run(Run { registers, spare, nonfinite, frame, offset, length, results });
    }

    /// The stage's output before it is encoded: `length` values, a block at most, at `offset` from
    /// the run's beginning.
    pub(crate) fn results(&mut self, frame: &Frame, offset: usize, length: usize) -> &[f32] {
        self.run(frame, offset, length);
        &self.registers[output_of(frame)].0[..length]
    }

    /// [`Machine::results`], stored where they are wanted: at most [`Machine::together`].
    pub(crate) fn results_into(&mut self, frame: &Frame, offset: usize, target: &mut [f32]) {
        if let Some(long) = self.long {
            let Self { others: spare, nonfinite, .. } = self;
            return self.level.run(RunLong { long, nonfinite, frame, offset, spare, target });
        }
        let output = output_of(frame);
        let last = frame.stage.body.last().map(|last| usize::from(last.target()));
        let whole = if last == Some(output) { target.len() / STRIP * STRIP } else { 0 };
        let (length, (strips, rest)) = (target.len(), target.split_at_mut(whole));
        self.run_into(frame, offset, length, strips.as_chunks_mut().0);
        rest.copy_from_slice(&self.registers[output].0[whole..length]);
    }

    /// Encode the stage's output after [`Machine::run`]; see [`Machine::produce`].
    fn store(&mut self, frame: &Frame, offset: usize, target: &mut [u8]) -> bool {
        let values =
            &self.registers[output_of(frame)].0[..target.len() / frame.encoding.dtype.bytes()];
        self.level.run(Encode { frame, offset, values, spare: &mut self.spare, target })
    }

    /// Add the block of `length` elements at `offset` from the run's beginning to the collectors'
    /// shares of a tile that begins at `tile`.
    pub(crate) fn collect(
        &mut self,
        frame: &Frame,
        local: &mut Local,
        (tile, offset): (usize, usize),
        length: usize,
    ) {
        if let Strategy::Products(direct) = self.strategy {
            let (place, nonfinite) = ((offset, length), &mut self.nonfinite[..]);
            return self.level.run(SumDirect { direct, frame, place, nonfinite, local });
        }
        if let Strategy::Changes(direct) = self.strategy {
            let (spare, nonfinite) = (&mut self.spare.0[..length], &mut self.nonfinite[..]);
            let place = (offset, offset - tile);
            let task = CollectChanges { direct, frame, place, nonfinite, local, spare };
            return self.level.run(task);
        }
        self.collect_registers(frame, local, (tile, offset), length);
    }

    /// [`Machine::collect`] in registers.
    pub(super) fn collect_registers(
        &mut self,
        frame: &Frame,
        local: &mut Local,
        (tile, offset): (usize, usize),
        length: usize,
    ) {
        self.run(frame, offset, length);
        let (registers, stage, offset) = (&self.registers[..], frame.stage, offset - tile);
        self.level.run(Collect { registers, stage, local, offset, length });
    }
}

/// The register that a stage stores.
fn output_of(frame: &Frame) -> usize {
    usize::from(frame.stage.output.unwrap_or_default())
}
