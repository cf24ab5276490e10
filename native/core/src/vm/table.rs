//! The results of a stage for every pair of two 8-bit numbers.
//!
//! There are 65,536 pairs: far fewer than a tensor has elements. The stage itself computes the
//! results, so they are the same to the bit, and whatever it does costs one look into the table.

use super::frame::Frame;
use super::view::View;
use super::BLOCK;
use crate::codec;
use crate::codec::pairs::{self, PAIRS};
use crate::dtype::Dtype;
use crate::program::stage::{Instruction, Stage};

/// Tensors of fewer elements are not worth a table of their own: it takes a quarter of the time
/// that it saves on one of so many.
const WORTH: u64 = 8 * PAIRS as u64;

/// What a table was made for.
#[derive(Debug, PartialEq)]
struct Key {
    /// Address of the stage, which outlives the machine's run.
    stage: usize,
    scalars: Vec<u32>,
    inputs: [Dtype; 2],
    output: Dtype,
}

/// The last table that was made.
#[derive(Debug, Default)]
pub(crate) struct Table {
    key: Option<Key>,
    /// One result for each pair, by the first byte, then the second; none if one of them is not
    /// finite.
    results: Vec<u8>,
}

impl Table {
    /// Make the table for a run of blocks, if there is none yet, it can be and is worth it; whether
    /// there is one then.
    ///
    /// `compute` stores the results of a block of pairs; false if one is not finite.
    pub(crate) fn prepare(
        &mut self,
        frame: &Frame,
        mut compute: impl FnMut(&Frame, &mut [u8]) -> bool,
    ) -> bool {
        let Some(key) = Key::of(frame) else {
            return false;
        };
        if self.key.as_ref() != Some(&key) {
            if frame.geometry.elements < WORTH {
                return false;
            }
            let [xs, ys] = key.inputs.map(finite);
            let xs: Vec<u8> = xs.into_iter().flat_map(|x| [x; 256]).collect();
            let ys = ys.repeat(BLOCK / 256);
            let size = key.output.bytes();
            self.results.resize(PAIRS * size, 0);
            let blocks = xs.chunks(BLOCK).zip(self.results.chunks_mut(BLOCK * size));
            let mut all = true;
            for (xs, results) in blocks {
                let inputs = [(xs, key.inputs[0]), (&ys[..], key.inputs[1])];
                let inputs = inputs.map(|(bytes, dtype)| View::Plain(bytes, dtype));
                all &= compute(&Frame { inputs: &inputs, ..*frame }, results);
            }
            if !all {
                self.results.clear();
            }
            self.key = Some(key);
        }
        !self.results.is_empty()
    }

    /// Look up a block's results; false if an argument is not finite, and nothing was looked up.
    #[inline(always)]
    pub(crate) fn look_up(&self, frame: &Frame, offset: usize, target: &mut [u8]) -> bool {
        match frame.encoding.dtype.bytes() {
            1 => self.look_up_sized::<1>(frame, offset, target),
            _ => self.look_up_sized::<2>(frame, offset, target),
        }
    }

    #[inline(always)]
    fn look_up_sized<const N: usize>(
        &self,
        frame: &Frame,
        offset: usize,
        target: &mut [u8],
    ) -> bool {
        let Some(results) = self.results.as_chunks::<N>().0.first_chunk::<PAIRS>() else {
            return false;
        };
        let (targets, _) = target.as_chunks_mut::<N>();
        let [View::Plain(xs, first), View::Plain(ys, second)] = frame.inputs else {
            return false;
        };
        let [xs, ys] = [xs, ys].map(|bytes| &bytes[offset..offset + targets.len()]);
        if !codec::all_finite_bytes(*first, xs) || !codec::all_finite_bytes(*second, ys) {
            return false;
        }
        pairs::look_up(results, [xs, ys], targets);
        true
    }
}

/// Whether what a stage computes of an element depends on its inputs there alone.
pub(crate) fn is_pointwise(stage: &Stage) -> bool {
    use Instruction::{Random, RowIndex, Spread};
    let local =
        |step: &Instruction| !matches!(step, Spread { .. } | RowIndex { .. } | Random { .. });
    stage.body.iter().all(local)
}

impl Key {
    /// Of a stage whose results depend on two 8-bit inputs only and take a byte or two.
    fn of(frame: &Frame) -> Option<Self> {
        let Stage { inputs, output, .. } = frame.stage;
        let [View::Plain(_, x), View::Plain(_, y)] = frame.inputs else {
            return None;
        };
        let encoding = frame.encoding;
        let small = x.bytes() == 1 && y.bytes() == 1 && encoding.dtype.bytes() <= 2;
        let stored = output.is_some() && !encoding.by_chance && inputs.len() == 2;
        (small && stored && is_pointwise(frame.stage)).then(|| Self {
            stage: std::ptr::from_ref(frame.stage).addr(),
            scalars: frame.scalars.iter().map(|scalar| scalar.to_bits()).collect(),
            inputs: [*x, *y],
            output: encoding.dtype,
        })
    }
}

/// All bytes, and zero for those that are no finite number: pairs with such are not looked up.
fn finite(dtype: Dtype) -> [u8; 256] {
    std::array::from_fn(|byte| byte as u8).map(|byte| {
        if codec::all_finite_bytes(dtype, &[byte]) {
            byte
        } else {
            0
        }
    })
}
