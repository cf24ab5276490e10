//! Blocks of GGUF files, as ggml lays them out; values by the arithmetic of its dequantisers.

use super::product;
use crate::codec::{half, Isa};

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
    pub(super) fn decode<I: Isa>(&self, parts: &[&[u8]], begin: u64, target: &mut [f32]) {
        let bytes = parts[0];
        match self.kind {
            Kind::Q4_0 => blocks::<32, 18>(bytes, begin, target, q4_0),
            Kind::Q4_1 => blocks::<32, 20>(bytes, begin, target, q4_1),
            Kind::Q5_0 => blocks::<32, 22>(bytes, begin, target, q5_0),
            Kind::Q5_1 => blocks::<32, 24>(bytes, begin, target, q5_1),
            Kind::Q8_0 => blocks::<32, 34>(bytes, begin, target, q8_0),
            Kind::Q4_K => blocks::<256, 144>(bytes, begin, target, q4_k),
            Kind::Q5_K => blocks::<256, 176>(bytes, begin, target, q5_k),
            Kind::Q6_K => blocks::<256, 210>(bytes, begin, target, q6_k),
        }
    }
}

/// Decode elements from `begin` on, the first of them in the first block.
#[inline(always)]
fn blocks<const N: usize, const B: usize>(
    bytes: &[u8],
    begin: u64,
    target: &mut [f32],
    decode: impl Fn(&[u8; B], &mut [f32; N]),
) {
    let (blocks, _) = bytes.as_chunks::<B>();
    let skipped = (begin % N as u64) as usize;
    let mut whole = [0.0; N];
    let (head, rest) = target.split_at_mut(target.len().min((N - skipped) % N));
    let mut first = 0;
    if !head.is_empty() {
        decode(&blocks[0], &mut whole);
        head.copy_from_slice(&whole[skipped..skipped + head.len()]);
        first = 1;
    }
    let (middle, tail) = rest.as_chunks_mut::<N>();
    let last = first + middle.len();
    for (target, block) in middle.iter_mut().zip(&blocks[first..]) {
        decode(block, target);
    }
    if !tail.is_empty() {
        decode(&blocks[last], &mut whole);
        tail.copy_from_slice(&whole[..tail.len()]);
    }
}

#[inline(always)]
fn f16(bytes: &[u8], at: usize) -> f32 {
    half::from_f16(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
}

#[inline(always)]
fn q8_0(block: &[u8; 34], target: &mut [f32; 32]) {
    let d = f16(block, 0);
    for (target, code) in target.iter_mut().zip(&block[2..]) {
        *target = f32::from(*code as i8) * d;
    }
}

#[inline(always)]
fn q4_0(block: &[u8; 18], target: &mut [f32; 32]) {
    let d = f16(block, 0);
    for (index, byte) in block[2..].iter().enumerate() {
        target[index] = d * f32::from((byte & 15) as i8 - 8);
        target[index + 16] = d * f32::from((byte >> 4) as i8 - 8);
    }
}

#[inline(always)]
fn q4_1(block: &[u8; 20], target: &mut [f32; 32]) {
    let (d, m) = (f16(block, 0), f16(block, 2));
    for (index, byte) in block[4..].iter().enumerate() {
        target[index] = d * f32::from(byte & 15) + m;
        target[index + 16] = d * f32::from(byte >> 4) + m;
    }
}

/// The fifth bits of 32 elements, each as 16 or 0.
#[inline(always)]
fn fifths(bytes: &[u8], at: usize) -> [u8; 32] {
    let bits = u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let mut fifths = [0; 32];
    for (index, fifth) in fifths.iter_mut().enumerate() {
        *fifth = ((bits >> index) as u8 & 1) << 4;
    }
    fifths
}

#[inline(always)]
fn q5_0(block: &[u8; 22], target: &mut [f32; 32]) {
    let (d, fifths) = (f16(block, 0), fifths(block, 2));
    for (index, byte) in block[6..].iter().enumerate() {
        target[index] = d * f32::from((byte & 15 | fifths[index]) as i8 - 16);
        target[index + 16] = d * f32::from((byte >> 4 | fifths[index + 16]) as i8 - 16);
    }
}

#[inline(always)]
fn q5_1(block: &[u8; 24], target: &mut [f32; 32]) {
    let (d, m, fifths) = (f16(block, 0), f16(block, 2), fifths(block, 4));
    for (index, byte) in block[8..].iter().enumerate() {
        target[index] = d * f32::from(byte & 15 | fifths[index]) + m;
        target[index + 16] = d * f32::from(byte >> 4 | fifths[index + 16]) + m;
    }
}

/// Scales and minima of the eight parts of a block, six bits each in twelve bytes.
#[inline(always)]
fn sixes(bytes: &[u8]) -> ([u8; 8], [u8; 8]) {
    let (mut scales, mut minima) = ([0; 8], [0; 8]);
    for index in 0..4 {
        let (low, high, both) = (bytes[index], bytes[index + 4], bytes[index + 8]);
        (scales[index], minima[index]) = (low & 63, high & 63);
        scales[index + 4] = both & 15 | low >> 6 << 4;
        minima[index + 4] = both >> 4 | high >> 6 << 4;
    }
    (scales, minima)
}

#[inline(always)]
fn q4_k(block: &[u8; 144], target: &mut [f32; 256]) {
    let (d, dmin, (scales, minima)) = (f16(block, 0), f16(block, 2), sixes(&block[4..16]));
    for chunk in 0..4 {
        let codes = &block[16 + 32 * chunk..48 + 32 * chunk];
        let (low, high) = target[64 * chunk..64 * chunk + 64].split_at_mut(32);
        let [scale, next] = [0, 1].map(|half| d * f32::from(scales[2 * chunk + half]));
        let [minimum, other] = [0, 1].map(|half| dmin * f32::from(minima[2 * chunk + half]));
        for ((low, high), byte) in low.iter_mut().zip(high).zip(codes) {
            *low = scale * f32::from(byte & 15) - minimum;
            *high = next * f32::from(byte >> 4) - other;
        }
    }
}

#[inline(always)]
fn q5_k(block: &[u8; 176], target: &mut [f32; 256]) {
    let (d, dmin, (scales, minima)) = (f16(block, 0), f16(block, 2), sixes(&block[4..16]));
    let fifths = &block[16..48];
    for chunk in 0..4 {
        let codes = &block[48 + 32 * chunk..80 + 32 * chunk];
        let (low, high) = target[64 * chunk..64 * chunk + 64].split_at_mut(32);
        let [scale, next] = [0, 1].map(|half| d * f32::from(scales[2 * chunk + half]));
        let [minimum, other] = [0, 1].map(|half| dmin * f32::from(minima[2 * chunk + half]));
        for ((low, high), (byte, fifth)) in low.iter_mut().zip(high).zip(codes.iter().zip(fifths)) {
            let bits = fifth >> (2 * chunk);
            *low = scale * f32::from(byte & 15 | (bits & 1) << 4) - minimum;
            *high = next * f32::from(byte >> 4 | (bits >> 1 & 1) << 4) - other;
        }
    }
}

#[inline(always)]
fn q6_k(block: &[u8; 210], target: &mut [f32; 256]) {
    let d = f16(block, 208);
    for part in 0..8 {
        let (half, quarter) = (part / 4, part % 4);
        let fours = &block[64 * half + 32 * (quarter % 2)..][..32];
        let twos = &block[128 + 32 * half..][..32];
        let scales = &block[192 + 2 * part..][..2];
        let target = &mut target[32 * part..32 * part + 32];
        for (index, target) in target.iter_mut().enumerate() {
            let four = fours[index] >> (4 * (quarter / 2)) & 15;
            let two = twos[index] >> (2 * quarter) & 3;
            let scale = d * f32::from(scales[index / 16] as i8);
            *target = scale * f32::from((four | two << 4) as i8 - 32);
        }
    }
}
