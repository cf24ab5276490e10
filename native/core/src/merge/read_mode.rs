//! Two ways of reading the inputs of a merge into files: into buffers, or where they lie in maps.
//!
//! Which is the faster depends on the processor, and on how the page cache holds a file; nobody tells.
//! So units take turns until enough units of each were timed, and the rest goes the faster one. What is
//! timed is reading and computing: with maps the one happens during the other. Writing is left out.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::open;
use super::source::Opened;
use super::{IoMode, Request, Sink, Source, Sources};
use crate::error::Result;

/// Timed units of each mode; half of them may have been interrupted.
const TRIED: usize = 12;

/// A run that reads less than so many bytes is over before it matters.
const LEAST: u64 = 128 * 1024 * 1024;

/// Bytes of each input that must be allowed to stay in memory, and inputs that may be open twice.
const RESIDENT: u64 = 8 * 1024 * 1024;
const MOST: usize = 32;

/// How inputs are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadMode {
    /// Positioned reads into buffers.
    Read,
    /// Memory maps.
    Map,
}

/// What was found out about the two.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// The one that was taken.
    pub mode: ReadMode,
    /// Nanoseconds per byte that was read, of reads and of maps: the median of the timed units.
    pub costs: [f64; 2],
}

/// Both, for one run.
#[derive(Debug)]
pub(super) struct ReadModes<'a> {
    read: &'a Sources<'a>,
    /// The same sources as maps, if there is a choice.
    map: Option<Vec<Opened<'a>>>,
    turns: AtomicUsize,
    costs: Mutex<[Vec<f64>; 2]>,
    found: OnceLock<Reading>,
}

impl<'a> ReadModes<'a> {
    /// Open the sources as maps too, if it may be worth it.
    pub(super) fn new(request: &'a Request, read: &'a Sources<'a>, bytes: u64) -> Result<Self> {
        let files = request.sources.iter().filter(|source| matches!(source, Source::Path(_)));
        let share = request.options.memory / request.sources.len().max(1) as u64;
        let worth = request.options.io == IoMode::Auto
            && !request.sinks.iter().all(Sink::is_memory)
            && (1..=MOST).contains(&files.count())
            && bytes >= LEAST
            && share >= RESIDENT;
        let map = worth.then(|| open::open_as_maps(request)).transpose()?;
        let (turns, costs) = (AtomicUsize::new(0), Mutex::default());
        Ok(Self { read, map, turns, costs, found: OnceLock::new() })
    }

    /// How the next unit is read, and whether it is to be timed.
    ///
    /// A sample is read: its pieces are pages apart, and the kernel maps as many pages for each as if
    /// all between them were wanted.
    pub(super) fn pick(&self, samples: bool) -> (ReadMode, bool) {
        if self.map.is_none() || samples {
            return (ReadMode::Read, false);
        }
        if let Some(found) = self.found.get() {
            return (found.mode, false);
        }
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        (if turn.is_multiple_of(2) { ReadMode::Read } else { ReadMode::Map }, true)
    }

    /// The sources to read from.
    pub(super) fn sources(&self, mode: ReadMode) -> &Sources<'a> {
        match (&self.map, mode) {
            (Some(map), ReadMode::Map) => map,
            _ => self.read,
        }
    }

    /// Note how long a unit took that read so many bytes.
    pub(super) fn note(&self, mode: ReadMode, bytes: u64, took: Duration) {
        if bytes == 0 {
            return;
        }
        let mut costs = self.costs.lock().unwrap_or_else(PoisonError::into_inner);
        costs[usize::from(mode == ReadMode::Map)].push(took.as_secs_f64() * 1e9 / bytes as f64);
        if costs.iter().all(|costs| costs.len() >= TRIED) {
            let costs = costs.each_mut().map(|costs| median(costs));
            let mode = if costs[1] < costs[0] { ReadMode::Map } else { ReadMode::Read };
            self.found.get_or_init(|| Reading { mode, costs });
        }
    }

    /// What was found out, if there was a choice and the run was long enough.
    pub(super) fn found(&self) -> Option<Reading> {
        self.found.get().copied()
    }

    /// After all reads: an error if a file has shrunk meanwhile.
    pub(super) fn check_whole(&self) -> Result<()> {
        self.read.iter().chain(self.map.iter().flatten()).try_for_each(Opened::check_whole)
    }
}

fn median(costs: &mut [f64]) -> f64 {
    costs.sort_by(f64::total_cmp);
    costs[costs.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(costs: [u64; 2], slow: impl Fn(usize) -> bool) -> ReadMode {
        let read = [];
        let map = Some(Vec::new());
        let (turns, noted) = (AtomicUsize::new(0), Mutex::default());
        let modes = ReadModes { read: &read, map, turns, costs: noted, found: OnceLock::new() };
        for turn in 0..2 * TRIED {
            assert_eq!(modes.found(), None);
            assert_eq!(modes.pick(true), (ReadMode::Read, false));
            let (mode, timed) = modes.pick(false);
            assert!(timed);
            let cost = costs[usize::from(mode == ReadMode::Map)] * if slow(turn) { 50 } else { 1 };
            modes.note(mode, 0, Duration::ZERO);
            modes.note(mode, 1000, Duration::from_nanos(1000 * cost));
        }
        let found = modes.found().unwrap();
        assert_eq!(found.costs, costs.map(|cost| cost as f64));
        assert_eq!(modes.pick(false), (found.mode, false));
        assert_eq!(modes.pick(true), (ReadMode::Read, false));
        found.mode
    }

    #[test]
    fn the_faster_mode_is_taken_though_some_units_were_interrupted() {
        assert_eq!(after([3, 2], |_| false), ReadMode::Map);
        assert_eq!(after([2, 3], |_| false), ReadMode::Read);
        assert_eq!(after([3, 2], |turn| turn % 2 == 1 && turn < 10), ReadMode::Map);
        assert_eq!(after([2, 3], |turn| turn % 2 == 0 && turn < 10), ReadMode::Read);
    }

    #[test]
    fn without_a_choice_nothing_is_timed() {
        let read = [];
        let (turns, costs) = (AtomicUsize::new(0), Mutex::default());
        let modes = ReadModes { read: &read, map: None, turns, costs, found: OnceLock::new() };
        assert_eq!(modes.pick(false), (ReadMode::Read, false));
    }
}
