//! Random numbers by counter: the same for any thread count, chunk size and processor.
//!
//! Philox4x32-10 (Salmon et al., 2011). key = (seed low, seed high); counter = (q low, q high,
//! stream, kind) with q = index / 4 and kind 0 for uniform, 1 for normal, 2 for rounding; the four
//! words belong to elements 4q .. 4q+3.

use crate::codec::Isa;
use crate::program::Distribution;

/// What the words are multiplied with.
pub(crate) const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// Counters that are run side by side.
const LANES: usize = 8;

/// One 32-bit word of each counter, widened for the product that Philox takes.
pub(crate) type Words = [u64; LANES];

/// Numbers that a step gives.
const STEP: usize = 4 * LANES;
pub(crate) type Numbers = [f32; STEP];

/// 2^-24.
pub(crate) const SCALE: f64 = 1.0 / 16_777_216.0;

/// The keys of the rounds.
#[inline(always)]
pub(crate) fn round_keys([mut k0, mut k1]: [u32; 2]) -> [[u32; 2]; 10] {
    let mut keys = [[0; 2]; 10];
    for key in &mut keys {
        *key = [k0, k1];
        k0 = k0.wrapping_add(WEYL[0]);
        k1 = k1.wrapping_add(WEYL[1]);
    }
    keys
}

/// Philox4x32-10 of several counters.
#[inline(always)]
pub(crate) fn philox(counters: [Words; 4], key: [u32; 2]) -> [Words; 4] {
    let [mut c0, mut c1, mut c2, mut c3] = counters;
    for [k0, k1] in round_keys(key) {
        let p0 = c0.map(|word| word * u64::from(MULTIPLIERS[0]));
        let p1 = c2.map(|word| word * u64::from(MULTIPLIERS[1]));
        c0 = scramble(&p1, &c1, k0);
        c2 = scramble(&p0, &c3, k1);
        c1 = p1.map(|product| product & u64::from(u32::MAX));
        c3 = p0.map(|product| product & u64::from(u32::MAX));
    }
    [c0, c1, c2, c3]
}

/// The upper half of a product, and a word and a key into it.
#[inline(always)]
fn scramble(products: &Words, words: &Words, key: u32) -> Words {
    let mut scrambled = [0; LANES];
    for ((target, product), word) in scrambled.iter_mut().zip(products).zip(words) {
        *target = (product >> 32) ^ word ^ u64::from(key);
    }
    scrambled
}

/// Fill a block, or a part of one, with the numbers of the elements from `begin` on.
#[inline(always)]
pub(crate) fn fill<I: Isa>(
    target: &mut [f32],
    distribution: Distribution,
    stream: u32,
    seed: u64,
    begin: u64,
) {
    // The first numbers of the first step may belong to elements before the block.
    let mut skip = (begin % 4) as usize;
    let mut q = begin / 4;
    let mut left = target;
    while !left.is_empty() {
        let (now, later) = left.split_at_mut((STEP - skip).min(left.len()));
        if let Some(whole) = now.first_chunk_mut::<STEP>() {
            step::<I>(distribution, stream, seed, q, whole);
        } else {
            let mut numbers = [0.0; STEP];
            step::<I>(distribution, stream, seed, q, &mut numbers);
            now.copy_from_slice(&numbers[skip..skip + now.len()]);
        }
        left = later;
        skip = 0;
        q = q.wrapping_add(LANES as u64);
    }
}

/// The numbers of the elements from 4q on.
#[inline(always)]
fn step<I: Isa>(distribution: Distribution, stream: u32, seed: u64, q: u64, target: &mut Numbers) {
    let kind = match distribution {
        Distribution::Uniform => 0,
        Distribution::Normal => 1,
        Distribution::Rounding => 2,
    };
    let mut lanes = [0; LANES];
    for (lane, index) in lanes.iter_mut().zip(0_u64..) {
        *lane = q.wrapping_add(index);
    }
    let low = lanes.map(|lane| lane & u64::from(u32::MAX));
    let high = lanes.map(|lane| lane >> 32);
    let counters = [low, high, [u64::from(stream); LANES], [kind; LANES]];
    let key = [seed as u32, (seed >> 32) as u32];
    if distribution != Distribution::Normal {
        return I::uniforms(counters, key, target);
    }
    let bits = short(&I::philox(counters, key));
    for (lane, four) in target.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        *four = normal(bits.map(|bits| bits[lane]));
    }
}

/// 24 bits of each word: enough for a float32, and exact in one.
#[inline(always)]
fn short(words: &[Words; 4]) -> [[u32; LANES]; 4] {
    words.map(|words| words.map(|word| word as u32 >> 8))
}

/// Numbers of [0, 1), those of one counter after another.
#[inline(always)]
pub(crate) fn uniforms(words: &[Words; 4], target: &mut Numbers) {
    let scaled = short(words).map(|bits| bits.map(|bits| bits as i32 as f32 * SCALE as f32));
    for (lane, four) in target.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        *four = scaled.map(|scaled| scaled[lane]);
    }
}

fn normal([a, b, c, d]: [u32; 4]) -> [f32; 4] {
    let ([a, b], [c, d]) = (box_muller(a, b), box_muller(c, d));
    [a, b, c, d]
}

fn box_muller(radius: u32, angle: u32) -> [f32; 2] {
    let u = f64::from(radius + 1) * SCALE;
    let t = std::f64::consts::TAU * (f64::from(angle) * SCALE);
    let r = (-2.0 * libm::log(u)).sqrt();
    [(r * libm::cos(t)) as f32, (r * libm::sin(t)) as f32]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Portable;
    use crate::vm::block::Block;
    use crate::vm::BLOCK;

    #[test]
    fn philox_gives_the_known_answers() {
        let words = |counter: u32, key| {
            let counters = [[u64::from(counter); LANES]; 4];
            philox(counters, [key; 2]).map(|words| words[LANES - 1])
        };
        assert_eq!(words(0, 0), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        let ones = u32::MAX;
        assert_eq!(words(ones, ones), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
    }

    #[test]
    fn numbers_depend_on_the_index_only() {
        for distribution in [Distribution::Uniform, Distribution::Normal] {
            let from = |begin| {
                let mut block = Block::zeroed();
                fill::<Portable>(&mut block.0, distribution, 3, 1 << 40, begin);
                block
            };
            let whole = from(0);
            for begin in [1, 2, 3, 4, 31, 33, 1000] {
                let part = from(begin as u64);
                assert_eq!(part.0[..BLOCK - begin], whole.0[begin..]);
            }
        }
    }
}
