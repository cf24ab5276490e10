//! Everything that can be wrong with a request, found before any work.

use super::encoding::Encoding;
use super::request::{Copy, Job, Request};
use super::sink::Sink;
use super::Sources;
use crate::codec::blocks::{Codec, Scaled};
use crate::dtype::{elements, Dtype};
use crate::error::{Error, Result};

/// A range of bytes in a sink: (sink, begin, end).
type Range = (usize, u64, u64);

/// Check all jobs and copies; the error names the first bad one.
pub(super) fn check(request: &Request, sources: &Sources) -> Result<()> {
    for sink in &request.sinks {
        if let Sink::File(file) = sink {
            file.check_unfinished()?;
        }
    }
    let mut written = Vec::with_capacity(request.jobs.len() + request.copies.len());
    for (index, job) in request.jobs.iter().enumerate() {
        let named = |error| name(error, "job", index);
        written.extend(check_job(request, sources, job).map_err(named)?);
    }
    for (index, copy) in request.copies.iter().enumerate() {
        let named = |error| name(error, "copy", index);
        written.push(check_copy(request, sources, copy).map_err(named)?);
    }
    check_apart(written)
}

fn name(error: Error, what: &str, index: usize) -> Error {
    match error {
        Error::Program(message) => Error::Program(format!("{what} {index}: {message}")),
        other => other,
    }
}

fn check_job(request: &Request, sources: &Sources, job: &Job) -> Result<Vec<Range>> {
    let program = request.programs.get(job.program).ok_or_else(|| {
        let message = format!("program {}; there are {}", job.program, request.programs.len());
        Error::Program(message)
    })?;
    expect("inputs", job.inputs.len(), program.inputs())?;
    expect("scalars", job.scalars.len(), program.scalars())?;
    if elements(&job.shape).is_none_or(|count| count > u64::MAX / 8) {
        return Err(Error::Program(format!("shape {:?} overflows", job.shape)));
    }
    for input in &job.inputs {
        input.check(sources, job.elements())?;
    }
    if let Some(base) = &job.base {
        base.input.check(sources, job.elements())?;
    }
    if job.wanted == Some(0) {
        return Err(Error::Program("no element of the output is wanted".to_owned()));
    }
    if let Some(encoding) = &job.encoding {
        return check_encoding(encoding, request, job);
    }
    let length = size(job.dtype, &[job.outputs()])?;
    Ok(vec![check_sink(request, job.sink, job.offset, length)?])
}

/// Check that an encoding fits its job and its sinks; what is written: (sink, first byte, end).
fn check_encoding(encoding: &Encoding, request: &Request, job: &Job) -> Result<Vec<Range>> {
    let refused = |what: &str| Error::Program(format!("encoding: {what}"));
    let sizes =
        encoding.codec.sizes().map_err(|error| Error::Program(format!("encoding: {error}")))?;
    match &encoding.codec {
        Codec::Scaled(scaled) => fitting(scaled).map_err(refused)?,
        Codec::Levels(_) => return Err(refused("levels are not chosen")),
        Codec::Packed(_) => return Err(refused("words are only read")),
        Codec::Ggml(_) => {}
    }
    if job.wanted.is_some() || encoding.codec.elements() != job.elements() {
        return Err(refused("it is for another number of elements"));
    }
    let rows = encoding.codec.elements() / encoding.codec.unit();
    if encoding.rows < rows || sizes.len() != 1 + encoding.companions.len() {
        return Err(refused("rows or companions are missing"));
    }
    let codes = encoding.rows.saturating_mul(encoding.codec.unit_bytes());
    let mut written = vec![check_sink(request, job.sink, job.offset, codes)?];
    for ((sink, offset), size) in encoding.companions.iter().zip(&sizes[1..]) {
        written.push(check_sink(request, *sink, *offset, *size)?);
    }
    Ok(written)
}

/// What numbers with scales cannot be encoded as.
fn fitting(codec: &Scaled) -> std::result::Result<(), &'static str> {
    if codec.column_factors || codec.factor.to_bits() != 1.0_f32.to_bits() {
        return Err("factors cannot be encoded");
    }
    if codec.rotation.is_some() && (codec.shares_cells() || codec.tensor_scale) {
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

fn check_copy(request: &Request, sources: &Sources, copy: &Copy) -> Result<Range> {
    check_source(sources, copy.source, copy.source_offset, copy.length)?;
    check_sink(request, copy.sink, copy.offset, copy.length)
}

fn expect(what: &str, given: usize, needed: usize) -> Result<()> {
    if given == needed {
        return Ok(());
    }
    Err(Error::Program(format!("has {given} {what}; its program takes {needed}")))
}

pub(super) fn size(dtype: Dtype, shape: &[u64]) -> Result<u64> {
    if !dtype.computable() {
        let message = format!(
            "cannot compute with {}; allowed: F16, BF16, F32, F64, F8_E4M3, F8_E5M2",
            dtype.name()
        );
        return Err(Error::Program(message));
    }
    let size = dtype.size_of(shape);
    size.ok_or_else(|| Error::Program(format!("shape {shape:?} overflows")))
}

pub(super) fn check_source(
    sources: &Sources,
    index: usize,
    offset: u64,
    length: u64,
) -> Result<()> {
    let source = sources
        .get(index)
        .ok_or_else(|| Error::Program(format!("source {index}; there are {}", sources.len())))?;
    if offset.checked_add(length).is_none_or(|end| end > source.size()) {
        let size = source.size();
        let message = format!("{length} bytes at {offset} are asked for, it has {size}");
        return Err(source.range_error(index, message));
    }
    Ok(())
}

pub(super) fn check_sink(
    request: &Request,
    index: usize,
    offset: u64,
    length: u64,
) -> Result<Range> {
    let sink = request.sinks.get(index).ok_or_else(|| {
        Error::Program(format!("sink {index}; there are {}", request.sinks.len()))
    })?;
    match offset.checked_add(length) {
        Some(end) if end <= sink.size() => Ok((index, offset, end)),
        _ => {
            let size = sink.size();
            let message = format!("{length} bytes at {offset} of sink {index}, which has {size}");
            Err(Error::Program(message))
        }
    }
}

/// No two ranges may overlap: threads write to them at the same time.
fn check_apart(mut written: Vec<Range>) -> Result<()> {
    written.retain(|range| range.1 < range.2);
    written.sort_unstable();
    for pair in written.windows(2) {
        let ((sink, _, end), (next_sink, begin, _)) = (pair[0], pair[1]);
        if sink == next_sink && begin < end {
            let message = format!("two jobs or copies write to byte {begin} of sink {sink}");
            return Err(Error::Program(message));
        }
    }
    Ok(())
}
