//! Two ways of reading the inputs of a merge into files: into buffers, or where they lie in maps.
//!
//! Which is the faster depends on the processor, and on how the page cache holds a file; nobody tells.
//! So units take turns until enough of each way were timed, and the rest goes the faster one. What is
//! timed is reading and computing: with maps the one happens during the other. Writing is left out.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::open;
use super::source::Opened;
use super::{IoMode, Request, Sink, Source, Sources};
use crate::error::Result;

/// Timed units of each way; half of them may have been interrupted.
const TRIED: usize = 12;

/// A run that reads less than so many bytes is over before it matters.
const LEAST: u64 = 128 * 1024 * 1024;

/// Bytes of each input that must be allowed to stay in memory, and inputs that may be open twice.
const RESIDENT: u64 = 8 * 1024 * 1024;
const MOST: usize = 32;

/// A way of reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Positioned reads into buffers.
    Read,
    /// Memory maps.
    Map,
}

/// What was found out about the ways of reading.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// The one that was taken.
    pub way: Way,
    /// Nanoseconds per byte that was read, of reads and of maps: the median of the timed units.
    pub costs: [f64; 2],
}

/// The ways of a run.
#[derive(Debug)]
pub(super) struct Ways<'a> {
    read: &'a Sources<'a>,
    /// The same sources as maps, if there is a choice.
    map: Option<Vec<Opened<'a>>>,
    turns: AtomicUsize,
    costs: Mutex<[Vec<f64>; 2]>,
    found: OnceLock<Reading>,
}

impl<'a> Ways<'a> {
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

    /// The way for the next unit, and whether it is to be timed.
    pub(super) fn pick(&self) -> (Way, bool) {
        if self.map.is_none() {
            return (Way::Read, false);
        }
        if let Some(found) = self.found.get() {
            return (found.way, false);
        }
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        (if turn.is_multiple_of(2) { Way::Read } else { Way::Map }, true)
    }

    /// The sources to read from.
    pub(super) fn sources(&self, way: Way) -> &Sources<'a> {
        match (&self.map, way) {
            (Some(map), Way::Map) => map,
            _ => self.read,
        }
    }

    /// Note how long a unit took that read so many bytes.
    pub(super) fn note(&self, way: Way, bytes: u64, took: Duration) {
        if bytes == 0 {
            return;
        }
        let mut costs = self.costs.lock().unwrap_or_else(PoisonError::into_inner);
        costs[usize::from(way == Way::Map)].push(took.as_secs_f64() * 1e9 / bytes as f64);
        if costs.iter().all(|costs| costs.len() >= TRIED) {
            let costs = costs.each_mut().map(|costs| median(costs));
            let way = if costs[1] < costs[0] { Way::Map } else { Way::Read };
            self.found.get_or_init(|| Reading { way, costs });
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

    fn after(costs: [u64; 2], slow: impl Fn(usize) -> bool) -> Way {
        let read = [];
        let map = Some(Vec::new());
        let (turns, noted) = (AtomicUsize::new(0), Mutex::default());
        let ways = Ways { read: &read, map, turns, costs: noted, found: OnceLock::new() };
        for turn in 0..2 * TRIED {
            assert_eq!(ways.found(), None);
            let (way, timed) = ways.pick();
            assert!(timed);
            let cost = costs[usize::from(way == Way::Map)] * if slow(turn) { 50 } else { 1 };
            ways.note(way, 0, Duration::ZERO);
            ways.note(way, 1000, Duration::from_nanos(1000 * cost));
        }
        let found = ways.found().unwrap();
        assert_eq!(found.costs, costs.map(|cost| cost as f64));
        assert_eq!(ways.pick(), (found.way, false));
        found.way
    }

    #[test]
    fn the_faster_way_is_taken_though_some_units_were_interrupted() {
        assert_eq!(after([3, 2], |_| false), Way::Map);
        assert_eq!(after([2, 3], |_| false), Way::Read);
        assert_eq!(after([3, 2], |turn| turn % 2 == 1 && turn < 10), Way::Map);
        assert_eq!(after([2, 3], |turn| turn % 2 == 0 && turn < 10), Way::Read);
    }

    #[test]
    fn without_a_choice_nothing_is_timed() {
        let read = [];
        let (turns, costs) = (AtomicUsize::new(0), Mutex::default());
        let ways = Ways { read: &read, map: None, turns, costs, found: OnceLock::new() };
        assert_eq!(ways.pick(), (Way::Read, false));
    }
}
