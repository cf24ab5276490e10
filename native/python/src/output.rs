//! `OutputFile`.

use std::ffi::OsString;
use std::path::PathBuf;

use pyo3::prelude::*;

use crate::buffer::Buffer;
use crate::errors::to_python;

/// A file of known size that appears under its name complete or not at all.
#[pyclass(frozen, module = "bmerge._native")]
pub(crate) struct OutputFile(pub(crate) bmerge_core::OutputFile);

#[pymethods]
impl OutputFile {
    #[new]
    #[pyo3(signature = (path, size, *, flushing = false))]
    fn new(py: Python<'_>, path: PathBuf, size: u64, flushing: bool) -> PyResult<Self> {
        let file = py.detach(|| bmerge_core::OutputFile::create(&path, size));
        file.map(|file| Self(file.flushing(flushing))).map_err(|error| to_python(py, &error))
    }

    /// Make a file that is there the temporary of another target in its folder.
    #[staticmethod]
    fn rewrite(py: Python<'_>, existing: PathBuf, path: PathBuf) -> PyResult<Self> {
        let file = py.detach(|| bmerge_core::OutputFile::rewrite(&existing, &path));
        file.map(Self).map_err(|error| to_python(py, &error))
    }

    /// The target's path.
    #[getter]
    fn path(&self) -> OsString {
        self.0.target().into()
    }

    /// The temporary's path.
    #[getter]
    fn temporary_path(&self) -> OsString {
        self.0.temporary().into()
    }

    /// Size in bytes.
    #[getter]
    fn size(&self) -> u64 {
        self.0.size()
    }

    /// Write bytes at a position within the file.
    fn write_at(&self, py: Python<'_>, offset: u64, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let buffer = Buffer::readable(data)?;
        let result = py.detach(|| self.0.write_at(offset, buffer.bytes()));
        result.map_err(|error| to_python(py, &error))
    }

    /// Rename the temporary over the target; with `sync`, flush file and folder to disk.
    #[pyo3(signature = (sync = true))]
    fn commit(&self, py: Python<'_>, sync: bool) -> PyResult<()> {
        let result = py.detach(|| self.0.commit(sync));
        result.map_err(|error| to_python(py, &error))
    }

    /// Remove the temporary; does nothing when finished already.
    fn discard(&self, py: Python<'_>) {
        py.detach(|| self.0.discard());
    }

    fn __repr__(&self) -> String {
        format!("OutputFile({:?}, {})", self.0.target().to_string_lossy(), self.0.size())
    }
}
