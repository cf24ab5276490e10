//! One pass over the inputs: instructions with registers, which hold one block of elements each.

use super::kind::Extent;
use super::op::{Axis, Binary, Distribution, Reduction, Unary};

/// A register's number.
pub(crate) type Register = u16;

/// An argument: a block, or one number for all elements (its place in [`Stage::scalars`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operand {
    Register(Register),
    Scalar(u16),
}

/// A register and the scalar it is multiplied with.
pub(crate) type Scaled = (Register, Option<u16>);

/// Most values that vote by one instruction.
pub(crate) const VOTERS: usize = 4;

/// One step; `target` is never one of its arguments.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Instruction {
    /// Fill from a scalar; once per run of blocks, before the others.
    Splat {
        target: Register,
        scalar: u16,
    },
    /// Decode an input: its place in [`Stage::inputs`].
    Load {
        target: Register,
        input: u16,
    },
    /// Repeat a vector of an earlier pass.
    Spread {
        target: Register,
        node: usize,
        extent: Extent,
    },
    RowIndex {
        target: Register,
    },
    Random {
        target: Register,
        distribution: Distribution,
        stream: u32,
    },
    Unary {
        op: Unary,
        target: Register,
        x: Register,
    },
    Binary {
        op: Binary,
        target: Register,
        x: Operand,
        y: Operand,
    },
    /// `op(x * x_scale, y * y_scale)` with three roundings; no scale is 1.
    Scaled {
        op: Binary,
        target: Register,
        x: Scaled,
        y: Scaled,
    },
    Where {
        target: Register,
        condition: Register,
        x: Register,
        y: Register,
    },
    /// `factor * (|d| >= least ? d : 0)`, of `d = x - y`, or `x` if there is no `y`.
    Trim {
        target: Register,
        x: Register,
        y: Option<Register>,
        least: u16,
        factor: Option<u16>,
    },
    /// The sum of the first `count` values that have the elected sign, divided by the sum of their
    /// weights.
    Vote {
        target: Register,
        values: [Register; VOTERS],
        count: usize,
        by_count: bool,
        weights: Option<[u16; VOTERS]>,
    },
}

/// What a pass leaves behind for the next one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Collect {
    /// The node whose value (or first or second half of it) this is.
    pub(crate) node: usize,
    pub(crate) what: Collector,
    pub(crate) x: Register,
    /// The second argument of a dot product, else the same as `x`.
    pub(crate) y: Register,
}

/// How elements are collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Collector {
    Reduce(Reduction, Axis),
    /// Find a bracket of the k-th absolute value.
    KthBracket,
    /// Find the k-th absolute value within that bracket.
    KthValue,
}

/// One pass.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stage {
    /// Run once before the blocks.
    pub(crate) prologue: Vec<Instruction>,
    /// Run for each block.
    pub(crate) body: Vec<Instruction>,
    /// Indices of the inputs that are read.
    pub(crate) inputs: Vec<usize>,
    /// Nodes whose value, rounded to float32, are the scalar operands.
    pub(crate) scalars: Vec<usize>,
    /// Number of registers.
    pub(crate) registers: usize,
    pub(crate) collects: Vec<Collect>,
    /// The register to store; only in the last pass.
    pub(crate) output: Option<Register>,
}

impl Stage {
    /// Whether blocks follow from the inputs, the scalars and the shape.
    pub(crate) fn is_plain(&self) -> bool {
        let other = |each: &Instruction| {
            matches!(each, Instruction::Random { .. } | Instruction::Spread { .. })
        };
        !self.body.iter().any(other)
    }
}
