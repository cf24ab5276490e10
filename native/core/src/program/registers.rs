//! Few registers instead of one per value: a block must stay in the first-level cache.

use super::stage::{Instruction, Operand, Register, Stage};

/// Replace virtual registers, each written once, by as few real ones as fit.
///
/// A register is free again after the last instruction that reads it. A target is chosen before
/// its arguments are freed, so that no instruction writes what it reads. Registers of the
/// prologue, of collectors and of the output live to the end.
pub(super) fn assign(mut stage: Stage, virtuals: usize) -> Stage {
    let last_use = last_uses(&stage, virtuals);
    let mut real: Vec<Register> = vec![0; virtuals];
    let mut free: Vec<Register> = Vec::new();
    let mut count: Register = 0;
    let mut take = |free: &mut Vec<Register>| {
        free.pop().unwrap_or_else(|| {
            count += 1;
            count - 1
        })
    };
    for instruction in &mut stage.prologue {
        let target = instruction.target_mut();
        real[usize::from(*target)] = take(&mut free);
        *target = real[usize::from(*target)];
    }
    for (place, instruction) in stage.body.iter_mut().enumerate() {
        let virtual_target = usize::from(*instruction.target_mut());
        real[virtual_target] = take(&mut free);
        let mut dead = Vec::new();
        instruction.for_each_argument(|argument| {
            let old = usize::from(*argument);
            *argument = real[old];
            if last_use[old] == place && !dead.contains(&real[old]) {
                dead.push(real[old]);
            }
        });
        *instruction.target_mut() = real[virtual_target];
        free.extend(dead);
    }
    for collect in &mut stage.collects {
        collect.x = real[usize::from(collect.x)];
        collect.y = real[usize::from(collect.y)];
    }
    stage.output = stage.output.map(|output| real[usize::from(output)]);
    stage.registers = usize::from(count);
    stage
}

/// For each virtual register the last instruction of the body that reads it.
fn last_uses(stage: &Stage, virtuals: usize) -> Vec<usize> {
    let mut last = vec![usize::MAX; virtuals];
    let mut body = stage.body.clone();
    for (place, instruction) in body.iter_mut().enumerate() {
        instruction.for_each_argument(|argument| last[usize::from(*argument)] = place);
    }
    let kept = stage.prologue.iter().map(Instruction::target).chain(stage.output);
    let kept = kept.chain(stage.collects.iter().flat_map(|collect| [collect.x, collect.y]));
    for register in kept {
        last[usize::from(register)] = usize::MAX;
    }
    last
}

impl Instruction {
    /// The register that is written.
    pub(crate) fn target(&self) -> Register {
        let mut copy = *self;
        *copy.target_mut()
    }

    fn target_mut(&mut self) -> &mut Register {
        match self {
            Self::Splat { target, .. }
            | Self::Load { target, .. }
            | Self::Spread { target, .. }
            | Self::RowIndex { target }
            | Self::Random { target, .. }
            | Self::Unary { target, .. }
            | Self::Binary { target, .. }
            | Self::Scaled { target, .. }
            | Self::Where { target, .. }
            | Self::Trim { target, .. }
            | Self::Vote { target, .. } => target,
        }
    }

    fn for_each_argument(&mut self, mut visit: impl FnMut(&mut Register)) {
        match self {
            Self::Unary { x, .. } => visit(x),
            Self::Binary { x, y, .. } => {
                for operand in [x, y] {
                    if let Operand::Register(register) = operand {
                        visit(register);
                    }
                }
            }
            Self::Scaled { x, y, .. } => {
                visit(&mut x.0);
                visit(&mut y.0);
            }
            Self::Where { condition, x, y, .. } => {
                visit(condition);
                visit(x);
                visit(y);
            }
            Self::Trim { x, y, .. } => {
                visit(x);
                y.iter_mut().for_each(visit);
            }
            Self::Vote { values, count, .. } => values[..*count].iter_mut().for_each(visit),
            _ => {}
        }
    }
}
