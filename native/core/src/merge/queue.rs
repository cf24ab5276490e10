//! Which thread does what next.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::job::{Item, Task};
use super::progress::Progress;
use crate::program::scalar;

/// What a pass of a job computes with.
#[derive(Debug, Default)]
pub(super) struct PassState {
    /// One per node; scalars that are known.
    pub(super) values: Vec<f64>,
    /// One per node; reductions along an axis that are known.
    pub(super) vectors: Vec<Vec<f32>>,
    /// The stage's scalars, rounded.
    pub(super) scalars: Vec<f32>,
}

/// A piece of work for one thread.
#[derive(Debug)]
pub(super) struct Unit<'a> {
    /// Place of its item in the queue.
    pub(super) place: usize,
    pub(super) item: Item<'a>,
    pub(super) pass: usize,
    pub(super) begin: u64,
    pub(super) end: u64,
    pub(super) state: Arc<PassState>,
}

/// An item that has been started and is not over.
#[derive(Debug)]
struct Active {
    place: usize,
    pass: usize,
    /// Units handed out in this pass.
    issued: u64,
    /// Units handed out and not over.
    running: u64,
    state: Arc<PassState>,
}

#[derive(Debug, Default)]
struct State {
    /// The first item that has not been started.
    next: usize,
    active: Vec<Active>,
    stopped: bool,
}

/// Items in order, and how far each is.
#[derive(Debug)]
pub(super) struct Queue<'a> {
    items: Vec<Item<'a>>,
    progress: &'a Progress,
    state: Mutex<State>,
    changed: Condvar,
}

impl<'a> Queue<'a> {
    pub(super) fn new(items: Vec<Item<'a>>, progress: &'a Progress) -> Self {
        Self { items, progress, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Hand out no more units.
    pub(super) fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    /// The next unit; waits while only running units can make new ones; `None` at the end.
    pub(super) fn next(&self) -> Option<Unit<'a>> {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return None;
            }
            if let Some(unit) = self.issue(&mut state) {
                return Some(unit);
            }
            if state.next < self.items.len() {
                self.start(&mut state);
            } else if state.active.is_empty() {
                return None;
            } else {
                let waited = self.changed.wait(state);
                state = waited.unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Note that a unit is over; at the end of a pass go on to the next.
    pub(super) fn complete(&self, unit: &Unit) {
        let mut state = self.lock();
        let Some(slot) = state.active.iter().position(|active| active.place == unit.place) else {
            return;
        };
        let active = &mut state.active[slot];
        active.running -= 1;
        if active.running > 0 || active.issued < unit.item.units() {
            return;
        }
        active.pass += 1;
        active.issued = 0;
        if active.pass == unit.item.passes {
            state.active.remove(slot);
            self.finished(&unit.item);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// A unit of an item that has been started, the earliest first.
    fn issue(&self, state: &mut State) -> Option<Unit<'a>> {
        let mut active = state.active.iter_mut();
        let active = active.find(|active| active.issued < self.items[active.place].units())?;
        let item = self.items[active.place];
        let (begin, end) = item.range(active.issued);
        active.issued += 1;
        active.running += 1;
        let state = Arc::clone(&active.state);
        Some(Unit { place: active.place, item, pass: active.pass, begin, end, state })
    }

    /// Start the next item; one without elements is over at once.
    fn start(&self, state: &mut State) {
        let place = state.next;
        state.next += 1;
        let item = &self.items[place];
        if item.length == 0 {
            return self.finished(item);
        }
        let first = Arc::new(first_state(&item.task));
        state.active.push(Active { place, pass: 0, issued: 0, running: 0, state: first });
    }

    fn finished(&self, item: &Item) {
        if matches!(item.task, Task::Job { .. }) {
            self.progress.add_job();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known before the first pass.
fn first_state(task: &Task) -> PassState {
    let Task::Job { job, program, geometry, .. } = task else {
        return PassState::default();
    };
    let mut values = vec![0.0; program.nodes().len()];
    scalar::evaluate(program, 0, &job.scalars, geometry, &mut values);
    let vectors = vec![Vec::new(); program.nodes().len()];
    let scalars = program.stages()[0].scalars.iter().map(|node| values[*node] as f32).collect();
    PassState { values, vectors, scalars }
}
