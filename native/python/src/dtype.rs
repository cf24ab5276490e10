//! Types of numbers, as Python names them.

use bmerge_core::Dtype;
use pyo3::prelude::*;

use crate::errors::ProgramError;

/// The type of that name.
pub(crate) fn parse_dtype(name: &str) -> PyResult<Dtype> {
    Dtype::parse(name).ok_or_else(|| ProgramError::new_err(format!("unknown dtype {name:?}")))
}
