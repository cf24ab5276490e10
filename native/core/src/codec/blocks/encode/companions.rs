//! What the rows of a tensor share while it is encoded.

use std::sync::atomic::{AtomicU32, AtomicU8, Ordering};

use super::super::scaled::{Scaled, Scales};
use super::super::Codec;
use super::scales::positive;

/// Written by any thread; what they write does not depend on their order.
#[derive(Debug)]
pub(crate) struct Companions {
    /// Greatest magnitudes, as bits: of each cell, or of the whole tensor.
    greatest: Vec<AtomicU32>,
    /// The bytes of the part that holds the scales.
    scales: Vec<AtomicU8>,
}

impl Companions {
    /// Those of a codec whose sizes were asked for.
    pub(crate) fn new(codec: &Codec, scale_bytes: u64) -> Self {
        let cells = match codec {
            Codec::Scaled(scaled) => cells(scaled),
            Codec::Levels(_) | Codec::Ggml(_) | Codec::Packed(_) => 0,
        };
        Self {
            greatest: (0..cells).map(|_| AtomicU32::new(0)).collect(),
            scales: (0..scale_bytes).map(|_| AtomicU8::new(0)).collect(),
        }
    }

    /// Note the greatest magnitude of some elements of a tensor with one scale, as bits.
    pub(crate) fn reach(&self, greatest: u32) {
        for cell in &self.greatest {
            cell.fetch_max(greatest, Ordering::Relaxed);
        }
    }

    /// The greatest magnitude that was noted of a tensor with one scale, as bits.
    pub(crate) fn reached(&self) -> u32 {
        self.greatest.first().map_or(0, |cell| cell.load(Ordering::Relaxed))
    }

    /// Note the greatest magnitude of some elements of a cell.
    pub(super) fn reach_in(&self, cell: usize, greatest: f32) {
        let (at, bits) = (&self.greatest[cell], greatest.to_bits());
        if at.load(Ordering::Relaxed) < bits {
            at.fetch_max(bits, Ordering::Relaxed);
        }
    }

    /// The greatest magnitude of a cell.
    pub(super) fn greatest_in(&self, cell: usize) -> f32 {
        f32::from_bits(self.greatest[cell].load(Ordering::Relaxed))
    }

    /// Note the bytes of scales that lie together, from number `first` on.
    #[inline(always)]
    pub(super) fn note<const B: usize>(&self, first: usize, bytes: &[[u8; B]]) {
        let bytes = bytes.as_flattened();
        for (at, byte) in self.scales[first * B..][..bytes.len()].iter().zip(bytes) {
            at.store(*byte, Ordering::Relaxed);
        }
    }

    /// The bytes of the scales, when all rows have been encoded.
    pub(crate) fn scales(&self) -> Vec<u8> {
        self.scales.iter().map(|byte| byte.load(Ordering::Relaxed)).collect()
    }

    /// The scale of the whole tensor.
    pub(crate) fn tensor_scale(&self) -> f32 {
        let greatest = if self.greatest.is_empty() { 0.0 } else { self.greatest_in(0) };
        positive(greatest / (6.0 * 448.0))
    }
}

fn cells(scaled: &Scaled) -> u64 {
    match scaled.scales {
        _ if scaled.tensor_scale => 1,
        Scales::Grid { rows, across, .. } if scaled.shares_cells() => {
            scaled.rows.div_ceil(rows) * across
        }
        _ => 0,
    }
}
