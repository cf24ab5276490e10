//! The work of a machine, each piece compiled once for each instruction set.

use super::block::{Block, Source, Strip, STRIP};
use super::direct::{Direct, DirectChanges, DirectProducts};
use super::frame::{Encoding, Frame};
use super::index as places;
use super::kernels;
use super::run::Long;
use super::simd::Task;
use super::table::Table;
use super::votes;
use crate::codec::{self, Isa};
use crate::program::stage::{Instruction, Operand, Register, Stage};
use crate::program::Distribution;
use crate::reduce::Local;
use crate::rng;

/// Compute a block of a stage in registers.
pub(super) struct Run<'m, 'f> {
    pub(super) registers: &'m mut [Box<Block>],
    pub(super) spare: &'m mut Box<Block>,
    pub(super) nonfinite: &'m mut [bool],
    pub(super) frame: &'m Frame<'f>,
    pub(super) offset: usize,
    pub(super) length: usize,
    /// Where the last instruction's results go of as many strips.
    pub(super) results: &'m mut [Strip],
}

impl Task for Run<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let Self { registers, spare, nonfinite, frame, offset, length, results } = self;
        for (index, begin) in (0..length).step_by(STRIP).enumerate() {
            for (number, instruction) in (1..).zip(&frame.stage.body) {
                // The target is never an argument: it is away while the others are borrowed.
                let target = usize::from(instruction.target());
                std::mem::swap(&mut registers[target], spare);
                let result = results.get_mut(index).filter(|_| number == frame.stage.body.len());
                let strip = result.unwrap_or_else(|| spare.strip_mut(index));
                let offset = offset + begin;
                if let Instruction::Load { input, .. } = instruction {
                    let strip = &mut strip[..STRIP.min(length - begin)];
                    nonfinite[usize::from(*input)] |= !load::<I>(frame, *input, strip, offset);
                } else {
                    step::<I>(frame, instruction, registers, index, strip, offset);
                }
                std::mem::swap(&mut registers[target], spare);
            }
        }
    }
}

/// Compute numbers in long runs.
pub(super) struct RunLong<'m, 'f> {
    pub(super) long: Long,
    pub(super) nonfinite: &'m mut [bool],
    pub(super) frame: &'m Frame<'f>,
    pub(super) offset: usize,
    pub(super) spare: &'m mut [f32],
    pub(super) target: &'m mut [f32],
}

impl Task for RunLong<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let Self { long, nonfinite, frame, offset, spare, target } = self;
        long.compute::<I>((frame, offset), nonfinite, spare, target);
    }
}

/// Add values of the collectors' registers to their shares.
pub(super) struct Collect<'m> {
    pub(super) registers: &'m [Box<Block>],
    pub(super) stage: &'m Stage,
    pub(super) local: &'m mut Local,
    pub(super) offset: usize,
    pub(super) length: usize,
}

impl Task for Collect<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        for (index, collect) in self.stage.collects.iter().enumerate() {
            let values = |register: Register| &self.registers[usize::from(register)].0;
            let xs = &values(collect.x)[..self.length];
            let ys = &values(collect.y)[..self.length];
            self.local.add::<I>(index, self.offset, xs, ys);
        }
    }
}

/// Encode values, rounding to nearest even or by chance.
pub(super) struct Encode<'m, 'f> {
    pub(super) frame: &'m Frame<'f>,
    pub(super) offset: usize,
    pub(super) values: &'m [f32],
    pub(super) spare: &'m mut Block,
    pub(super) target: &'m mut [u8],
}

impl Task for Encode<'_, '_> {
    /// Whether all are finite.
    type Output = bool;

    #[inline(always)]
    fn run<I: Isa>(self) -> bool {
        let Self { frame, offset, values, spare, target } = self;
        let Encoding { dtype, by_chance } = frame.encoding;
        if !by_chance {
            return codec::encode::<I>(dtype, values, target);
        }
        let (kind, begin) = (Distribution::Rounding, frame.begin + offset as u64);
        rng::fill::<I>(&mut spare.0, kind, 0, frame.seed, begin);
        codec::encode_by_chance::<I>(dtype, values, &spare.0[..values.len()], target)
    }
}

/// Look results up.
pub(super) struct LookUp<'m, 'f> {
    pub(super) table: &'m mut Table,
    pub(super) frame: &'m Frame<'f>,
    pub(super) offset: usize,
    pub(super) target: &'m mut [u8],
}

impl Task for LookUp<'_, '_> {
    /// Whether they could be.
    type Output = bool;

    #[inline(always)]
    fn run<I: Isa>(self) -> bool {
        self.table.look_up(self.frame, self.offset, self.target)
    }
}

/// Compute straight from bytes to bytes.
pub(super) struct RunDirect<'m, 'f> {
    pub(super) direct: Direct,
    pub(super) frame: &'m Frame<'f>,
    pub(super) offset: usize,
    pub(super) nonfinite: &'m mut [bool],
    pub(super) target: &'m mut [u8],
}

impl Task for RunDirect<'_, '_> {
    /// Whether all are finite.
    type Output = bool;

    #[inline(always)]
    fn run<I: Isa>(self) -> bool {
        self.direct.run::<I>(self.frame, self.offset, self.nonfinite, self.target)
    }
}

/// Sum products straight from bytes.
pub(super) struct SumDirect<'m, 'f> {
    pub(super) direct: DirectProducts,
    pub(super) frame: &'m Frame<'f>,
    /// Of the block from the run's beginning, and its length.
    pub(super) place: (usize, usize),
    pub(super) nonfinite: &'m mut [bool],
    pub(super) local: &'m mut Local,
}

impl Task for SumDirect<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        self.direct.run::<I>(self.frame, self.place, self.nonfinite, self.local);
    }
}

/// Take differences straight from bytes, for k-th values.
pub(super) struct CollectChanges<'m, 'f> {
    pub(super) direct: DirectChanges,
    pub(super) frame: &'m Frame<'f>,
    /// Of the block from the run's beginning, and from its tile's.
    pub(super) place: (usize, usize),
    pub(super) nonfinite: &'m mut [bool],
    pub(super) local: &'m mut Local,
    /// As many numbers as the block has.
    pub(super) spare: &'m mut [f32],
}

impl Task for CollectChanges<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let Self { direct, frame, place, nonfinite, local, spare } = self;
        direct.run::<I>(frame, place, (nonfinite, local), spare);
    }
}

/// Decode a strip of an input; false if a value is not finite.
#[inline(always)]
fn load<I: Isa>(frame: &Frame, input: u16, target: &mut [f32], offset: usize) -> bool {
    frame.inputs[usize::from(input)].decode::<I>(frame.begin, offset, target)
}

/// Every instruction but [`Instruction::Load`].
#[inline(always)]
fn step<I: Isa>(
    frame: &Frame,
    instruction: &Instruction,
    registers: &[Box<Block>],
    index: usize,
    target: &mut Strip,
    offset: usize,
) {
    let register = |register: Register| registers[usize::from(register)].strip(index);
    let operand = |operand: Operand| match operand {
        Operand::Register(x) => Source::Strip(register(x)),
        Operand::Scalar(x) => Source::Splat(frame.scalars[usize::from(x)]),
    };
    let begin = frame.begin + offset as u64;
    match *instruction {
        Instruction::Unary { op, x, .. } => kernels::unary(op, target, register(x)),
        Instruction::Binary { op, x, y, .. } => {
            kernels::binary(op, target, operand(x), operand(y));
        }
        Instruction::Scaled { op, x, y, .. } => {
            let scale = |scale: Option<u16>| scale.map_or(1.0, |at| frame.scalars[usize::from(at)]);
            let (x, y) = ((register(x.0), scale(x.1)), (register(y.0), scale(y.1)));
            kernels::scaled(op, target, x, y);
        }
        Instruction::Where { condition, x, y, .. } => {
            kernels::select(target, register(condition), register(x), register(y));
        }
        Instruction::Trim { x, y, least, factor, .. } => {
            let scalar = |at: u16| frame.scalars[usize::from(at)];
            let factor = factor.map_or(1.0, scalar);
            votes::trim(target, register(x), y.map(register), scalar(least), factor);
        }
        Instruction::Vote { values, count, by_count, weights, .. } => {
            let weights = weights.map(|weights| weights.map(|at| frame.scalars[usize::from(at)]));
            let values = values.map(register);
            votes::vote(target, &values[..count], by_count, weights.as_ref());
        }
        Instruction::Spread { node, extent, .. } => {
            places::spread(target, &frame.vectors[node], extent, &frame.geometry, begin);
        }
        Instruction::RowIndex { .. } => places::rows(target, &frame.geometry, begin),
        Instruction::Random { distribution, stream, .. } => {
            rng::fill::<I>(target, distribution, stream, frame.seed, begin);
        }
        Instruction::Load { .. } | Instruction::Splat { .. } => {}
    }
}
