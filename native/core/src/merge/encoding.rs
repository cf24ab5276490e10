//! Outputs that are stored as codes with scales.

use std::sync::Arc;

use super::check::check_sink;
use super::request::{Job, Request};
use super::shared::Shared;
use crate::codec::blocks::encode::Companions;
use crate::codec::blocks::{Codec, Scaled, Scales};
use crate::dtype::Dtype;
use crate::error::{Error, Result};

/// How a job's output is encoded; its place in the sink is that of the codes.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoding {
    /// What codes and scales are: blocks of ggml, or numbers with scales in tiles, or of any cells; a
    /// scale of the whole tensor belongs to scales of `F8_E4M3` only.
    pub codec: Codec,
    /// Rows of codes, or blocks, that are stored, the last of which may be zeros.
    pub rows: u64,
    /// Where the scales begin, and the scale of the whole tensor: (sink, first byte).
    pub companions: Vec<(usize, u64)>,
}

impl Encoding {
    /// Elements of a unit of about so many: whole rows.
    pub(super) fn whole_rows(&self, elements: u64) -> u64 {
        let row = self.codec.unit();
        (elements / row).max(1) * row
    }

    /// Check that it fits its job and its sinks; what is written: (sink, first byte, end).
    pub(super) fn check(&self, request: &Request, job: &Job) -> Result<Vec<(usize, u64, u64)>> {
        let refused = |what: &str| Error::Program(format!("encoding: {what}"));
        let sizes =
            self.codec.sizes().map_err(|error| Error::Program(format!("encoding: {error}")))?;
        match &self.codec {
            Codec::Scaled(scaled) => fitting(scaled).map_err(refused)?,
            Codec::Levels(_) => return Err(refused("levels are not chosen")),
            Codec::Packed(_) => return Err(refused("words are only read")),
            Codec::Ggml(_) => {}
        }
        if job.wanted.is_some() || self.codec.elements() != job.elements() {
            return Err(refused("it is for another number of elements"));
        }
        let rows = self.codec.elements() / self.codec.unit();
        if self.rows < rows || sizes.len() != 1 + self.companions.len() {
            return Err(refused("rows or companions are missing"));
        }
        let codes = self.rows.saturating_mul(self.codec.unit_bytes());
        let mut written = vec![check_sink(request, job.sink, job.offset, codes)?];
        for ((sink, offset), size) in self.companions.iter().zip(&sizes[1..]) {
            written.push(check_sink(request, *sink, *offset, *size)?);
        }
        Ok(written)
    }

    /// What all rows share, at the beginning.
    pub(super) fn begin(&self) -> Arc<Companions> {
        let scales = self.codec.sizes().map_or(0, |sizes| sizes.get(1).copied().unwrap_or(0));
        Arc::new(Companions::new(&self.codec, scales))
    }

    /// Write what comes after the codes.
    pub(super) fn finish(&self, shared: &Shared, job: &Job, companions: &Companions) -> Result<()> {
        let (rows, bytes) = (self.codec.elements() / self.codec.unit(), self.codec.unit_bytes());
        let (used, zeros) = (rows * bytes, vec![0; ((self.rows - rows) * bytes) as usize]);
        write(shared, (job.sink, job.offset + used), &zeros)?;
        let parts = [companions.scales(), companions.tensor_scale().to_le_bytes().to_vec()];
        for (place, bytes) in self.companions.iter().zip(&parts) {
            write(shared, *place, bytes)?;
        }
        Ok(())
    }
}

/// What numbers with scales cannot be encoded as.
fn fitting(codec: &Scaled) -> std::result::Result<(), &'static str> {
    if codec.column_factors || codec.factor.to_bits() != 1.0_f32.to_bits() {
        return Err("factors cannot be encoded");
    }
    let several = matches!(codec.scales, Scales::Grid { rows, .. } if rows > 1);
    if codec.rotation.is_some() && (several || codec.tensor_scale) {
        return Err("rotated rows have scales of their own");
    }
    if codec.tensor_scale != (codec.scale == Dtype::F8_E4M3) {
        return Err("a scale of the whole tensor goes with scales of F8_E4M3");
    }
    if !(codec.columns * codec.code.bits()).is_multiple_of(8) {
        return Err("a row ends within a byte");
    }
    Ok(())
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
