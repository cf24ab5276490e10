//! Random numbers by counter: the same for any thread count, chunk size and processor.
//!
//! Philox4x32-10 (Salmon et al., 2011). key = (seed low, seed high); counter = (q low, q high,
//! stream, kind) with q = index / 4 and kind 0 for uniform, 1 for normal; the four words belong
//! to elements 4q .. 4q+3.

use crate::program::Distribution;
use crate::vm::{Block, BLOCK};

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// One evaluation of Philox4x32-10.
#[inline(always)]
pub(crate) fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let [mut c0, mut c1, mut c2, mut c3] = counter;
    let [mut k0, mut k1] = key;
    for _ in 0..10 {
        let p0 = u64::from(MULTIPLIERS[0]) * u64::from(c0);
        let p1 = u64::from(MULTIPLIERS[1]) * u64::from(c2);
        (c0, c2) = ((p1 >> 32) as u32 ^ c1 ^ k0, (p0 >> 32) as u32 ^ c3 ^ k1);
        (c1, c3) = (p1 as u32, p0 as u32);
        k0 = k0.wrapping_add(WEYL[0]);
        k1 = k1.wrapping_add(WEYL[1]);
    }
    [c0, c1, c2, c3]
}

/// Fill a block with the numbers of the elements from `begin` on.
#[inline(always)]
pub(crate) fn fill(
    target: &mut Block,
    distribution: Distribution,
    stream: u32,
    seed: u64,
    begin: u64,
) {
    let mut to = 0;
    while to < BLOCK {
        let index = begin + to as u64;
        let lane = (index % 4) as usize;
        let numbers = four(distribution, stream, seed, index / 4);
        let count = (4 - lane).min(BLOCK - to);
        target.0[to..to + count].copy_from_slice(&numbers[lane..lane + count]);
        to += count;
    }
}

/// The numbers of elements 4q .. 4q+3.
#[inline(always)]
fn four(distribution: Distribution, stream: u32, seed: u64, q: u64) -> [f32; 4] {
    let kind = u32::from(distribution == Distribution::Normal);
    let counter = [q as u32, (q >> 32) as u32, stream, kind];
    let words = philox(counter, [seed as u32, (seed >> 32) as u32]);
    match distribution {
        Distribution::Uniform => words.map(|word| (word >> 8) as f32 * SCALE as f32),
        Distribution::Normal => {
            let [a, b] = box_muller(words[0], words[1]);
            let [c, d] = box_muller(words[2], words[3]);
            [a, b, c, d]
        }
    }
}

/// 2^-24.
const SCALE: f64 = 1.0 / 16_777_216.0;

fn box_muller(radius: u32, angle: u32) -> [f32; 2] {
    let u = f64::from((radius >> 8) + 1) * SCALE;
    let t = std::f64::consts::TAU * (f64::from(angle >> 8) * SCALE);
    let r = (-2.0 * libm::log(u)).sqrt();
    [(r * libm::cos(t)) as f32, (r * libm::sin(t)) as f32]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_gives_the_known_answers() {
        let ones = u32::MAX;
        let zero = [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8];
        assert_eq!(philox([0; 4], [0; 2]), zero);
        let full = [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd];
        assert_eq!(philox([ones; 4], [ones; 2]), full);
    }
}
