//! The k-th smallest absolute value, exactly, by counting.
//!
//! Absolute values of float32 are in the order of their bits; NaN has greater bits than infinity.
//! A first pass counts values by their upper 16 bits, which gives a [`Bracket`] that holds the
//! k-th. Of a large tensor it counts a sample only, and the bracket is as wide as chance asks for.
//! The second pass counts what is below the bracket and each value within it. Where the sample
//! gives no narrow bracket, or the k-th is not within it, both passes run again without one.

/// Bits that the first pass does not tell.
const SHIFT: u32 = 15;

/// Counters of the first pass.
pub(super) const COARSE: usize = 1 << 16;

/// Most counters of the first pass that a bracket from a sample may span.
const WIDEST: u32 = 24;

/// Standard deviations by which a bracket from a sample is widened on each side.
const DEVIATIONS: f64 = 5.0;

/// Values that are looked at together.
const LANES: usize = 16;

/// Bit patterns of absolute values: `first` and the `length - 1` after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Bracket {
    pub(super) first: u32,
    pub(super) length: u32,
}

impl Bracket {
    /// All values that some counters of the first pass count.
    fn of(first: usize, last: usize) -> Self {
        let length = (last + 1 - first) as u32;
        Self { first: (first as u32) << SHIFT, length: length << SHIFT }
    }
}

/// Count by upper bits.
#[inline(always)]
pub(super) fn count(counts: &mut [u32], xs: &[f32]) {
    for x in xs {
        counts[(x.abs().to_bits() >> SHIFT) as usize] += 1;
    }
}

/// Add the number of values below a bracket to `below`, and their places within it to `inside`.
#[inline(always)]
pub(super) fn divide(bracket: Bracket, below: &mut u64, inside: &mut Vec<u32>, xs: &[f32]) {
    // Neither has bit 31, so a difference has it if the value is below.
    let place = |x: f32| x.abs().to_bits().wrapping_sub(bracket.first);
    let (chunks, rest) = xs.as_chunks::<LANES>();
    let mut lanes = [0; LANES];
    for chunk in chunks {
        let mut any = false;
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            let place = place(*x);
            *lane += place >> 31;
            any |= place < bracket.length;
        }
        if any {
            inside.extend(chunk.iter().map(|x| place(*x)).filter(|place| *place < bracket.length));
        }
    }
    inside.extend(rest.iter().map(|x| place(*x)).filter(|place| *place < bracket.length));
    *below += lanes.iter().map(|lane| u64::from(*lane)).sum::<u64>();
    *below += rest.iter().map(|x| u64::from(place(*x) >> 31)).sum::<u64>();
}

/// The place in an ascending order, from 1, that a number asks for among `count` values.
pub(super) fn rank(k: f64, count: u64) -> u64 {
    (k.trunc() as u64).clamp(1, count.max(1))
}

/// The counter that holds the value of a rank, if there are so many.
fn find(counts: &[u64], rank: u64) -> Option<usize> {
    let mut left = rank;
    counts.iter().position(|count| {
        let found = left <= *count;
        left = left.saturating_sub(*count);
        found
    })
}

/// Where the value of a rank is, all values having been counted.
pub(super) fn locate(counts: &[u64], rank: u64) -> Option<Bracket> {
    find(counts, rank).map(|counter| Bracket::of(counter, counter))
}

/// Where the value of a rank among `total` most likely is, a sample having been counted.
pub(super) fn estimate(counts: &[u64], rank: u64, total: u64) -> Option<Bracket> {
    let sample: u64 = counts.iter().sum();
    let share = rank as f64 / total as f64;
    let middle = share * sample as f64;
    let margin = 1.0 + DEVIATIONS * (middle * (1.0 - share)).sqrt();
    let (low, high) = ((middle - margin).floor(), (middle + margin).ceil());
    // Beyond either end of the sample, nobody knows how far.
    let first = if low < 1.0 { None } else { find(counts, low as u64) }?;
    let last = find(counts, high as u64)?;
    let bracket = Bracket::of(first, last);
    (bracket.length <= WIDEST << SHIFT).then_some(bracket)
}

/// The value of a rank, if it is within a bracket that has so many below.
pub(super) fn select(bracket: Bracket, below: u64, counts: &[u64], rank: u64) -> Option<f64> {
    let place = find(counts, rank.checked_sub(below).filter(|left| *left > 0)?)?;
    Some(f64::from(f32::from_bits(bracket.first + place as u32)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bracket_divides_values_as_comparisons_do() {
        let xs: Vec<f32> = (0..1000_u16).map(|x| (f32::from(x) * 0.37).sin()).collect();
        let bracket = Bracket { first: 0.25_f32.to_bits(), length: 1 << 20 };
        let (mut below, mut inside) = (7, Vec::new());
        divide(bracket, &mut below, &mut inside, &xs);
        let bits = || xs.iter().map(|x| x.abs().to_bits());
        assert_eq!(below, 7 + bits().filter(|bits| *bits < bracket.first).count() as u64);
        let range = bracket.first..bracket.first + bracket.length;
        let expected: Vec<u32> =
            bits().filter(|bits| range.contains(bits)).map(|bits| bits - bracket.first).collect();
        assert_eq!(inside, expected);
    }

    #[test]
    fn a_sample_that_tells_too_little_gives_no_bracket() {
        let mut counts = vec![0; COARSE];
        counts[1000..1100].fill(100);
        assert_eq!(estimate(&counts, 1, 1_000_000), None);
        assert_eq!(estimate(&counts, 1_000_000, 1_000_000), None);
        let bracket = estimate(&counts, 500_000, 1_000_000).unwrap_or_default();
        assert!(bracket.first < 1050 << SHIFT && bracket.length > 1 << SHIFT);
        counts[1000..1100].fill(1);
        assert_eq!(estimate(&counts, 500_000, 1_000_000), None);
    }
}
