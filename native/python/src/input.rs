//! Inputs of jobs, as Python gives them, and `decode`.

use bmerge_core::blocks::{Absmax, Codec, Ggml, Groups, Kind, Levels, Packed, Words};
use bmerge_core::merge::{self as core, Coded, Encoding, Input, Place, Plain, Segment, Stored};
use bmerge_core::Dtype;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::buffer::Buffer;
use crate::dtype::parse_dtype;
use crate::errors::{to_python, ProgramError};
use crate::patched::{patched, RawPatched};
use crate::scaled::scaled;
use crate::source::{pin_source, source};

/// A coded tensor: codec, parts (source, offset), parameters.
type RawCoded<'py> = (String, Vec<(usize, u64)>, Bound<'py, PyAny>);

/// A stored tensor, or a list of segments: (stored, first element, number of elements).
pub(crate) fn input(raw: &Bound<'_, PyAny>) -> PyResult<Input> {
    if raw.is_instance_of::<PyTuple>() {
        return stored(raw).map(Input::One);
    }
    let segments = raw.try_iter()?.map(|segment| {
        let (raw, first, count): (Bound<'_, PyAny>, u64, u64) = segment?.extract()?;
        Ok(Segment { stored: stored(&raw)?, first, count })
    });
    segments.collect::<PyResult<_>>().map(Input::Segments)
}

/// Plain numbers: (source, offset, dtype); or a coded tensor, or one that `LoRA`s change.
fn stored(raw: &Bound<'_, PyAny>) -> PyResult<Stored> {
    if let Ok((source, offset, dtype)) = raw.extract::<(usize, u64, String)>() {
        return Ok(Stored::Plain(Plain { source, offset, dtype: parse_dtype(&dtype)? }));
    }
    if let Ok(raw) = raw.extract::<RawPatched>() {
        let base = input(&raw.1)?;
        return patched(raw, base).map(Stored::Patched);
    }
    let (name, parts, parameters): RawCoded = raw.extract()?;
    let codec = codec(&name, &parameters)?;
    let parts = parts.into_iter().map(|(source, offset)| Place { source, offset }).collect();
    Ok(Stored::Coded(Box::new(Coded { codec, parts })))
}

/// A codec by its name.
fn codec(name: &str, parameters: &Bound<'_, PyAny>) -> PyResult<Codec> {
    match name {
        "scaled" => scaled(parameters).map(Codec::Scaled),
        "levels" => levels(parameters).map(Codec::Levels),
        "ggml" => ggml(parameters).map(Codec::Ggml),
        "packed" => packed(parameters).map(Codec::Packed),
        _ => Err(ProgramError::new_err(format!("unknown codec {name:?}"))),
    }
}

/// The parameters of packed numbers.
type RawPacked = (u32, (u64, u64), String, i64, String, u32);

/// How an output is encoded: codec, parameters, stored rows, companions.
type RawEncoding<'py> = (String, Bound<'py, PyAny>, u64, Vec<(usize, u64)>);

/// The type of an output, or how it is encoded.
pub(crate) fn encoding(raw: &Bound<'_, PyAny>) -> PyResult<(Dtype, Option<Encoding>)> {
    if let Ok(name) = raw.extract::<String>() {
        return Ok((parse_dtype(&name)?, None));
    }
    let (name, parameters, rows, companions): RawEncoding = raw.extract()?;
    let codec = codec(&name, &parameters)?;
    Ok((Dtype::F32, Some(Encoding { codec, rows, companions })))
}

/// Elements, elements of a block, and if nested: blocks of a scale, offset.
fn levels(raw: &Bound<'_, PyAny>) -> PyResult<Levels> {
    let (elements, block, nested): (u64, u64, Option<(u64, f32)>) = raw.extract()?;
    let absmax = nested.map_or(Absmax::Plain, |(block, offset)| Absmax::Nested { block, offset });
    Ok(Levels { elements, block, absmax })
}

/// Name of the type, number of blocks.
fn ggml(raw: &Bound<'_, PyAny>) -> PyResult<Ggml> {
    let (name, blocks): (String, u64) = raw.extract()?;
    let unknown = || ProgramError::new_err(format!("unknown type {name:?} of ggml"));
    Ok(Ggml { kind: Kind::parse(&name).ok_or_else(unknown)?, blocks })
}

/// Bits, (rows, columns), which share a word, columns of a group or negative the number of listed
/// ones, dtype of scales, what is added to zeros.
fn packed(raw: &Bound<'_, PyAny>) -> PyResult<Packed> {
    let (bits, (rows, columns), words, groups, scale, zero): RawPacked = raw.extract()?;
    let words = match words.as_str() {
        "columns" => Words::Columns,
        "rows" => Words::Rows,
        _ => return Err(ProgramError::new_err(format!("words of {words:?}"))),
    };
    let groups = match groups {
        0.. => Groups::Of(groups.unsigned_abs()),
        _ => Groups::Listed(groups.unsigned_abs()),
    };
    Ok(Packed { bits, rows, columns, words, groups, scale: parse_dtype(&scale)?, zero })
}

/// The error of a job.
pub(crate) fn named(py: Python<'_>, job: usize, error: PyErr) -> PyErr {
    if error.is_instance_of::<ProgramError>(py) {
        return ProgramError::new_err(format!("job {job}: {}", error.value(py)));
    }
    error
}

/// Decode a whole input to float32.
#[pyfunction]
#[pyo3(signature = (sources, tensor, target), text_signature = "(sources, tensor, target)")]
pub(crate) fn decode(
    py: Python<'_>,
    sources: Vec<Bound<'_, PyAny>>,
    tensor: Bound<'_, PyAny>,
    target: Bound<'_, PyAny>,
) -> PyResult<()> {
    let pinned = sources.iter().map(pin_source).collect::<PyResult<Vec<_>>>()?;
    let mut buffer = Buffer::writable(&target)?;
    let input = input(&tensor)?;
    let sources: Vec<_> = pinned.iter().map(source).collect();
    let bytes = buffer.bytes_mut();
    py.detach(|| core::decode(&sources, &input, bytes)).map_err(|error| to_python(py, &error))
}
