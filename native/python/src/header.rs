//! `Header`, `read_header`, `encode_header`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bmerge_core::{Dtype, TensorInfo};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMapping, PyTuple};

use crate::errors::{to_python, HeaderError};

/// The validated header of a safetensors file.
#[pyclass(frozen, module = "bmerge._native")]
pub(crate) struct Header(bmerge_core::Header);

#[pymethods]
impl Header {
    /// (name, dtype, shape, begin, end) by ascending offset.
    #[getter]
    fn tensors<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        self.0.tensors.iter().map(|tensor| row(py, tensor)).collect()
    }

    /// The `__metadata__` map.
    #[getter]
    fn metadata(&self) -> BTreeMap<String, String> {
        self.0.metadata.clone()
    }

    /// Size of the file in bytes.
    #[getter]
    fn file_size(&self) -> u64 {
        self.0.file_size
    }

    fn __repr__(&self) -> String {
        format!("Header(tensors={}, file_size={})", self.0.tensors.len(), self.0.file_size)
    }
}

fn row<'py>(py: Python<'py>, tensor: &TensorInfo) -> PyResult<Bound<'py, PyTuple>> {
    let shape = PyTuple::new(py, &tensor.shape)?;
    let name = tensor.name.as_str();
    (name, tensor.dtype.name(), shape, tensor.begin, tensor.end).into_pyobject(py)
}

/// Read the header of a safetensors file and validate it.
#[pyfunction]
pub(crate) fn read_header(py: Python<'_>, path: PathBuf) -> PyResult<Header> {
    let header = py.detach(|| bmerge_core::read_header(&path));
    header.map(Header).map_err(|error| to_python(py, &error))
}

/// A tensor of a layout: name, dtype, shape.
type Row = (String, String, Vec<u64>);

/// A layout: header, begin of every tensor, size of the file.
type Layout<'py> = (Bound<'py, PyBytes>, Vec<u64>, u64);

/// Lay out a safetensors file whose tensors follow one another in the given order.
#[pyfunction]
pub(crate) fn encode_header<'py>(
    py: Python<'py>,
    tensors: &Bound<'py, PyAny>,
    metadata: &Bound<'py, PyMapping>,
) -> PyResult<Layout<'py>> {
    let metadata = metadata.items()?.extract::<Vec<(String, String)>>()?.into_iter().collect();
    let rows = tensors
        .try_iter()?
        .map(|row| {
            let (name, dtype, shape): Row = row?.extract()?;
            let dtype = Dtype::parse(&dtype).ok_or_else(|| {
                HeaderError::new_err(format!("tensor {name:?}: unknown dtype {dtype:?}"))
            })?;
            Ok((name, dtype, shape))
        })
        .collect::<PyResult<Vec<_>>>()?;
    let layout = bmerge_core::encode_header(&rows, &metadata);
    let layout = layout.map_err(|error| to_python(py, &error))?;
    Ok((PyBytes::new(py, &layout.header), layout.begins, layout.file_size))
}
