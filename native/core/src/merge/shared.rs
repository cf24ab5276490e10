//! What all threads of a run see, and what becomes of it.

use std::sync::{Mutex, PoisonError};

use super::course::Course;
use super::job::{Item, Task};
use super::progress::Progress;
use super::queue::Queue;
use super::read_mode::ReadModes;
use super::report::Report;
use super::request::{OnNonFinite, Request};
use super::Sources;
use crate::error::{Error, Result};

/// The run.
pub(super) struct Shared<'a> {
    pub(super) request: &'a Request<'a>,
    pub(super) sources: &'a Sources<'a>,
    pub(super) modes: &'a ReadModes<'a>,
    pub(super) queue: &'a Queue<'a>,
    pub(super) course: &'a Course<'a>,
    pub(super) progress: &'a Progress,
    outcome: Mutex<(Report, Option<Error>)>,
}

impl<'a> Shared<'a> {
    pub(super) fn new(
        request: &'a Request,
        sources: &'a Sources,
        modes: &'a ReadModes,
        (queue, course): (&'a Queue, &'a Course),
        progress: &'a Progress,
    ) -> Self {
        let outcome = Mutex::default();
        Self { request, sources, modes, queue, course, progress, outcome }
    }

    /// Stop the run; the first error is the one that is told.
    pub(super) fn fail(&self, error: Error) {
        self.update(|outcome| {
            outcome.1.get_or_insert(error);
        });
        self.queue.stop();
    }

    /// The result, when all threads are over.
    pub(super) fn finish(self) -> Result<Report> {
        let (report, error) = self.outcome.into_inner().unwrap_or_else(PoisonError::into_inner);
        match error {
            Some(error) => Err(error),
            None if self.progress.cancelled() => Err(Error::Cancelled),
            None => Ok(report.tidy()),
        }
    }

    /// Whether no NaN or infinity was found in an item so far.
    pub(super) fn is_sound(&self, item: &Item) -> bool {
        let Task::Job { index, .. } = item.task else {
            return true;
        };
        let mut found = false;
        self.update(|outcome| found = outcome.0.nonfinite.iter().any(|row| row.0 == index));
        !found
    }

    /// Change the report or the error.
    pub(super) fn update(&self, change: impl FnOnce(&mut (Report, Option<Error>))) {
        change(&mut self.outcome.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Note a NaN or infinity, or fail because of it.
    pub(super) fn nonfinite(&self, job: usize, input: Option<usize>) -> Result<()> {
        if self.request.options.on_nonfinite == OnNonFinite::Error {
            return Err(Error::NonFinite { job, input });
        }
        self.update(|outcome| {
            outcome.0.nonfinite.insert((job, input));
        });
        Ok(())
    }
}
