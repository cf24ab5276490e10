//! Merges of two tensors of 8-bit codes, each with one scale, into codes with one scale.
//!
//! There are 65,536 pairs of codes: far fewer than a tensor has elements. The program computes the
//! results of all of them, so they are the same to the bit, and then whatever it does costs one look
//! into a table. The greatest magnitude takes less: of a run of pairs the greatest codes bound the
//! results, and few runs have a bound above what was found already. A part in which a result is not finite goes the
//! usual way, which says whose fault it is.

use super::input::{Coded, Input};
use super::request::Job;
use super::Sources;
use crate::codec::blocks::encode::{Companions, Encoder};
use crate::codec::blocks::{Code, Codec, Scaled, Scales, Window};
use crate::codec::pairs::{look_up, PAIRS};
use crate::codec::Isa;
use crate::error::Result;
use crate::program::stage::Stage;
use crate::vm::simd::Task;
use crate::vm::{is_pointwise, Level, BLOCK};

/// Tensors of fewer elements are not worth a table.
const WORTH: u64 = 16 * PAIRS as u64;

/// Magnitudes of a code: an I8 has one more than the others.
const MAGNITUDES: usize = 129;

/// Pairs whose results have one bound.
const RUN: usize = 64;

/// The same where the bound of so many may do: to find the greatest of a run's codes takes longer
/// than to look through them.
const SEVERAL: usize = 16 * RUN;

/// What a magnitude that is not finite has for its bits.
const INFINITE: u32 = 0x7f80_0000;

/// The table of one thread for the job that it has seen last.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    /// Place of the job in the queue.
    job: Option<usize>,
    /// By the first byte, then the second.
    results: Vec<f32>,
    /// The bits of their magnitudes.
    magnitudes: Vec<u32>,
    /// The greatest of those of all codes up to a magnitude, by that of the first and the second.
    bounds: Vec<u32>,
    /// Their codes, once scales are known.
    codes: Vec<u8>,
    /// Codes of a part, where they are not in memory.
    raw: [Vec<u8>; 2],
}

/// The inputs of a job whose last stage can be looked up.
pub(super) fn inputs_of<'a>(job: &'a Job, stage: &Stage) -> Option<[&'a Coded; 2]> {
    let Codec::Scaled(codec) = &job.encoding.as_ref()?.codec else {
        return None;
    };
    let [x, y] = stage.inputs[..] else {
        return None;
    };
    let bytes = matches!(codec.code, Code::E4M3 | Code::E5M2 | Code::I8);
    let fits = bytes && codec.stride == codec.columns && has_one_scale(codec);
    if job.elements() < WORTH || !fits || !is_pointwise(stage) {
        return None;
    }
    Some([eight(&job.inputs[x])?, eight(&job.inputs[y])?])
}

/// An input of 8-bit codes that lie one after another and have one scale.
fn eight(input: &Input) -> Option<&Coded> {
    let coded = input.coded()?;
    let Codec::Scaled(codec) = &coded.codec else {
        return None;
    };
    let plain = codec.stride == codec.columns && !codec.tensor_scale && !codec.column_factors;
    let eight = matches!(codec.code, Code::E4M3 | Code::E5M2 | Code::I8);
    (plain && eight && has_one_scale(codec)).then_some(coded)
}

fn has_one_scale(codec: &Scaled) -> bool {
    let one = |rows, columns| rows >= codec.rows && columns >= codec.columns && rows > 1;
    let whole = matches!(codec.scales, Scales::Grid { rows, columns, .. } if one(rows, columns));
    whole && codec.rotation.is_none() && !codec.tensor_scale
}

impl Pairs {
    /// Make the table of a job, unless it is there.
    ///
    /// `compute` gives the results of a block of pairs, whose numbers it gets.
    pub(super) fn prepare(
        &mut self,
        job: usize,
        inputs: [&Coded; 2],
        sources: &Sources,
        mut compute: impl FnMut([&[f32]; 2]) -> Vec<f32>,
    ) -> Result<()> {
        if self.job == Some(job) {
            return Ok(());
        }
        let [x, y] = [numbers(inputs[0], sources)?, numbers(inputs[1], sources)?];
        let xs: Vec<f32> = x.iter().flat_map(|x| [*x; 256]).collect();
        let ys = y.repeat(BLOCK / 256);
        self.results.clear();
        for xs in xs.chunks(BLOCK) {
            self.results.extend(compute([xs, &ys]));
        }
        let magnitude = |value: &f32| value.to_bits() & 0x7fff_ffff;
        self.magnitudes = self.results.iter().map(magnitude).collect();
        self.bounds = bounds_of(&self.magnitudes, inputs.map(is_whole));
        self.codes.clear();
        self.job = Some(job);
        Ok(())
    }

    /// Measure or encode elements from `begin` on; `None` if one is not finite.
    pub(super) fn look_up(
        &mut self,
        sources: &Sources,
        inputs: [&Coded; 2],
        begin: u64,
        target: &mut Target,
    ) -> Result<Option<()>> {
        let count = target.count();
        let mut views: [&[u8]; 2] = [&[]; 2];
        for ((view, raw), coded) in views.iter_mut().zip(&mut self.raw).zip(inputs) {
            let (source, first) = (&sources[coded.parts[0].source], coded.parts[0].offset + begin);
            source.load(first, count, raw)?;
            *view = source.view(first, count, raw);
        }
        let found = match target {
            Target::Measure(companions, _) => {
                let tables = (&self.magnitudes[..], &self.bounds[..]);
                let reached = companions.reached();
                let (codes, whole) = (views, inputs.map(is_whole));
                let greatest = Level::detect().run(Greatest { tables, codes, whole, reached });
                (greatest < INFINITE).then(|| companions.reach(greatest))
            }
            Target::Encode(encoder, codes) => {
                if self.codes.is_empty() {
                    self.codes = codes_of(*encoder, &self.results);
                }
                let table = self.codes.as_chunks::<1>().0.first_chunk();
                table.map(|table| look_up(table, views, codes.as_chunks_mut().0))
            }
        };
        for coded in inputs {
            let part = coded.parts[0];
            sources[part.source].release(part.offset + begin, count)?;
        }
        Ok(found)
    }
}

/// What becomes of the elements of a part.
pub(super) enum Target<'a> {
    /// The greatest magnitude of so many is looked for.
    Measure(&'a Companions, usize),
    /// They become codes.
    Encode(Encoder<'a>, &'a mut [u8]),
}

impl Target<'_> {
    fn count(&self) -> usize {
        match self {
            Self::Measure(_, count) => *count,
            Self::Encode(_, codes) => codes.len(),
        }
    }
}

/// Whether codes are whole numbers, whose magnitude is not in their lower bits.
fn is_whole(coded: &Coded) -> bool {
    matches!(&coded.codec, Codec::Scaled(codec) if codec.code == Code::I8)
}

/// The greatest results of all pairs up to two magnitudes of codes.
fn bounds_of(results: &[u32], whole: [bool; 2]) -> Vec<u32> {
    let mut bounds = vec![0; MAGNITUDES * MAGNITUDES];
    for (pair, result) in results.iter().enumerate() {
        let [x, y] = [pair >> 8, pair & 255].map(|code| code as u8);
        let bound = &mut bounds[place(magnitude(x, whole[0]), magnitude(y, whole[1]))];
        *bound = (*bound).max(*result);
    }
    for at in 0..bounds.len() {
        let left = if at % MAGNITUDES > 0 { bounds[at - 1] } else { 0 };
        let above = if at >= MAGNITUDES { bounds[at - MAGNITUDES] } else { 0 };
        bounds[at] = bounds[at].max(left).max(above);
    }
    bounds
}

fn place(x: u8, y: u8) -> usize {
    usize::from(x) * MAGNITUDES + usize::from(y)
}

#[inline(always)]
fn magnitude(code: u8, whole: bool) -> u8 {
    if whole {
        (code as i8).unsigned_abs()
    } else {
        code & 0x7f
    }
}

/// What each code of an input is.
fn numbers(coded: &Coded, sources: &Sources) -> Result<Vec<f32>> {
    let Codec::Scaled(codec) = &coded.codec else {
        return Ok(Vec::new());
    };
    let mut scale = vec![0; codec.scale.bytes()];
    sources[coded.parts[1].source].read(coded.parts[1].offset, &mut scale)?;
    let all: Vec<u8> = (0..=255).collect();
    let scales = Scales::Grid { rows: 1, columns: 256, across: 1 };
    let line = Scaled { rows: 1, columns: 256, stride: 256, scales, ..codec.clone() };
    let mut numbers = vec![0.0; 256];
    Window::new(&Codec::Scaled(line), [&all[..], &scale], (0, 256)).read(&mut numbers);
    Ok(numbers)
}

/// The codes of all results.
fn codes_of(encoder: Encoder, results: &[f32]) -> Vec<u8> {
    let Codec::Scaled(codec) = encoder.codec else {
        return Vec::new();
    };
    let columns = PAIRS as u64;
    let scales = Scales::Grid { rows: 2, columns, across: 1 };
    let line = Scaled { rows: 1, columns, stride: columns, scales, ..codec.clone() };
    let (mut values, mut codes) = (results.to_vec(), vec![0; PAIRS]);
    Encoder { codec: &Codec::Scaled(line), ..encoder }.encode(0, &mut values, &mut codes);
    codes
}

/// The greatest of what pairs of bytes name, or what was reached before if that is more.
struct Greatest<'a> {
    /// The bits of magnitudes, and their bounds.
    tables: (&'a [u32], &'a [u32]),
    codes: [&'a [u8]; 2],
    whole: [bool; 2],
    reached: u32,
}

impl Task for Greatest<'_> {
    type Output = u32;

    #[inline(always)]
    fn run<I: Isa>(self) -> u32 {
        let (results, [xs, ys], mut reached) = (self.tables.0, self.codes, self.reached);
        for several in xs.chunks(SEVERAL).zip(ys.chunks(SEVERAL)) {
            if self.bound(several) <= reached {
                continue;
            }
            for run in several.0.chunks(RUN).zip(several.1.chunks(RUN)) {
                if self.bound(run) <= reached {
                    continue;
                }
                for (x, y) in run.0.iter().zip(run.1) {
                    reached = reached.max(results[usize::from(u16::from_be_bytes([*x, *y]))]);
                }
            }
        }
        reached
    }
}

impl Greatest<'_> {
    /// What no result of these pairs is above.
    #[inline(always)]
    fn bound(&self, (xs, ys): (&[u8], &[u8])) -> u32 {
        self.tables.1[place(most(xs, self.whole[0]), most(ys, self.whole[1]))]
    }
}

/// The greatest magnitude of codes.
#[inline(always)]
fn most(codes: &[u8], whole: bool) -> u8 {
    let mut most = 0;
    if whole {
        for code in codes {
            most = most.max(magnitude(*code, true));
        }
    } else {
        for code in codes {
            most = most.max(magnitude(*code, false));
        }
    }
    most
}
