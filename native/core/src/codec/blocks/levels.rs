//! The 4-bit formats of bitsandbytes: levels times the greatest magnitude of each block.

use super::{product, Nibbles, Parts};
use crate::codec::Isa;

/// How the greatest magnitudes are stored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Absmax {
    /// As F32.
    Plain,
    /// As places in a list of 256 levels, times a scale for each of so many, plus an offset.
    Nested {
        /// Blocks that share a scale.
        block: u64,
        /// What is added to all.
        offset: f32,
    },
}

/// A flattened tensor of nibbles, the first of a byte in its upper half.
///
/// Parts: codes, absmax, levels (16 F32); nested also absmax of absmax (F32) and its levels (256).
#[derive(Debug, Clone, PartialEq)]
pub struct Levels {
    /// Number of elements.
    pub elements: u64,
    /// Elements of a block.
    pub block: u64,
    /// How the greatest magnitudes are stored.
    pub absmax: Absmax,
}

impl Levels {
    pub(super) fn sizes(&self) -> Result<Vec<u64>, String> {
        product(&[self.elements])?;
        if self.block == 0 {
            return Err("blocks of no elements".to_owned());
        }
        let (codes, blocks) = (self.elements.div_ceil(2), self.elements.div_ceil(self.block));
        match self.absmax {
            Absmax::Plain => Ok(vec![codes, 4 * blocks, 64]),
            Absmax::Nested { block: 0, .. } => Err("nested blocks of no elements".to_owned()),
            Absmax::Nested { block, .. } => {
                Ok(vec![codes, blocks, 64, 4 * blocks.div_ceil(block), 1024])
            }
        }
    }

    pub(super) fn span(&self, part: usize, begin: u64, end: u64) -> (u64, u64) {
        if begin >= end {
            return (0, 0);
        }
        let (first, last) = (begin / self.block, (end - 1) / self.block);
        match (part, self.absmax) {
            (0, _) => (begin / 2, end.div_ceil(2)),
            (1, Absmax::Plain) => (4 * first, 4 * (last + 1)),
            (1, Absmax::Nested { .. }) => (first, last + 1),
            (3, Absmax::Nested { block, .. }) => (4 * (first / block), 4 * (last / block + 1)),
            (2, _) => (0, 64),
            _ => (0, 1024),
        }
    }

    #[inline(always)]
    pub(super) fn decode<I: Isa>(&self, parts: &Parts, first: u64, target: &mut [f32]) {
        let (codes, levels) = (parts.bytes[0], floats(parts.bytes[2]));
        let numbers = std::array::from_fn(|level| f32::from_le_bytes(levels[level]));
        let nibbles = Nibbles { numbers, high_first: true };
        let start = parts.begin / self.block;
        // Counted, not divided: a block is so short that divisions would be half of the work.
        let (mut block, mut left) = (first / self.block, self.block - first % self.block);
        let mut place = first - (parts.begin - parts.begin % 2);
        let mut rest = target;
        while !rest.is_empty() {
            let count = rest.len().min(left as usize);
            let (run, others) = rest.split_at_mut(count);
            nibbles.decode::<I>(codes, place, self.absmax_of(&parts.bytes, start, block), run);
            place += count as u64;
            (block, left, rest) = (block + 1, self.block, others);
        }
    }

    /// The greatest magnitude of a block, given the first one of the window.
    #[inline(always)]
    fn absmax_of(&self, parts: &[&[u8]], first: u64, block: u64) -> f32 {
        let within = (block - first) as usize;
        match self.absmax {
            Absmax::Plain => f32::from_le_bytes(floats(parts[1])[within]),
            Absmax::Nested { block: nested, offset } => {
                let level = floats(parts[4])[usize::from(parts[1][within])];
                let scale = floats(parts[3])[(block / nested - first / nested) as usize];
                f32::from_le_bytes(level) * f32::from_le_bytes(scale) + offset
            }
        }
    }
}

fn floats(bytes: &[u8]) -> &[[u8; 4]] {
    bytes.as_chunks().0
}
