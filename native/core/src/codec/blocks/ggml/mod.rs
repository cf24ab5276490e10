//! Blocks of GGUF files, as ggml lays them out; values by the arithmetic of its dequantisers, codes
//! by that of its reference quantisers.

mod block;
mod decode;
mod encode;
mod lanes;
mod search;
mod superblocks;

#[cfg(target_arch = "x86_64")]
pub(in crate::codec) use lanes::ALIGNER;
pub(in crate::codec) use search::{codes as search_codes, error as search_error, Column, Sums};

use super::{product, Parts};
use crate::codec::Isa;

/// A flattened tensor of blocks that lie one after another, its only part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ggml {
    /// How a block is laid out.
    pub kind: Kind,
    /// Number of blocks.
    pub blocks: u64,
}

/// The layouts, by ggml's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, non_camel_case_types)] // the formats' own names
pub enum Kind {
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4_K,
    Q5_K,
    Q6_K,
}

impl Kind {
    /// The layout of that name, if it is known.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "Q4_0" => Self::Q4_0,
            "Q4_1" => Self::Q4_1,
            "Q5_0" => Self::Q5_0,
            "Q5_1" => Self::Q5_1,
            "Q8_0" => Self::Q8_0,
            "Q4_K" => Self::Q4_K,
            "Q5_K" => Self::Q5_K,
            "Q6_K" => Self::Q6_K,
            _ => return None,
        })
    }

    /// Elements and bytes of a block.
    pub fn block(self) -> (u64, u64) {
        match self {
            Self::Q4_0 => (32, 18),
            Self::Q4_1 => (32, 20),
            Self::Q5_0 => (32, 22),
            Self::Q5_1 => (32, 24),
            Self::Q8_0 => (32, 34),
            Self::Q4_K => (256, 144),
            Self::Q5_K => (256, 176),
            Self::Q6_K => (256, 210),
        }
    }
}

impl Ggml {
    pub(super) fn sizes(&self) -> Result<Vec<u64>, String> {
        let (elements, bytes) = self.kind.block();
        product(&[self.blocks, elements])?;
        Ok(vec![product(&[self.blocks, bytes])?])
    }

    pub(super) fn elements(&self) -> u64 {
        self.blocks * self.kind.block().0
    }

    pub(super) fn span(&self, begin: u64, end: u64) -> (u64, u64) {
        let (elements, bytes) = self.kind.block();
        (begin / elements * bytes, end.div_ceil(elements) * bytes)
    }

    #[inline(always)]
    pub(super) fn decode(&self, parts: &Parts, first: u64, target: &mut [f32]) {
        let (elements, bytes) = self.kind.block();
        let skipped = (first / elements - parts.begin / elements) * bytes;
        decode::decode(self.kind, &parts.bytes[0][skipped as usize..], first, target);
    }

    /// Encode whole blocks; whether all values are finite, and what they become.
    #[inline(always)]
    pub(super) fn encode<I: Isa>(&self, values: &[f32], codes: &mut [u8]) -> bool {
        encode::encode::<I>(self.kind, values, codes)
    }
}
