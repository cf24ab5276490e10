//! Which thread does what next.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::course::Course;
use super::job::{Item, Task};
use super::pass::Pass;
use super::progress::Progress;

/// A piece of work for one thread.
#[derive(Debug)]
pub(super) struct Unit<'a> {
    /// Place of its item in the queue.
    pub(super) place: usize,
    pub(super) item: Item<'a>,
    pub(super) pass: Arc<Pass>,
    /// Number within the pass.
    pub(super) index: u64,
    /// First element or byte.
    pub(super) begin: u64,
    /// One past the last.
    pub(super) end: u64,
}

/// An item that has been started and is not over.
#[derive(Debug)]
struct Active {
    place: usize,
    pass: Arc<Pass>,
    /// Units handed out in this pass.
    issued: u64,
    /// Units handed out and not over.
    running: u64,
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
    course: &'a Course<'a>,
    progress: &'a Progress,
    state: Mutex<State>,
    changed: Condvar,
}

impl<'a> Queue<'a> {
    pub(super) fn new(
        items: Vec<Item<'a>>,
        course: &'a Course<'a>,
        progress: &'a Progress,
    ) -> Self {
        Self { items, course, progress, state: Mutex::default(), changed: Condvar::new() }
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

    /// Note that a unit is over; true if its pass is, and the caller is to go on with
    /// [`Queue::advance`].
    pub(super) fn complete(&self, unit: &Unit) -> bool {
        let mut state = self.lock();
        let active = state.active.iter_mut().find(|active| active.place == unit.place);
        active.is_some_and(|active| {
            active.running -= 1;
            active.running == 0 && active.issued == active.pass.units
        })
    }

    /// Go on with the next pass of an item, or end it.
    pub(super) fn advance(&self, unit: &Unit, next: Option<Pass>) {
        let mut state = self.lock();
        if let Some(next) = next {
            let active = state.active.iter_mut().find(|active| active.place == unit.place);
            if let Some(active) = active {
                active.pass = Arc::new(next);
                active.issued = 0;
            }
        } else {
            state.active.retain(|active| active.place != unit.place);
            self.finished(&unit.item);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Whether no more units are handed out.
    pub(super) fn stopped(&self) -> bool {
        self.lock().stopped
    }

    /// A unit of an item that has been started, the earliest first.
    fn issue(&self, state: &mut State) -> Option<Unit<'a>> {
        let mut active = state.active.iter_mut();
        let active = active.find(|active| active.issued < active.pass.units)?;
        let item = self.items[active.place];
        let index = active.pass.turn(active.issued);
        active.issued += 1;
        active.running += 1;
        let pass = Arc::clone(&active.pass);
        let (begin, end) = pass.range(&item, index);
        Some(Unit { place: active.place, item, pass, index, begin, end })
    }

    /// Start the next item; one without elements is over at once.
    fn start(&self, state: &mut State) {
        let place = state.next;
        state.next += 1;
        let item = &self.items[place];
        if item.length == 0 {
            return self.finished(item);
        }
        let pass = Arc::new(self.course.first(item));
        state.active.push(Active { place, pass, issued: 0, running: 0 });
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
