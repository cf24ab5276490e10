//! How much one call writes: large or small pieces, whichever the machine takes faster now.
//!
//! Linux keeps what one call writes in blocks of memory as large as that, if it begins at a
//! multiple of their size. Large ones cost the least where memory is at hand. In a virtual machine
//! they may have been given back to the host, and then cost up to ten times as much as small ones,
//! which are taken from memory that was in use just before. Nobody tells which it is, and it
//! changes within seconds, so both are timed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Bytes of a piece of each kind: a large one is what a unit of a job writes, a small one eight
/// pages, the most that the kernel keeps ready for each processor.
const SIZES: [usize; 2] = [256 * 1024, 32 * 1024];

/// Writes of fewer bytes are not timed: their cost is that of the call.
const TIMED: usize = 64 * 1024;

/// One of so many timed writes is made in the worse way, to see whether it is the worse one still.
const PROBED: u64 = 128;

/// A sample that is slower than what was known weighs one in so many, and counts as at most so many
/// times that: a thread that was interrupted says little about memory.
const DOUBT: (u64, u64) = (8, 4);

/// What was found out about writing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Writing {
    /// Bytes that one call writes.
    pub piece: usize,
    /// Nanoseconds per byte of large pieces and of small ones, lately.
    pub costs: [f64; 2],
}

/// What writing costs by pieces of each size.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    /// Picoseconds per byte of each size, averaged; 0 if it was not tried yet.
    costs: [AtomicU64; 2],
    writes: AtomicU64,
}

impl Pieces {
    /// The bytes of a piece for a write of so many, and whether it is to be timed.
    pub(super) fn pick(&self, length: usize) -> (usize, bool) {
        let [large, small] = self.costs.each_ref().map(|cost| cost.load(Ordering::Relaxed));
        let better = usize::from(small < large);
        if length < TIMED {
            return (SIZES[better], false);
        }
        let probes = self.writes.fetch_add(1, Ordering::Relaxed) % PROBED == PROBED - 1;
        (SIZES[if probes { 1 - better } else { better }], true)
    }

    /// What is known of both sizes, if both were tried.
    pub(super) fn found(&self) -> Option<Writing> {
        let known = self.costs.each_ref().map(|cost| cost.load(Ordering::Relaxed));
        let piece = SIZES[usize::from(known[1] < known[0])];
        let costs = known.map(|cost| cost as f64 / 1000.0);
        (!known.contains(&0)).then_some(Writing { piece, costs })
    }

    /// Note how long a write took that was made in pieces of a size.
    pub(super) fn note(&self, size: usize, length: usize, took: Duration) {
        let cost = &self.costs[usize::from(size == SIZES[1])];
        let sample = (took.as_nanos() as u64).saturating_mul(1000) / length as u64;
        // Two threads may note at once and one be forgotten: it is an average.
        let known = cost.load(Ordering::Relaxed);
        let next = match known {
            0 => sample,
            _ if sample < known => known.midpoint(sample),
            _ => (known * (DOUBT.0 - 1) + sample.min(known * DOUBT.1)) / DOUBT.0,
        };
        cost.store(next.max(1), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICROSECOND: Duration = Duration::from_micros(1);

    /// So many writes; how many of them were made in small pieces.
    fn writes(pieces: &Pieces, count: usize, large: u32, small: u32) -> usize {
        let write = |_| {
            let (size, timed) = pieces.pick(SIZES[0]);
            assert!(timed);
            let is_small = size == SIZES[1];
            pieces.note(size, SIZES[0], MICROSECOND * if is_small { small } else { large });
            usize::from(is_small)
        };
        (0..count).map(write).sum()
    }

    #[test]
    fn the_faster_size_is_taken_and_the_change_is_noticed() {
        let pieces = Pieces::default();
        assert!(writes(&pieces, 1000, 30, 60) < 20);
        assert!(writes(&pieces, 1000, 600, 60) > 900);
        writes(&pieces, 10 * PROBED as usize, 30, 60);
        assert!(writes(&pieces, 1000, 30, 60) < 20);
    }

    #[test]
    fn one_write_that_was_interrupted_changes_nothing() {
        let pieces = Pieces::default();
        writes(&pieces, 100, 30, 60);
        pieces.note(SIZES[0], SIZES[0], MICROSECOND * 100_000);
        assert!(writes(&pieces, 100, 30, 60) < 5);
    }

    #[test]
    fn little_is_not_timed() {
        let pieces = Pieces::default();
        assert_eq!(pieces.pick(TIMED - 1), (SIZES[0], false));
        writes(&pieces, 1000, 600, 60);
        assert_eq!(pieces.pick(TIMED - 1), (SIZES[1], false));
    }
}
