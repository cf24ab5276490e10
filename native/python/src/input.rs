//! Inputs of jobs, as Python gives them, and `decode`.

use bmerge_core::merge::{self as core, Input, Plain, Segment, Stored};
use bmerge_core::Dtype;
use pyo3::prelude::*;

use crate::buffer::Buffer;
use crate::errors::{to_python, ProgramError};
use crate::merge::{pin_source, source};

/// A range of numbers: source, offset, dtype.
type RawPlain = (usize, u64, String);

/// A stored tensor, or runs of several: stored, first element, number of elements.
#[derive(FromPyObject)]
pub(crate) enum RawInput {
    One(RawPlain),
    Segments(Vec<(RawPlain, u64, u64)>),
}

impl RawInput {
    /// The input; the error says what is wrong.
    pub(crate) fn parse(self) -> Result<Input, String> {
        match self {
            Self::One(raw) => stored(raw).map(Input::One),
            Self::Segments(raw) => {
                let segments = raw
                    .into_iter()
                    .map(|(raw, first, count)| Ok(Segment { stored: stored(raw)?, first, count }));
                segments.collect::<Result<_, _>>().map(Input::Segments)
            }
        }
    }
}

fn stored((source, offset, dtype): RawPlain) -> Result<Stored, String> {
    Ok(Stored::Plain(Plain { source, offset, dtype: parse_dtype(&dtype)? }))
}

/// The type of that name.
pub(crate) fn parse_dtype(name: &str) -> Result<Dtype, String> {
    Dtype::parse(name).ok_or_else(|| format!("unknown dtype {name:?}"))
}

/// The error of a job.
pub(crate) fn named(job: usize, message: String) -> PyErr {
    ProgramError::new_err(format!("job {job}: {message}"))
}

/// Decode a whole input to float32.
#[pyfunction]
#[pyo3(signature = (sources, input, target), text_signature = "(sources, input, target)")]
pub(crate) fn decode(
    py: Python<'_>,
    sources: Vec<Bound<'_, PyAny>>,
    input: RawInput,
    target: Bound<'_, PyAny>,
) -> PyResult<()> {
    let pinned = sources.iter().map(pin_source).collect::<PyResult<Vec<_>>>()?;
    let mut buffer = Buffer::writable(&target)?;
    let input = input.parse().map_err(ProgramError::new_err)?;
    let sources: Vec<_> = pinned.iter().map(source).collect();
    let bytes = buffer.bytes_mut();
    py.detach(|| core::decode(&sources, &input, bytes)).map_err(|error| to_python(py, &error))
}
