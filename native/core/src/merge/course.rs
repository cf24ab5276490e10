//! Which pass of an item runs next: those whose findings are known are left out.

use super::findings::Recollection;
use super::job::{bytes_of, Item, Task};
use super::pass::Pass;
use super::progress::Progress;
use crate::reduce::Found;

/// The order of passes in one run.
#[derive(Debug)]
pub(super) struct Course<'a> {
    recollection: Option<Recollection<'a>>,
    progress: &'a Progress,
}

impl<'a> Course<'a> {
    pub(super) fn new(recollection: Option<Recollection<'a>>, progress: &'a Progress) -> Self {
        Self { recollection, progress }
    }

    /// The first pass of an item.
    pub(super) fn first(&self, item: &Item) -> Pass {
        self.unknown(item, Pass::first(item))
    }

    /// The pass after one whose units are all over; `None` if it was the last. `sound` says that all
    /// inputs were finite.
    pub(super) fn next(&self, item: &Item, pass: &Pass, sound: bool) -> Option<Pass> {
        let Some(found) = pass.found(item) else {
            return pass.beyond(item);
        };
        if let Some(recollection) = self.recollection.as_ref().filter(|_| sound) {
            recollection.keep(item, pass, &found);
        }
        Some(self.unknown(item, pass.after(item, &found)))
    }

    /// This pass, or the first after it that must run.
    fn unknown(&self, item: &Item, mut pass: Pass) -> Pass {
        while let Some(found) = self.known(item, &pass) {
            self.count(item, &pass);
            pass = pass.after(item, &found);
        }
        pass
    }

    fn known(&self, item: &Item, pass: &Pass) -> Option<Vec<Found>> {
        self.recollection.as_ref()?.recall(item, pass)
    }

    /// Count a pass that does not run as done.
    fn count(&self, item: &Item, pass: &Pass) {
        if let Task::Job { job, program, .. } = item.task {
            if pass.counts() {
                self.progress.add_bytes(bytes_of(&program.stages()[pass.number], job));
            }
        }
    }
}
