//! The k-th smallest absolute value, exactly, by counting in two passes.
//!
//! Absolute values of float32 are in the order of their bits. The first pass counts them by
//! their upper 16 bits, which tells the upper bits of the k-th; the second counts the values that
//! have these by their lower 15 bits. NaN has greater bits than infinity.

/// Bits that the second pass tells.
const SHIFT: u32 = 15;

/// Counters of the first pass.
pub(super) const UPPER: usize = 1 << 16;

/// Counters of the second pass.
pub(super) const LOWER: usize = 1 << SHIFT;

/// Count by upper bits.
#[inline(always)]
pub(super) fn count_upper(counts: &mut [u32], xs: &[f32]) {
    for x in xs {
        counts[(x.abs().to_bits() >> SHIFT) as usize] += 1;
    }
}

/// Count those with the given upper bits by lower bits.
#[inline(always)]
pub(super) fn count_lower(counts: &mut [u32], upper: u32, xs: &[f32]) {
    for x in xs {
        let bits = x.abs().to_bits();
        if bits >> SHIFT == upper {
            counts[(bits & (LOWER as u32 - 1)) as usize] += 1;
        }
    }
}

/// The place in an ascending order, from 1, that a number asks for among `count` values.
pub(super) fn rank(k: f64, count: u64) -> u64 {
    (k.trunc() as u64).clamp(1, count.max(1))
}

/// The counter that holds the value of a rank, and its rank among those of the counter.
pub(super) fn find(counts: &[u64], rank: u64) -> (u32, u64) {
    let mut left = rank;
    for (index, count) in counts.iter().enumerate() {
        if left <= *count {
            return (index as u32, left);
        }
        left -= count;
    }
    (counts.len() as u32 - 1, left) // not reached: ranks are within the total count
}

/// The value of these bits.
pub(super) fn value(upper: u32, lower: u32) -> f64 {
    f64::from(f32::from_bits(upper << SHIFT | lower))
}
