//! What passes have found in inputs, kept from run to run.
//!
//! A study merges the same checkpoints again and again with other weights. Norms, products and k-th
//! values that depend on the checkpoints alone, or on what did not change, need no pass then. What was
//! found is kept by all that it depends on; the order of sums follows from the shape, so that the
//! results of a merge are the same bits with it and without.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::input::{Input, Plain};
use super::job::{Item, Task};
use super::pass::Pass;
use super::request::Request;
use super::source::Opened;
use super::Sources;
use crate::dtype::Dtype;
use crate::reduce::Found;
use crate::sys::Version;

/// Bytes that are kept at most, about.
const MOST: usize = 16 * 1024 * 1024;

/// Bytes of one finding beside its vectors, about.
const OVERHEAD: usize = 512;

/// Programs whose findings are kept at most.
const PROGRAMS: usize = 256;

/// Keeps what the passes of runs have found until it is dropped.
#[derive(Debug, Default)]
pub struct Findings {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Number of the run.
    run: u64,
    /// Numbers of programs by their texts.
    programs: HashMap<String, usize>,
    kept: HashMap<Key, Kept>,
    /// Bytes of them, about.
    size: usize,
}

#[derive(Debug)]
struct Kept {
    found: Vec<Found>,
    /// The last run that used it.
    run: u64,
}

/// All that a finding depends on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    program: usize,
    pass: usize,
    samples: bool,
    shape: Vec<u64>,
    /// Where the stage's inputs lie, and their types.
    inputs: Vec<(Version, u64, Dtype)>,
    parameters: Vec<u64>,
}

/// What is known when a run begins, and what it adds.
#[derive(Debug)]
pub(super) struct Recollection<'a> {
    findings: &'a Findings,
    sources: &'a Sources<'a>,
    /// Of the sources when they were opened; none of what may change unseen.
    versions: Vec<Option<Version>>,
    /// Numbers of the run's programs.
    programs: Vec<usize>,
}

impl Findings {
    /// Begin a run with its sources open.
    pub(super) fn begin<'a>(
        &'a self,
        request: &Request,
        sources: &'a Sources<'a>,
    ) -> Recollection<'a> {
        let versions = sources.iter().map(Opened::version).collect();
        let mut state = self.lock();
        if state.programs.len() > PROGRAMS {
            *state = State { run: state.run, ..State::default() };
        }
        state.run += 1;
        let programs = &mut state.programs;
        let number = |text: &str| {
            let next = programs.len();
            *programs.entry(text.to_owned()).or_insert(next)
        };
        let programs = request.programs.iter().map(|program| program.text()).map(number).collect();
        Recollection { findings: self, sources, versions, programs }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recollection<'_> {
    /// What a pass would find, if that was found before.
    pub(super) fn recall(&self, item: &Item, pass: &Pass) -> Option<Vec<Found>> {
        let key = self.key(item, pass)?;
        let mut state = self.findings.lock();
        let run = state.run;
        let kept = state.kept.get_mut(&key)?;
        kept.run = run;
        Some(kept.found.clone())
    }

    /// Keep what a pass has found, if its files are still what they were.
    pub(super) fn keep(&self, item: &Item, pass: &Pass, found: &[Found]) {
        let Some(key) = self.key(item, pass) else {
            return;
        };
        let unchanged = |place: usize| self.sources[place].version() == self.versions[place];
        if !inputs(item, pass).flatten().all(|plain| unchanged(plain.source)) {
            return;
        }
        let size = size_of(found);
        let mut state = self.findings.lock();
        if state.size + size > MOST {
            state.drop_unused();
        }
        if state.size + size <= MOST {
            let kept = Kept { found: found.to_vec(), run: state.run };
            if state.kept.insert(key, kept).is_none() {
                state.size += size;
            }
        }
    }

    /// All that a pass's findings depend on; `None` if they are not to be kept.
    fn key(&self, item: &Item, pass: &Pass) -> Option<Key> {
        let Task::Job { job, program, .. } = item.task else {
            return None;
        };
        let stage = &program.stages()[pass.number];
        if stage.output.is_some() || !stage.is_plain() {
            return None;
        }
        let place = |plain: Option<&Plain>| {
            let plain = plain?;
            Some((self.versions[plain.source]?, plain.offset, plain.dtype))
        };
        Some(Key {
            program: self.programs[job.program],
            pass: pass.number,
            samples: pass.samples(),
            shape: job.shape.clone(),
            inputs: inputs(item, pass).map(place).collect::<Option<_>>()?,
            parameters: pass.parameters(program),
        })
    }
}

/// Where the inputs of a pass lie; `None` for each that is more than a range of a file.
fn inputs<'a>(item: &Item<'a>, pass: &Pass) -> impl Iterator<Item = Option<&'a Plain>> {
    let (used, all): (&[usize], &[Input]) = match item.task {
        Task::Job { job, program, .. } => (&program.stages()[pass.number].inputs, &job.inputs),
        Task::Copy(_) => (&[], &[]),
    };
    used.iter().map(|input| all[*input].plain())
}

impl State {
    /// Drop what this run has not used.
    fn drop_unused(&mut self) {
        let run = self.run;
        self.kept.retain(|_, kept| kept.run == run);
        self.size = self.kept.values().map(|kept| size_of(&kept.found)).sum();
    }
}

fn size_of(found: &[Found]) -> usize {
    let vector = |found: &Found| match found {
        Found::Vector(all) => 4 * all.len(),
        _ => 0,
    };
    OVERHEAD + found.iter().map(vector).sum::<usize>()
}
