//! Blocks to values.

#![allow(non_camel_case_types)] // the formats' own names

use super::Kind;
use crate::codec::half;

/// Decode elements from `begin` on, the first of them in the first block.
#[inline(always)]
pub(super) fn decode(kind: Kind, bytes: &[u8], begin: u64, target: &mut [f32]) {
    match kind {
        Kind::Q4_0 => blocks::<32, 18, Q4_0>(bytes, begin, target),
        Kind::Q4_1 => blocks::<32, 20, Q4_1>(bytes, begin, target),
        Kind::Q5_0 => blocks::<32, 22, Q5_0>(bytes, begin, target),
        Kind::Q5_1 => blocks::<32, 24, Q5_1>(bytes, begin, target),
        Kind::Q8_0 => blocks::<32, 34, Q8_0>(bytes, begin, target),
        Kind::Q4_K => blocks::<256, 144, Q4_K>(bytes, begin, target),
        Kind::Q5_K => blocks::<256, 176, Q5_K>(bytes, begin, target),
        Kind::Q6_K => blocks::<256, 210, Q6_K>(bytes, begin, target),
    }
}

/// A kind of block of `B` bytes, which `N` elements are decoded from: a trait, as functions that are
/// handed over stay functions, without the instruction set.
trait Block<const N: usize, const B: usize> {
    fn decode(block: &[u8; B], target: &mut [f32; N]);
}

/// The same of one kind.
#[inline(always)]
fn blocks<const N: usize, const B: usize, K: Block<N, B>>(
    bytes: &[u8],
    begin: u64,
    target: &mut [f32],
) {
    let (blocks, _) = bytes.as_chunks::<B>();
    let skipped = (begin % N as u64) as usize;
    let mut whole = [0.0; N];
    let (head, rest) = target.split_at_mut(target.len().min((N - skipped) % N));
    let mut first = 0;
    if !head.is_empty() {
        K::decode(&blocks[0], &mut whole);
        head.copy_from_slice(&whole[skipped..skipped + head.len()]);
        first = 1;
    }
    let (middle, tail) = rest.as_chunks_mut::<N>();
    let last = first + middle.len();
    for (target, block) in middle.iter_mut().zip(&blocks[first..]) {
        K::decode(block, target);
    }
    if !tail.is_empty() {
        K::decode(&blocks[last], &mut whole);
        tail.copy_from_slice(&whole[..tail.len()]);
    }
}

#[inline(always)]
fn f16(bytes: &[u8], at: usize) -> f32 {
    half::from_f16(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
}

struct Q8_0;

impl Block<32, 34> for Q8_0 {
    #[inline(always)]
    fn decode(block: &[u8; 34], target: &mut [f32; 32]) {
        let d = f16(block, 0);
        for (target, code) in target.iter_mut().zip(&block[2..]) {
            *target = f32::from(*code as i8) * d;
        }
    }
}

struct Q4_0;

impl Block<32, 18> for Q4_0 {
    #[inline(always)]
    fn decode(block: &[u8; 18], target: &mut [f32; 32]) {
        let d = f16(block, 0);
        for (index, byte) in block[2..].iter().enumerate() {
            target[index] = d * f32::from((byte & 15) as i8 - 8);
            target[index + 16] = d * f32::from((byte >> 4) as i8 - 8);
        }
    }
}

struct Q4_1;

impl Block<32, 20> for Q4_1 {
    #[inline(always)]
    fn decode(block: &[u8; 20], target: &mut [f32; 32]) {
        let (d, m) = (f16(block, 0), f16(block, 2));
        for (index, byte) in block[4..].iter().enumerate() {
            target[index] = d * f32::from(byte & 15) + m;
            target[index + 16] = d * f32::from(byte >> 4) + m;
        }
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

struct Q5_0;

impl Block<32, 22> for Q5_0 {
    #[inline(always)]
    fn decode(block: &[u8; 22], target: &mut [f32; 32]) {
        let (d, fifths) = (f16(block, 0), fifths(block, 2));
        for (index, byte) in block[6..].iter().enumerate() {
            target[index] = d * f32::from((byte & 15 | fifths[index]) as i8 - 16);
            target[index + 16] = d * f32::from((byte >> 4 | fifths[index + 16]) as i8 - 16);
        }
    }
}

struct Q5_1;

impl Block<32, 24> for Q5_1 {
    #[inline(always)]
    fn decode(block: &[u8; 24], target: &mut [f32; 32]) {
        let (d, m, fifths) = (f16(block, 0), f16(block, 2), fifths(block, 4));
        for (index, byte) in block[8..].iter().enumerate() {
            target[index] = d * f32::from(byte & 15 | fifths[index]) + m;
            target[index + 16] = d * f32::from(byte >> 4 | fifths[index + 16]) + m;
        }
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

struct Q4_K;

impl Block<256, 144> for Q4_K {
    #[inline(always)]
    fn decode(block: &[u8; 144], target: &mut [f32; 256]) {
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
}

struct Q5_K;

impl Block<256, 176> for Q5_K {
    #[inline(always)]
    fn decode(block: &[u8; 176], target: &mut [f32; 256]) {
        let (d, dmin, (scales, minima)) = (f16(block, 0), f16(block, 2), sixes(&block[4..16]));
        let fifths = &block[16..48];
        for chunk in 0..4 {
            let codes = &block[48 + 32 * chunk..80 + 32 * chunk];
            let (low, high) = target[64 * chunk..64 * chunk + 64].split_at_mut(32);
            let [scale, next] = [0, 1].map(|half| d * f32::from(scales[2 * chunk + half]));
            let [minimum, other] = [0, 1].map(|half| dmin * f32::from(minima[2 * chunk + half]));
            for ((low, high), (byte, fifth)) in
                low.iter_mut().zip(high).zip(codes.iter().zip(fifths))
            {
                let bits = fifth >> (2 * chunk);
                *low = scale * f32::from(byte & 15 | (bits & 1) << 4) - minimum;
                *high = next * f32::from(byte >> 4 | (bits >> 1 & 1) << 4) - other;
            }
        }
    }
}

struct Q6_K;

impl Block<256, 210> for Q6_K {
    #[inline(always)]
    fn decode(block: &[u8; 210], target: &mut [f32; 256]) {
        let d = f16(block, 208);
        for (half, target) in target.as_chunks_mut::<128>().0.iter_mut().enumerate() {
            let codes = q6_k_codes(&block[64 * half..][..64], &block[128 + 32 * half..][..32]);
            let parts = codes.as_chunks::<16>().0.iter().zip(&block[192 + 8 * half..][..8]);
            for (target, (codes, scale)) in target.as_chunks_mut::<16>().0.iter_mut().zip(parts) {
                let scale = d * f32::from(*scale as i8);
                for (target, code) in target.iter_mut().zip(codes) {
                    *target = scale * f32::from(*code);
                }
            }
        }
    }
}

/// Half a block's codes, of their lower four bits and their upper two.
#[inline(always)]
fn q6_k_codes(fours: &[u8], twos: &[u8]) -> [i8; 128] {
    let mut codes = [0; 128];
    let (low, high) = codes.split_at_mut(64);
    let (first, second) = low.split_at_mut(32);
    let (third, fourth) = high.split_at_mut(32);
    for (index, two) in twos.iter().enumerate() {
        let (one, other) = (fours[index], fours[index + 32]);
        first[index] = (one & 15 | (two & 3) << 4) as i8 - 32;
        second[index] = (other & 15 | (two >> 2 & 3) << 4) as i8 - 32;
        third[index] = (one >> 4 | (two >> 4 & 3) << 4) as i8 - 32;
        fourth[index] = (other >> 4 | (two >> 6) << 4) as i8 - 32;
    }
    codes
}
