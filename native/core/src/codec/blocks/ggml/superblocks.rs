//! Values to blocks of 256, whose sub-blocks have scales of few bits.

#![allow(non_camel_case_types)] // the formats' own names

use super::block::{store, stored, Block};
use super::lanes::{bits, whole, Eight, LANES};
use super::search::{symmetric, Affine, Column};
use crate::codec::Isa;

pub(super) struct Q4_K;

impl Block<256, 144> for Q4_K {
    #[inline(always)]
    fn encode<I: Isa>(values: &[f32; 256], block: &mut [u8; 144]) -> bool {
        let (head, codes) = block.split_at_mut(16);
        let (found, finite) =
            affine::<I>(Affine { most: 15.0, start: -1.0, steps: 20 }, values, head);
        for (chunk, bytes) in codes.chunks_exact_mut(32).enumerate() {
            let (low, high) = (&found[2 * chunk], &found[2 * chunk + 1]);
            for (index, byte) in bytes.iter_mut().enumerate() {
                *byte = low[index] | high[index] << 4;
            }
        }
        finite
    }
}

pub(super) struct Q5_K;

impl Block<256, 176> for Q5_K {
    #[inline(always)]
    fn encode<I: Isa>(values: &[f32; 256], block: &mut [u8; 176]) -> bool {
        let (head, rest) = block.split_at_mut(16);
        let (fifths, codes) = rest.split_at_mut(32);
        let (found, finite) =
            affine::<I>(Affine { most: 31.0, start: -0.5, steps: 15 }, values, head);
        fifths.fill(0);
        for (chunk, bytes) in codes.chunks_exact_mut(32).enumerate() {
            let (low, high) = (&found[2 * chunk], &found[2 * chunk + 1]);
            for (index, byte) in bytes.iter_mut().enumerate() {
                *byte = low[index] & 15 | high[index] << 4;
                fifths[index] |= (low[index] >> 4 | high[index] >> 4 << 1) << (2 * chunk);
            }
        }
        finite
    }
}

/// Store the scales and minima of eight sub-blocks; their codes, and whether the scales are finite.
#[inline(always)]
fn affine<I: Isa>(
    search: Affine,
    values: &[f32; 256],
    head: &mut [u8],
) -> ([[u8; 32]; LANES], bool) {
    let mut x = [Column::default(); 32];
    for (index, x) in x.iter_mut().enumerate() {
        *x = Eight::gather(values, index, 32).0;
    }
    let (scales, minima) = search.find::<I>(&x);
    let greatest =
        |all: Eight| all.0.iter().fold(0.0_f32, |most, x| if *x > most { *x } else { most });
    let (scale, minimum) = (greatest(scales), greatest(minima));
    let sixes = |all: Eight, greatest: f32| {
        let factor = if greatest > 0.0 { 63.0 / greatest } else { 0.0 };
        (all * Eight::splat(factor)).whole(0.0, 63.0).0.map(|x| x as u8)
    };
    let (sixes, lows) = (sixes(scales, scale), sixes(minima, minimum));
    let finite = store(head, 0, scale / 63.0) & store(head, 2, minimum / 63.0);
    for index in 0..4 {
        let (scale, minimum) = (sixes[index + 4], lows[index + 4]);
        head[4 + index] = sixes[index] | scale >> 4 << 6;
        head[8 + index] = lows[index] | minimum >> 4 << 6;
        head[12 + index] = scale & 15 | minimum << 4;
    }
    let (scale, minimum) = (stored(head, 0), stored(head, 2));
    let mut codes = [[0; 32]; LANES];
    for (part, codes) in codes.iter_mut().enumerate() {
        let (scale, minimum) = (scale * f32::from(sixes[part]), minimum * f32::from(lows[part]));
        if scale != 0.0 {
            for (code, value) in codes.iter_mut().zip(&values[32 * part..]) {
                *code = bits((value + minimum) / scale, 0.0, search.most) as u8;
            }
        }
    }
    (codes, finite)
}

pub(super) struct Q6_K;

impl Block<256, 210> for Q6_K {
    #[inline(always)]
    fn encode<I: Isa>(values: &[f32; 256], block: &mut [u8; 210]) -> bool {
        let mut scales = [0.0; 16];
        for (half, scales) in scales.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            let mut x = [Eight::splat(0.0); 16];
            for (index, x) in x.iter_mut().enumerate() {
                *x = Eight::gather(values, 128 * half + index, 16);
            }
            *scales = symmetric(&x).0;
        }
        let most =
            scales.iter().fold(0.0, |most: f32, x| if x.abs() > most.abs() { *x } else { most });
        block.fill(0);
        if most.abs() < 1e-15 {
            return true;
        }
        let factor = -128.0 / most;
        let finite = store(block, 208, 1.0 / factor);
        let whole_scale = stored(block, 208);
        for (part, scale) in scales.iter().enumerate() {
            let eight = whole(factor * scale, -128.0, 127.0);
            block[192 + part] = eight as i8 as u8;
            let scale = whole_scale * eight;
            for (index, value) in values[16 * part..16 * part + 16].iter().enumerate() {
                let code = if scale == 0.0 { 0 } else { bits(value / scale, -32.0, 31.0) as u8 };
                let (code, place) = (code.wrapping_add(32), 16 * part % 128 + index);
                let (quarter, column, second) = (place / 32, place % 32, part / 8);
                block[64 * second + 32 * (quarter % 2) + column] |=
                    (code & 15) << (4 * (quarter / 2));
                block[128 + 32 * second + column] |= (code >> 4) << (2 * quarter);
            }
        }
        finite
    }
}
