//! `Progress`.

use std::sync::Arc;

use pyo3::prelude::*;

/// A handle to watch and to cancel one merge from other threads.
#[pyclass(frozen, module = "bmerge._native")]
pub(crate) struct Progress(pub(crate) Arc<bmerge_core::merge::Progress>);

#[pymethods]
impl Progress {
    #[new]
    fn new() -> Self {
        Self(Arc::default())
    }

    /// Input bytes processed so far, every pass counted, and bytes copied.
    #[getter]
    fn bytes_done(&self) -> u64 {
        self.0.bytes_done()
    }

    /// What `bytes_done` will be at the end.
    #[getter]
    fn bytes_total(&self) -> u64 {
        self.0.bytes_total()
    }

    /// Jobs whose output has been written completely.
    #[getter]
    fn jobs_done(&self) -> u64 {
        self.0.jobs_done()
    }

    /// Whether `cancel` was called.
    #[getter]
    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }

    /// Make the run raise `Cancelled` within 100 ms.
    fn cancel(&self) {
        self.0.cancel();
    }
}
