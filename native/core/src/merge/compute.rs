//! Runs a stage over the blocks of a part: stores, encodes, measures or collects what comes out.

use super::part::Part;
use super::rounding::{self, Rounded};
use super::shared::Shared;
use crate::codec::blocks::encode::{Companions, Encoder};
use crate::error::{Error, Result};
use crate::reduce::{Gather, Local};
use crate::vm::frame::Frame;
use crate::vm::machine::Machine;
use crate::vm::prefetch::prefetch;
use crate::vm::BLOCK;

/// Blocks between two looks at whether the run was cancelled.
const PATIENCE: usize = 32;

/// Elements that are encoded together, few enough to stay in the first-level cache.
const TOGETHER: u64 = 4 * BLOCK as u64;

/// Compute and encode all blocks of a part.
pub(super) fn store(
    shared: &Shared,
    machine: &mut Machine,
    frame: &Frame,
    part: &Part,
    target: &mut [u8],
) -> Result<()> {
    let mut finite = true;
    let fetches = part.mapped && !machine.streams();
    for (place, bytes) in target.chunks_mut(BLOCK * part.job.dtype.bytes()).enumerate() {
        if fetches {
            prefetch(frame.inputs, place * BLOCK, BLOCK);
        }
        finite &= machine.produce(frame, place * BLOCK, bytes);
        if place % PATIENCE == PATIENCE - 1 && shared.progress.cancelled() {
            return Err(Error::Cancelled);
        }
    }
    measure(shared, machine, frame, part, target)?;
    blame(shared, machine, part)?;
    if !finite && !machine.nonfinite.contains(&true) {
        shared.nonfinite(part.index, None)?;
    }
    Ok(())
}

/// Compute all of a part that is encoded: measure it, or store it; the number of bytes that are
/// written.
pub(super) fn encoded(
    shared: &Shared,
    machine: &mut Machine,
    frame: &Frame,
    part: &Part,
    (companions, values, output): (&Companions, &mut Vec<f32>, &mut Vec<u8>),
) -> Result<usize> {
    let Some(encoding) = &part.job.encoding else {
        return Ok(0);
    };
    let (codec, count) = (&encoding.codec, part.end - part.begin);
    let encoder = Encoder { codec, companions };
    let (mut finite, mut written) = (true, 0);
    if part.unit.pass.measures {
        for piece in pieces(part, BLOCK as u64) {
            results(shared, machine, frame, (part, piece), values)?;
            finite &= encoder.measure(piece.0, values);
        }
    } else {
        let (unit, bytes) = (codec.unit(), codec.unit_bytes());
        let several = unit * (TOGETHER / unit).max(1);
        written = (count / unit * bytes) as usize;
        let fill = |target: &mut [u8]| {
            let targets = target.chunks_mut((several / unit * bytes) as usize);
            for (piece, target) in pieces(part, several).zip(targets) {
                results(shared, machine, frame, (part, piece), values)?;
                finite &= encoder.encode(piece.0 / unit, values, target);
            }
            Ok(())
        };
        let begin = part.job.offset + part.begin / unit * bytes;
        let sink = &shared.request.sinks[part.job.sink];
        // SAFETY: `check` found no overlapping ranges in the sinks.
        unsafe { sink.write(begin, written, output, fill) }?;
    }
    blame(shared, machine, part)?;
    if !finite && !machine.nonfinite.contains(&true) {
        shared.nonfinite(part.index, None)?;
    }
    Ok(written)
}

/// Elements of a part, so many at a time: (begin, end).
fn pieces(part: &Part, length: u64) -> impl Iterator<Item = (u64, u64)> {
    let end = part.end;
    (part.begin..end).step_by(length as usize).map(move |begin| (begin, end.min(begin + length)))
}

/// The results of a piece of a part, before they are encoded.
fn results(
    shared: &Shared,
    machine: &mut Machine,
    frame: &Frame,
    (part, (begin, end)): (&Part, (u64, u64)),
    values: &mut Vec<f32>,
) -> Result<()> {
    values.resize((end - begin) as usize, 0.0);
    let (begin, several) = ((begin - part.begin) as usize, machine.together());
    for (offset, values) in (begin..).step_by(several).zip(values.chunks_mut(several)) {
        if part.mapped {
            prefetch(frame.inputs, offset, values.len());
        }
        machine.results_into(frame, offset, values);
    }
    if shared.progress.cancelled() {
        return Err(Error::Cancelled);
    }
    Ok(())
}

/// Tell how much of the part's changes rounding has left, in a sample of its results.
fn measure(
    shared: &Shared,
    machine: &mut Machine,
    frame: &Frame,
    part: &Part,
    stored: &[u8],
) -> Result<()> {
    let Some(base) = &part.job.base else {
        return Ok(());
    };
    let Some((begin, end)) = rounding::sampled(part.job, base, part.begin, part.end) else {
        return Ok(());
    };
    let before = rounding::before(base, shared.sources, begin, (end - begin) as usize)?;
    let bytes = part.job.dtype.bytes();
    let mut sums = Rounded::default();
    for (index, base) in before.chunks(BLOCK).enumerate() {
        let offset = (begin - part.begin) as usize + index * BLOCK;
        let exact = machine.results(frame, offset, base.len());
        rounding::add(&mut sums, base, exact, part.job.dtype, &stored[offset * bytes..]);
    }
    shared.update(|outcome| {
        outcome.0.rounded.insert((part.index, begin), sums);
    });
    Ok(())
}

/// Compute all blocks of a part's tiles and hand over what is collected of each.
pub(super) fn collect(
    shared: &Shared,
    machine: &mut Machine,
    frame: &Frame,
    part: &Part,
    gather: &Gather,
    local: &mut Local,
) -> Result<()> {
    let stopped = || shared.progress.cancelled() || shared.queue.stopped();
    let fetches = part.mapped && !machine.streams();
    for tile in part.tiles.0..part.tiles.1 {
        let (begin, end) = gather.tiling.range(tile);
        local.begin_tile(begin, end);
        let within = (begin - part.begin) as usize;
        let elements = (end - begin) as usize;
        for offset in (0..elements).step_by(BLOCK) {
            let length = BLOCK.min(elements - offset);
            if fetches {
                prefetch(frame.inputs, within + offset, length);
            }
            machine.collect(frame, local, (within, within + offset), length);
            if offset % (PATIENCE * BLOCK) == 0 && shared.progress.cancelled() {
                return Err(Error::Cancelled);
            }
        }
        if !gather.deliver(tile, local, stopped) {
            return Err(Error::Cancelled);
        }
    }
    blame(shared, machine, part)
}

/// Tell which inputs had a NaN or infinity.
fn blame(shared: &Shared, machine: &Machine, part: &Part) -> Result<()> {
    for (slot, input) in part.stage.inputs.iter().enumerate() {
        if machine.nonfinite[slot] {
            shared.nonfinite(part.index, Some(*input))?;
        }
    }
    Ok(())
}
