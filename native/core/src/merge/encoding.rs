//! Outputs that are stored as codes with scales.

use std::sync::Arc;

use super::check::check_sink;
use super::request::{Job, Request};
use super::shared::Shared;
use crate::codec::blocks::encode::Companions;
use crate::codec::blocks::Scaled;
use crate::error::{Error, Result};

/// How a job's output is encoded; its place in the sink is that of the codes.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoding {
    /// What codes and scales are. Scales are in tiles, or of any cells; a scale of the whole tensor
    /// belongs to scales of `F8_E4M3` only.
    pub codec: Scaled,
    /// Rows of codes that are stored, the last of which may be zeros.
    pub rows: u64,
    /// Where the scales begin, and the scale of the whole tensor: (sink, first byte).
    pub companions: Vec<(usize, u64)>,
}

impl Encoding {
    /// Bytes of a stored row.
    pub(super) fn row_bytes(&self) -> u64 {
        self.codec.stride * self.codec.code.bits() / 8
    }

    /// Elements of a unit of about so many: whole rows.
    pub(super) fn whole_rows(&self, elements: u64) -> u64 {
        let columns = self.codec.columns.max(1);
        (elements / columns).max(1) * columns
    }

    /// Whether values are computed once before they are encoded.
    pub(super) fn is_measured(&self) -> bool {
        self.codec.is_measured()
    }

    /// Check that it fits its job and its sinks; what is written: (sink, first byte, end).
    pub(super) fn check(&self, request: &Request, job: &Job) -> Result<Vec<(usize, u64, u64)>> {
        let refuse = |what: &str| Err(Error::Program(format!("encoding: {what}")));
        let codec = &self.codec;
        let sizes = codec.sizes().map_err(|error| Error::Program(format!("encoding: {error}")))?;
        if codec.column_factors || codec.factor.to_bits() != 1.0_f32.to_bits() {
            return refuse("factors cannot be encoded");
        }
        if codec.rotation.is_some() && codec.is_measured() {
            return refuse("rotated rows have scales of their own");
        }
        if codec.tensor_scale != (codec.scale == crate::Dtype::F8_E4M3) {
            return refuse("a scale of the whole tensor goes with scales of F8_E4M3");
        }
        if job.wanted.is_some() || codec.rows.checked_mul(codec.columns) != Some(job.elements()) {
            return refuse("it is for another number of elements");
        }
        if self.rows < codec.rows || sizes.len() != 1 + self.companions.len() {
            return refuse("rows or companions are missing");
        }
        if !(codec.columns * codec.code.bits()).is_multiple_of(8) {
            return refuse("a row ends within a byte");
        }
        let codes = self.rows.saturating_mul(self.row_bytes());
        let mut written = vec![check_sink(request, job.sink, job.offset, codes)?];
        for ((sink, offset), size) in self.companions.iter().zip(&sizes[1..]) {
            written.push(check_sink(request, *sink, *offset, *size)?);
        }
        Ok(written)
    }

    /// What all rows share, at the beginning.
    pub(super) fn begin(&self) -> Arc<Companions> {
        let scales = self.codec.sizes().map_or(0, |sizes| sizes[1]);
        Arc::new(Companions::new(&self.codec, scales))
    }

    /// Write what comes after the codes.
    pub(super) fn finish(&self, shared: &Shared, job: &Job, companions: &Companions) -> Result<()> {
        let used = self.codec.rows * self.row_bytes();
        let zeros = vec![0; ((self.rows - self.codec.rows) * self.row_bytes()) as usize];
        write(shared, (job.sink, job.offset + used), &zeros)?;
        let parts = [companions.scales(), companions.tensor_scale().to_le_bytes().to_vec()];
        for (place, bytes) in self.companions.iter().zip(&parts) {
            write(shared, *place, bytes)?;
        }
        Ok(())
    }
}

fn write(shared: &Shared, (sink, offset): (usize, u64), bytes: &[u8]) -> Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    let fill = |target: &mut [u8]| {
        target.copy_from_slice(bytes);
        Ok(())
    };
    let sink = &shared.request.sinks[sink];
    // SAFETY: `check` found no overlapping ranges in the sinks.
    unsafe { sink.write(offset, bytes.len(), &mut Vec::new(), fill) }?;
    shared.update(|outcome| outcome.0.bytes_written += bytes.len() as u64);
    Ok(())
}
