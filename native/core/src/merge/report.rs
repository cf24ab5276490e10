//! What a run did.

use std::collections::{BTreeMap, BTreeSet};

use super::read_mode::Reading;
use super::rounding::Rounded;
use crate::output::Writing;

/// Counters and findings of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// (job, input) with a NaN or infinity; no input: finite inputs, but the output is not.
    pub nonfinite: BTreeSet<(usize, Option<usize>)>,
    /// (job, first element) → what rounding left of the changes from there on, in a sample.
    pub rounded: BTreeMap<(usize, u64), Rounded>,
    /// Bytes of inputs that were decoded, every pass counted.
    pub bytes_read: u64,
    /// Bytes of outputs that were computed and written.
    pub bytes_written: u64,
    /// Bytes that were copied unchanged.
    pub bytes_copied: u64,
    /// Which way of reading was found to be the faster, if it was tried.
    pub reading: Option<Reading>,
    /// How much one call wrote, if enough was written to find out.
    pub writing: Option<Writing>,
    /// Worker threads.
    pub threads: usize,
    /// The vector instructions, by the name that the environment calls them.
    pub vectors: &'static str,
}

impl Report {
    /// What rounding left of each job's changes; the order of arrival does not matter.
    pub fn rounded_by_job(&self) -> BTreeMap<usize, Rounded> {
        let mut jobs = BTreeMap::new();
        for ((job, _), part) in &self.rounded {
            let sums: &mut Rounded = jobs.entry(*job).or_default();
            *sums = sums.and(*part);
        }
        jobs
    }

    /// Forget outputs that are not finite because an input is not.
    pub(super) fn tidy(mut self) -> Self {
        let blamed = self.nonfinite.iter().filter(|row| row.1.is_some());
        let jobs: BTreeSet<usize> = blamed.map(|row| row.0).collect();
        self.nonfinite.retain(|row| row.1.is_some() || !jobs.contains(&row.0));
        self
    }
}
