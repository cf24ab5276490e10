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

/// Of smaller results the roundings may be greater.
const LEAST: f32 = 1e-30;

/// The parts that bounds come of: scales, and the scale of the whole tensor.
const PARTS: [usize; 2] = [1, 2];

/// If more runs of a part must be computed, all of it may be.
const MOST: usize = 16;

/// What one thread keeps between two parts.
#[derive(Debug, Default)]
pub(in super::super) struct Limits {
    raw: Vec<[Raw; 2]>,
    /// Of the runs of whole tiles.
    sums: Vec<f32>,
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
        let (begin, end) = (question.begin, question.end);
        let reached = f32::from_bits(question.reached);
        let (Some(inputs), true) = (inputs_of(question), reached >= LEAST) else {
            return Ok(None);
        };
        self.add_all(&inputs, (begin, end), sources)?;
        let runs = self.runs(inputs[0].1, (begin, end), reached);
        if runs.is_some() {
            for (coded, ..) in inputs {
                for part in PARTS {
                    coded.range(part, begin, end).release(sources)?;
                }
            }
        }
        Ok(runs)
    }

    /// Add up the bounds of all tiles that elements have a share in.
    fn add_all(
        &mut self,
        inputs: &[(&Coded, &Scaled, f64)],
        (begin, end): (u64, u64),
        sources: &Sources,
    ) -> Result<()> {
        self.raw.resize_with(self.raw.len().max(inputs.len()), Default::default);
        self.sums.clear();
        for ((coded, _, gain), raw) in inputs.iter().zip(&mut self.raw) {
            let ranges = PARTS.map(|part| coded.range(part, begin, end));
            for (raw, range) in raw.iter_mut().zip(ranges) {
                raw.load(sources, range)?;
            }
            let [scales, whole] = [0, 1].map(|part| raw[part].view(sources, ranges[part]));
            self.sums.resize(scales.len() / 4, 0.0);
            Bounds::new(whole, *gain * SLACK).add(scales, &mut self.sums);
        }
        Ok(())
    }

    /// The runs among elements whose bounds are above what was reached; `None` if these are many.
    fn runs(
        &self,
        scaled: &Scaled,
        (begin, end): (u64, u64),
        reached: f32,
    ) -> Option<Vec<(u64, u64)>> {
        let (columns, tiles) = (scaled.columns, scaled.tiles()?);
        let rows = begin / columns..end / columns;
        let first_row = rows.start - rows.start % Bounds::TILE as u64;
        // What is no number is no bound.
        let exceeds = |sum: &f32| sum.is_nan() || *sum > reached;
        let mut runs = Vec::new();
        for (tile, sums) in (0..).zip(self.sums.chunks(Bounds::TILE)) {
            if sums.iter().map(|sum| u32::from(exceeds(sum))).sum::<u32>() == 0 {
                continue;
            }
            let first = tile % tiles * Bounds::RUN;
            let last = columns.min(first + Bounds::RUN);
            for (at, _) in sums.iter().enumerate().filter(|(_, sum)| exceeds(sum)) {
                let row = first_row + tile / tiles * Bounds::TILE as u64 + Bounds::row(at) as u64;
                if rows.contains(&row) && first < last {
                    runs.push((row * columns + first, row * columns + last));
                }
            }
            if runs.len() > MOST {
                return None;
            }
        }
        Some(runs)
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
    let (columns, scales) = (inputs.first()?.1.columns, inputs[0].1.scales);
    let same = inputs.iter().all(|input| (input.1.columns, input.1.scales) == (columns, scales));
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
