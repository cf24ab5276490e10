//! What is written once all codes of a tensor are there: rows of zeros, scales.

use super::encoding::Encoding;
use super::request::Job;
use super::shared::Shared;
use crate::codec::blocks::encode::Companions;
use crate::error::Result;

/// Write what comes after the codes.
pub(super) fn finish(
    encoding: &Encoding,
    shared: &Shared,
    job: &Job,
    companions: &Companions,
) -> Result<()> {
    let (rows, bytes) =
        (encoding.codec.elements() / encoding.codec.unit(), encoding.codec.unit_bytes());
    let (used, zeros) = (rows * bytes, vec![0; ((encoding.rows - rows) * bytes) as usize]);
    write(shared, (job.sink, job.offset + used), &zeros)?;
    let parts = [companions.scales(), companions.tensor_scale().to_le_bytes().to_vec()];
    for (place, bytes) in encoding.companions.iter().zip(&parts) {
        write(shared, *place, bytes)?;
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
