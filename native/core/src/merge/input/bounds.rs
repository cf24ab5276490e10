//! How great results can be at most, by the scales of the inputs alone.
//!
//! The scale of a whole tensor takes the greatest magnitude of its results, and a pass of its own.
//! Where inputs are nibbles with scales of small cells and results are sums of them times numbers,
//! few cells can have a result above what was found already. Only those are decoded and computed.

use super::super::request::Job;
use super::super::Sources;
use super::raw::Raw;
use super::Coded;
use crate::codec::blocks::{Bounds, Codec, Scaled};
use crate::error::Result;
use crate::program::stage::{Instruction, Operand, Stage};
use crate::program::Binary;

/// More than what the roundings of a program add.
const SLACK: f64 = 1.000_01;

/// More instructions may round more.
const STEPS: usize = 64;

/// If more runs of a part must be computed, all of it may be.
const MOST: usize = 16;

/// What one thread keeps between two parts.
#[derive(Debug, Default)]
pub(in super::super) struct Limits {
    raw: Vec<[Raw; 2]>,
    /// Of the runs of a row.
    sums: Vec<f64>,
}

/// A part whose results may be known to be no greater than something.
pub(in super::super) struct Question<'a> {
    pub(in super::super) job: &'a Job,
    pub(in super::super) stage: &'a Stage,
    /// The stage's scalars.
    pub(in super::super) scalars: &'a [f32],
    pub(in super::super) begin: u64,
    pub(in super::super) end: u64,
    /// The bits of a magnitude.
    pub(in super::super) reached: u32,
}

impl Limits {
    /// The runs of elements that may have greater results; `None` if most may, or it is not known.
    pub(in super::super) fn exceeding(
        &mut self,
        question: &Question,
        sources: &Sources,
    ) -> Result<Option<Vec<(u64, u64)>>> {
        let Question { begin, end, .. } = *question;
        let (Some(inputs), true) = (inputs_of(question), question.reached > 0) else {
            return Ok(None);
        };
        let columns = inputs[0].1.columns;
        self.raw.resize_with(self.raw.len().max(inputs.len()), Default::default);
        let mut all = Vec::with_capacity(inputs.len());
        for ((coded, scaled, gain), raw) in inputs.iter().zip(&mut self.raw) {
            let ranges = [1, 2].map(|part| coded.range(part, begin, end));
            for (raw, range) in raw.iter_mut().zip(ranges) {
                raw.load(sources, range)?;
            }
            let [scales, whole] = [0, 1].map(|part| raw[part].view(sources, ranges[part]));
            all.push((Bounds::new(scaled, whole, *gain * SLACK), scales));
        }
        let reached = f64::from(f32::from_bits(question.reached));
        let mut runs = Vec::new();
        for row in begin / columns..end / columns {
            self.sums.clear();
            self.sums.resize(columns.div_ceil(Bounds::RUN) as usize, 0.0);
            for (bounds, scales) in &all {
                bounds.add(scales, begin / columns, row, &mut self.sums);
            }
            for (run, sum) in (0..).zip(&self.sums) {
                // What is no number is no bound.
                if sum.is_nan() || *sum > reached {
                    let first = run * Bounds::RUN;
                    let last = columns.min(first + Bounds::RUN);
                    runs.push((row * columns + first, row * columns + last));
                }
            }
            if runs.len() > MOST {
                return Ok(None);
            }
        }
        for (coded, ..) in inputs {
            for part in [1, 2] {
                coded.range(part, begin, end).release(sources)?;
            }
        }
        Ok(Some(runs))
    }
}

/// The inputs of a stage whose results have bounds: where each is, and what it is multiplied by.
fn inputs_of<'a>(question: &Question<'a>) -> Option<Vec<(&'a Coded, &'a Scaled, f64)>> {
    let Question { job, stage, begin, end, .. } = *question;
    let gains = gains(stage, question.scalars)?;
    let inputs = stage.inputs.iter().zip(gains).map(|(input, gain)| {
        let coded = job.inputs[*input].coded()?;
        match &coded.codec {
            Codec::Scaled(scaled) if Bounds::are_known(scaled) => Some((coded, scaled, gain)),
            _ => None,
        }
    });
    let inputs: Vec<_> = inputs.collect::<Option<_>>()?;
    let columns = inputs.first()?.1.columns;
    let same = inputs.iter().all(|input| input.1.columns == columns);
    let rows = begin.is_multiple_of(columns) && end.is_multiple_of(columns);
    (same && rows).then_some(inputs)
}

/// What a result is of each input at most, by magnitude; `None` if it is no sum of products.
fn gains(stage: &Stage, scalars: &[f32]) -> Option<Vec<f64>> {
    if !stage.prologue.is_empty() || stage.body.len() > STEPS {
        return None;
    }
    let scalar = |at: u16| f64::from(scalars[usize::from(at)].abs());
    let mut registers = vec![Vec::new(); stage.registers];
    for step in &stage.body {
        let of = |register: u16| &registers[usize::from(register)];
        let gains = match *step {
            Instruction::Load { input, .. } => {
                let one = |at| f64::from(u8::from(at == usize::from(input)));
                (0..stage.inputs.len()).map(one).collect()
            }
            Instruction::Binary {
                op: Binary::Add | Binary::Subtract,
                x: Operand::Register(x),
                y: Operand::Register(y),
                ..
            } => sum((of(x), 1.0), (of(y), 1.0)),
            Instruction::Scaled { op: Binary::Add | Binary::Subtract, x, y, .. } => {
                let [x, y] = [x, y].map(|(at, scale)| (of(at), scale.map_or(1.0, scalar)));
                sum(x, y)
            }
            _ => return None,
        };
        registers[usize::from(step.target())] = gains;
    }
    stage.output.map(|output| registers[usize::from(output)].clone())
}

fn sum((xs, s): (&Vec<f64>, f64), (ys, t): (&Vec<f64>, f64)) -> Vec<f64> {
    xs.iter().zip(ys).map(|(x, y)| x * s + y * t).collect()
}
