//! A handle to watch and to cancel a run from other threads.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Counters of a run; each is exact, together they may be of slightly different moments.
#[derive(Debug, Default)]
pub struct Progress {
    done: AtomicU64,
    total: AtomicU64,
    jobs: AtomicU64,
    cancelled: AtomicBool,
}

impl Progress {
    /// A handle that has seen nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Input bytes processed, every pass counted, and bytes copied.
    pub fn bytes_done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// What [`Progress::bytes_done`] will be at the end; 0 until the run has been validated.
    pub fn bytes_total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Jobs whose output has been written.
    pub fn jobs_done(&self) -> u64 {
        self.jobs.load(Ordering::Relaxed)
    }

    /// Whether [`Progress::cancel`] was called.
    pub fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Make the run end with [`Error::Cancelled`](crate::Error::Cancelled) soon.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    pub(super) fn begin(&self, total: u64) {
        self.total.store(total, Ordering::Relaxed);
    }

    pub(super) fn add_bytes(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn add_job(&self) {
        self.jobs.fetch_add(1, Ordering::Relaxed);
    }
}
