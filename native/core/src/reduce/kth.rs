//! The k-th smallest absolute value, exactly, by counting.
//!
//! Absolute values of float32 are in the order of their bits; NaN has greater bits than infinity.
//! A first pass counts values by their upper 14 bits, which gives a [`Bracket`] that holds the
//! k-th. Of a large tensor it counts a sample only, and the bracket is as wide as chance asks for.
//! The second pass counts what is below the bracket and keeps the values within it; where these are
//! many, it counts them one by one. Where the sample
//! gives no narrow bracket, or the k-th is not within it, both passes run again without one.

/// Bits that the first pass does not tell.
const SHIFT: u32 = 17;

/// Counters of the first pass.
pub(super) const COARSE: usize = 1 << 14;

/// Most counters of the first pass that a bracket from a sample may span.
const WIDEST: u32 = 8;

/// Standard deviations by which a bracket from a sample is widened on each side.
const DEVIATIONS: f64 = 5.0;

/// Values that are looked at together.
const LANES: usize = 16;

/// Bit patterns of absolute values: `first` and the `length - 1` after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Bracket {
    pub(crate) first: u32,
    pub(crate) length: u32,
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

/// The number of values below a bracket; the places of those within it are added to `inside`.
#[inline(always)]
pub(crate) fn divide(bracket: Bracket, inside: &mut Vec<u32>, xs: &[f32]) -> u64 {
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
    let below = lanes.iter().map(|lane| u64::from(*lane)).sum::<u64>();
    below + rest.iter().map(|x| u64::from(place(*x) >> 31)).sum::<u64>()
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

/// The values within a bracket, by their places in it.
#[derive(Debug, Default)]
pub(super) struct Within {
    places: Vec<u32>,
    /// How many there are of each, once that takes less memory; empty before.
    counts: Vec<u64>,
}

impl Within {
    /// Add more of them.
    pub(super) fn add(&mut self, bracket: Bracket, places: &[u32]) {
        if self.counts.is_empty() {
            self.places.extend_from_slice(places);
            if self.places.len() > 2 * bracket.length as usize {
                self.counts = vec![0; bracket.length as usize];
                let kept = std::mem::take(&mut self.places);
                self.count(&kept);
            }
        } else {
            self.count(places);
        }
    }

    fn count(&mut self, places: &[u32]) {
        for place in places {
            self.counts[*place as usize] += 1;
        }
    }

    /// The value of a rank, if it is one of them and so many are below the bracket.
    pub(super) fn select(&mut self, bracket: Bracket, below: u64, rank: u64) -> Option<f64> {
        let left = rank.checked_sub(below).filter(|left| *left > 0)?;
        let place = if self.counts.is_empty() {
            let index = left as usize - 1;
            if index >= self.places.len() {
                return None;
            }
            *self.places.select_nth_unstable(index).1
        } else {
            find(&self.counts, left)? as u32
        };
        Some(f64::from(f32::from_bits(bracket.first + place)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Isa;
    use crate::vm::simd::{Level, Task};

    struct Divide<'a>(Bracket, &'a mut Vec<u32>, &'a [f32]);

    impl Task for Divide<'_> {
        type Output = u64;

        #[inline(always)]
        fn run<I: Isa>(self) -> u64 {
            I::divide(self.0, self.1, self.2)
        }
    }

    #[test]
    fn a_bracket_divides_values_as_comparisons_do() {
        let xs: Vec<f32> = (0..1000_u16).map(|x| (f32::from(x) * 0.37).sin()).collect();
        let bracket = Bracket { first: 0.25_f32.to_bits(), length: 1 << 20 };
        let bits = || xs.iter().map(|x| x.abs().to_bits());
        let count = bits().filter(|bits| *bits < bracket.first).count() as u64;
        let range = bracket.first..bracket.first + bracket.length;
        let expected: Vec<u32> =
            bits().filter(|bits| range.contains(bits)).map(|bits| bits - bracket.first).collect();
        for level in Level::all() {
            let mut inside = vec![7];
            assert_eq!(level.run(Divide(bracket, &mut inside, &xs)), count);
            assert_eq!(inside[..1], [7]);
            assert_eq!(inside[1..], expected, "{level:?}");
        }
    }

    #[test]
    fn values_are_the_same_whether_they_are_kept_or_counted() {
        let bracket = Bracket { first: 1000, length: 50 };
        let places: Vec<u32> = (0..400_u32).map(|index| index * index % 37).collect();
        let mut sorted = places.clone();
        sorted.sort_unstable();
        for parts in [1, 4] {
            // Of 100 places the 101st makes it count.
            let (mut few, mut many) = (Within::default(), Within::default());
            few.add(bracket, &places[..100]);
            places.chunks(400 / parts).for_each(|part| many.add(bracket, part));
            assert!(few.counts.is_empty() && many.places.is_empty());
            for rank in [1, 2, 200, 400] {
                let bits = 1000 + sorted[rank - 1];
                let wanted = Some(f64::from(f32::from_bits(bits)));
                assert_eq!(many.select(bracket, 10, rank as u64 + 10), wanted);
            }
            assert_eq!(many.select(bracket, 10, 411), None);
            assert_eq!(few.select(bracket, 0, 101), None);
            let mut first = places[..100].to_vec();
            first.sort_unstable();
            let wanted = Some(f64::from(f32::from_bits(1000 + first[41])));
            assert_eq!(few.select(bracket, 0, 42), wanted);
        }
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
