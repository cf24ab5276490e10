//! Where bytes are read from, as Python gives it.

use std::path::PathBuf;

use bmerge_core::merge::Source;
use pyo3::prelude::*;

use crate::buffer::Buffer;

/// A source as Python gives it, pinned.
pub(crate) enum Pinned<'py> {
    Path(PathBuf),
    Buffer(Buffer<'py>),
}

pub(crate) fn pin_source<'py>(object: &Bound<'py, PyAny>) -> PyResult<Pinned<'py>> {
    match Buffer::readable(object) {
        Ok(buffer) => Ok(Pinned::Buffer(buffer)),
        Err(error) => object.extract().map(Pinned::Path).map_err(|_| error),
    }
}

pub(crate) fn source<'a>(input: &'a Pinned<'_>) -> Source<'a> {
    match input {
        Pinned::Path(path) => Source::Path(path.clone()),
        Pinned::Buffer(buffer) => Source::Bytes(buffer.bytes()),
    }
}
