//! What every kind of block is encoded by, and the half floats in it.

use crate::codec::{half, Isa};

/// A kind of block of `B` bytes, which `N` elements are encoded to; whether its scales are finite.
pub(super) trait Block<const N: usize, const B: usize> {
    fn encode<I: Isa>(values: &[f32; N], block: &mut [u8; B]) -> bool;
}

/// Store a half float; whether it is finite.
#[inline(always)]
pub(super) fn store(block: &mut [u8], at: usize, value: f32) -> bool {
    let bits = half::to_f16(value);
    block[at..at + 2].copy_from_slice(&bits.to_le_bytes());
    bits & 0x7fff < 0x7c00
}

/// A half float that was stored.
#[inline(always)]
pub(super) fn stored(block: &[u8], at: usize) -> f32 {
    half::from_f16(u16::from_le_bytes([block[at], block[at + 1]]))
}
