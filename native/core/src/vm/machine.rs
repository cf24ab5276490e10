//! The registers and the loop over instructions.

use super::block::{Block, Source};
use super::direct::Direct;
use super::frame::{Encoding, Frame};
use super::index;
use super::kernels;
use super::simd::Level;
use super::table::Table;
use crate::codec::{self, Isa};
use crate::program::stage::{Instruction, Operand, Register, Stage};
use crate::program::Distribution;
use crate::reduce::Local;
use crate::rng;

/// The registers of one thread, and which inputs had a NaN or infinity.
pub(crate) struct Machine {
    level: Level,
    registers: Vec<Box<Block>>,
    spare: Box<Block>,
    table: Table,
    /// How the stage's output is computed, since [`Machine::start`].
    way: Way,
    /// One per input of the stage, since [`Machine::start`].
    pub(crate) nonfinite: Vec<bool>,
}

/// Ways from the inputs' bytes to the output's.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// Instruction by instruction.
    Registers,
    Direct(Direct),
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
            way: Way::Registers,
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
        self.way = self.way(frame);
    }

    /// Find the fastest way to the stage's output.
    fn way(&mut self, frame: &Frame) -> Way {
        if let Some(direct) = Direct::of(frame) {
            return Way::Direct(direct);
        }
        let mut table = std::mem::take(&mut self.table);
        let made = table.prepare(frame, |frame, target| self.compute(frame, 0, target));
        self.table = table;
        if made {
            Way::Table
        } else {
            Way::Registers
        }
    }

    /// Compute and encode the stage's output at `offset` from the run's beginning, a block at most;
    /// false if a number is not finite then.
    pub(crate) fn produce(&mut self, frame: &Frame, offset: usize, target: &mut [u8]) -> bool {
        match self.way {
            Way::Direct(direct) => self.run_direct(direct, frame, offset, target),
            Way::Table => {
                self.look_up(frame, offset, target) || self.compute(frame, offset, target)
            }
            Way::Registers => self.compute(frame, offset, target),
        }
    }

    /// [`Machine::produce`] in registers.
    pub(super) fn compute(&mut self, frame: &Frame, offset: usize, target: &mut [u8]) -> bool {
        self.run(frame, offset, target.len() / frame.encoding.dtype.bytes());
        self.store(frame, offset, target)
    }

    /// Whether [`Machine::produce`] needs no registers.
    #[cfg(test)]
    pub(super) fn is_short(&self) -> bool {
        !matches!(self.way, Way::Registers)
    }

    fn look_up(&mut self, frame: &Frame, offset: usize, target: &mut [u8]) -> bool {
        match self.level {
            Level::Portable => self.table.look_up(frame, offset, target),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => {
                // SAFETY: this level is only made where these features were detected.
                unsafe { look_up_avx2(&mut self.table, frame, offset, target) }
            }
        }
    }

    fn run_direct(
        &mut self,
        direct: Direct,
        frame: &Frame,
        offset: usize,
        target: &mut [u8],
    ) -> bool {
        let nonfinite = &mut self.nonfinite;
        match self.level {
            Level::Portable => direct.run::<codec::Portable>(frame, offset, nonfinite, target),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => {
                // SAFETY: this level is only made where these features were detected.
                unsafe { run_direct_avx2(direct, frame, offset, nonfinite, target) }
            }
        }
    }

    /// Compute the block of `length` elements at `offset` from the run's beginning.
    ///
    /// Registers hold rubbish beyond `length`.
    pub(crate) fn run(&mut self, frame: &Frame, offset: usize, length: usize) {
        match self.level {
            Level::Portable => self.run_with::<codec::Portable>(frame, offset, length),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => {
                // SAFETY: this level is only made where these features were detected.
                unsafe { self.run_avx2(frame, offset, length) }
            }
        }
    }

    /// The stage's output before it is encoded: `length` values, a block at most, at `offset` from
    /// the run's beginning.
    pub(crate) fn results(&mut self, frame: &Frame, offset: usize, length: usize) -> &[f32] {
        self.run(frame, offset, length);
        &self.register(frame.stage.output.unwrap_or_default()).0[..length]
    }

    /// The contents of a register after [`Machine::run`].
    pub(crate) fn register(&self, register: Register) -> &Block {
        &self.registers[usize::from(register)]
    }

    /// Encode the stage's output after [`Machine::run`]; see [`Machine::produce`].
    fn store(&mut self, frame: &Frame, offset: usize, target: &mut [u8]) -> bool {
        let output = usize::from(frame.stage.output.unwrap_or_default());
        let values = &self.registers[output].0[..target.len() / frame.encoding.dtype.bytes()];
        match self.level {
            Level::Portable => {
                encode::<codec::Portable>(frame, offset, values, &mut self.spare, target)
            }
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => {
                // SAFETY: this level is only made where these features were detected.
                unsafe { encode_avx2(frame, offset, values, &mut self.spare, target) }
            }
        }
    }

    /// Add the first `length` values of the collectors' registers to their shares.
    pub(crate) fn collect(&self, stage: &Stage, local: &mut Local, offset: usize, length: usize) {
        match self.level {
            Level::Portable => self.collect_with(stage, local, offset, length),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => {
                // SAFETY: this level is only made where these features were detected.
                unsafe { self.collect_avx2(stage, local, offset, length) }
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,f16c")]
    fn collect_avx2(&self, stage: &Stage, local: &mut Local, offset: usize, length: usize) {
        self.collect_with(stage, local, offset, length);
    }

    #[inline(always)]
    fn collect_with(&self, stage: &Stage, local: &mut Local, offset: usize, length: usize) {
        for (index, collect) in stage.collects.iter().enumerate() {
            let xs = &self.register(collect.x).0[..length];
            let ys = &self.register(collect.y).0[..length];
            local.add(index, offset, xs, ys);
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,f16c")]
    fn run_avx2(&mut self, frame: &Frame, offset: usize, length: usize) {
        self.run_with::<codec::Avx2>(frame, offset, length);
    }

    #[inline(always)]
    fn run_with<I: Isa>(&mut self, frame: &Frame, offset: usize, length: usize) {
        for instruction in &frame.stage.body {
            // The target is never an argument: compute beside it, then swap it in.
            if let Instruction::Load { input, .. } = instruction {
                let finite = load::<I>(frame, *input, &mut self.spare, offset, length);
                self.nonfinite[usize::from(*input)] |= !finite;
            } else {
                step::<I>(frame, instruction, &self.registers, &mut self.spare, offset);
            }
            let target = usize::from(instruction.target());
            std::mem::swap(&mut self.registers[target], &mut self.spare);
        }
    }
}

/// Decode a block of an input; false if a value is not finite.
#[inline(always)]
fn load<I: Isa>(
    frame: &Frame,
    input: u16,
    target: &mut Block,
    offset: usize,
    length: usize,
) -> bool {
    let (bytes, dtype) = frame.inputs[usize::from(input)];
    codec::decode::<I>(dtype, &bytes[offset * dtype.bytes()..], &mut target.0[..length])
}

/// Every instruction but [`Instruction::Load`].
#[inline(always)]
fn step<I: Isa>(
    frame: &Frame,
    instruction: &Instruction,
    registers: &[Box<Block>],
    block: &mut Block,
    offset: usize,
) {
    let register = |register: Register| &*registers[usize::from(register)];
    let operand = |operand: Operand| match operand {
        Operand::Register(x) => Source::Block(register(x)),
        Operand::Scalar(x) => Source::Splat(frame.scalars[usize::from(x)]),
    };
    let begin = frame.begin + offset as u64;
    match *instruction {
        Instruction::Unary { op, x, .. } => kernels::unary(op, block, register(x)),
        Instruction::Binary { op, x, y, .. } => {
            kernels::binary(op, block, operand(x), operand(y));
        }
        Instruction::Scaled { op, x, y, .. } => {
            let scale = |scale: Option<u16>| scale.map_or(1.0, |at| frame.scalars[usize::from(at)]);
            let (x, y) = ((register(x.0), scale(x.1)), (register(y.0), scale(y.1)));
            kernels::scaled(op, block, x, y);
        }
        Instruction::Where { condition, x, y, .. } => {
            kernels::select(block, register(condition), register(x), register(y));
        }
        Instruction::Spread { node, extent, .. } => {
            index::spread(block, &frame.vectors[node], extent, &frame.geometry, begin);
        }
        Instruction::RowIndex { .. } => index::rows(block, &frame.geometry, begin),
        Instruction::Random { distribution, stream, .. } => {
            rng::fill::<I>(block, distribution, stream, frame.seed, begin);
        }
        Instruction::Load { .. } | Instruction::Splat { .. } => {}
    }
}

/// Encode values, rounding to nearest even or by chance.
#[inline(always)]
fn encode<I: Isa>(
    frame: &Frame,
    offset: usize,
    values: &[f32],
    spare: &mut Block,
    target: &mut [u8],
) -> bool {
    let Encoding { dtype, by_chance } = frame.encoding;
    if !by_chance {
        return codec::encode::<I>(dtype, values, target);
    }
    rng::fill::<I>(spare, Distribution::Rounding, 0, frame.seed, frame.begin + offset as u64);
    codec::encode_by_chance::<I>(dtype, values, &spare.0[..values.len()], target)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,f16c")]
fn encode_avx2(
    frame: &Frame,
    offset: usize,
    values: &[f32],
    spare: &mut Block,
    target: &mut [u8],
) -> bool {
    encode::<codec::Avx2>(frame, offset, values, spare, target)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,f16c")]
fn look_up_avx2(table: &mut Table, frame: &Frame, offset: usize, target: &mut [u8]) -> bool {
    table.look_up(frame, offset, target)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,f16c")]
fn run_direct_avx2(
    direct: Direct,
    frame: &Frame,
    offset: usize,
    nonfinite: &mut [bool],
    target: &mut [u8],
) -> bool {
    direct.run::<codec::Avx2>(frame, offset, nonfinite, target)
}
