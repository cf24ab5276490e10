//! Rotations of rows that lie in memory.

use bmerge_core::merge::{self as core, Stages};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::buffer::Buffer;
use crate::errors::to_python;

/// R - I of blocks.
#[pyfunction]
#[pyo3(signature = (stored, size, scale), text_signature = "(stored, size, scale)")]
pub(crate) fn rotations<'py>(
    py: Python<'py>,
    stored: Bound<'py, PyAny>,
    size: usize,
    scale: f64,
) -> PyResult<Bound<'py, PyBytes>> {
    let stored = numbers(&stored)?;
    let found = py.detach(|| core::rotations(&stored, size, scale));
    let bytes: Vec<u8> = found.into_iter().flat_map(f32::to_le_bytes).collect();
    Ok(PyBytes::new(py, &bytes))
}

/// Add the change of rows that go through stages of rotations.
#[pyfunction]
#[pyo3(
    signature = (values, stored, columns, turns, size, count, rescale, scale),
    text_signature = "(values, stored, columns, turns, size, count, rescale, scale)"
)]
#[allow(clippy::too_many_arguments)] // as Python calls it
pub(crate) fn turn_in_stages(
    py: Python<'_>,
    values: Bound<'_, PyAny>,
    stored: Option<Bound<'_, PyAny>>,
    columns: usize,
    turns: Bound<'_, PyAny>,
    size: usize,
    count: usize,
    rescale: Option<Bound<'_, PyAny>>,
    scale: f32,
) -> PyResult<()> {
    let mut values = Buffer::writable(&values)?;
    let stored = stored.as_ref().map(Buffer::readable).transpose()?;
    let (turns, rescale) = (numbers(&turns)?, rescale.as_ref().map(numbers).transpose()?);
    let stages = Stages { turns: &turns, size, count, rescale: rescale.as_deref(), scale };
    let (stored, values) = (stored.as_ref().map(Buffer::bytes), values.bytes_mut());
    py.detach(|| stages.add(stored, columns, values)).map_err(|error| to_python(py, &error))
}

/// What a buffer of F32 holds.
fn numbers(object: &Bound<'_, PyAny>) -> PyResult<Vec<f32>> {
    let buffer = Buffer::readable(object)?;
    let numbers = buffer.bytes().as_chunks().0.iter();
    Ok(numbers.map(|bytes| f32::from_le_bytes(*bytes)).collect())
}
