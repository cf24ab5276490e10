//! `Header`, `read_header`, `Layout`, `encode_header`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

use bmerge_core::{Dtype, LayoutBuilder, TensorInfo};
use pyo3::exceptions::{PyIndexError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyMapping, PyTuple};

use crate::errors::{to_python, HeaderError};
use crate::output::OutputFile;

/// The validated header of a safetensors file.
#[pyclass(frozen, module = "bmerge._native")]
pub(crate) struct Header {
    header: bmerge_core::Header,
    /// The shapes that differ, each one object for all tensors that have it.
    shapes: Vec<PyOnceLock<Py<PyTuple>>>,
}

/// dtype, shape, first byte, number of bytes.
type Place<'py> = (&'static str, Bound<'py, PyTuple>, u64, u64);

#[pymethods]
impl Header {
    /// (name, dtype, shape, begin, end) by ascending offset.
    #[getter]
    fn tensors<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        let row = |(index, tensor): (usize, TensorInfo<'_>)| {
            let shape = self.shape(py, index, &tensor)?;
            (tensor.name, tensor.dtype.name(), shape, tensor.begin, tensor.end).into_pyobject(py)
        };
        self.header.tensors.iter().enumerate().map(row).collect()
    }

    /// How many tensors there are.
    fn __len__(&self) -> usize {
        self.header.tensors.len()
    }

    /// The name of a tensor, by ascending offset.
    fn name(&self, index: usize) -> PyResult<&str> {
        let missing = || PyIndexError::new_err("there is no such tensor");
        let tensors = &self.header.tensors;
        (index < tensors.len()).then(|| tensors.get(index).name).ok_or_else(missing)
    }

    /// (dtype, shape, begin, size) of the tensor of a name, or None.
    fn find<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Option<Place<'py>>> {
        self.header.tensors.find(name).map(|index| self.place(py, index)).transpose()
    }

    /// The name of a tensor, and what `find` returns for it.
    fn at<'py>(&self, py: Python<'py>, index: usize) -> PyResult<(&str, Place<'py>)> {
        Ok((self.name(index)?, self.place(py, index)?))
    }

    /// Whether another header has the same names, in the same order or another.
    fn names_equal(&self, other: &Self) -> bool {
        let (ours, theirs) = (&self.header.tensors, &other.header.tensors);
        ours.len() == theirs.len()
            && (ours.same_names(theirs) || ours.iter().all(|t| theirs.find(t.name).is_some()))
    }

    /// The dtypes that tensors have, each once.
    #[getter]
    fn dtypes(&self) -> Vec<&'static str> {
        let mut found = Vec::new();
        for tensor in self.header.tensors.iter() {
            if !found.contains(&tensor.dtype.name()) {
                found.push(tensor.dtype.name());
            }
        }
        found
    }

    /// Whether there is a tensor of a name.
    fn __contains__(&self, name: &str) -> bool {
        self.header.tensors.find(name).is_some()
    }

    /// The `__metadata__` map.
    #[getter]
    fn metadata(&self) -> BTreeMap<String, String> {
        self.header.metadata.clone()
    }

    /// Size of the file in bytes.
    #[getter]
    fn file_size(&self) -> u64 {
        self.header.file_size
    }

    fn __repr__(&self) -> String {
        let bmerge_core::Header { tensors, file_size, .. } = &self.header;
        format!("Header(tensors={}, file_size={file_size})", tensors.len())
    }
}

impl Header {
    fn place<'py>(&self, py: Python<'py>, index: usize) -> PyResult<Place<'py>> {
        let tensor = self.header.tensors.get(index);
        let shape = self.shape(py, index, &tensor)?;
        Ok((tensor.dtype.name(), shape, tensor.begin, tensor.end - tensor.begin))
    }

    fn shape<'py>(
        &self,
        py: Python<'py>,
        index: usize,
        tensor: &TensorInfo<'_>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let (number, _) = self.header.tensors.shape_number(index);
        let made = || PyTuple::new(py, tensor.shape).map(Bound::unbind);
        self.shapes[number].get_or_try_init(py, made).map(|shape| shape.bind(py).clone())
    }
}

/// Read the header of a safetensors file and validate it.
#[pyfunction]
pub(crate) fn read_header(py: Python<'_>, path: PathBuf) -> PyResult<Header> {
    let header = py.detach(|| bmerge_core::read_header(&path));
    let header = header.map_err(|error| to_python(py, &error))?;
    let count = header.tensors.is_empty().then_some(0);
    let count = count.unwrap_or_else(|| header.tensors.shape_number(0).1);
    let shapes = (0..count).map(|_| PyOnceLock::new()).collect();
    Ok(Header { header, shapes })
}

/// A tensor of a layout: name, dtype, shape.
type Row = (String, String, Vec<u64>);

/// Where everything goes in a safetensors file that is to be written.
#[pyclass(frozen, module = "bmerge._native")]
pub(crate) struct Layout {
    header: Mutex<Vec<u8>>,
    begins: Vec<u64>,
    names: bmerge_core::Names,
    #[pyo3(get)]
    size: u64,
}

#[pymethods]
impl Layout {
    /// First byte of every tensor, in the given order.
    #[getter]
    fn offsets(&self) -> Vec<u64> {
        self.begins.clone()
    }

    /// How many tensors there are.
    fn __len__(&self) -> usize {
        self.names.len()
    }

    /// The name of a tensor, in the given order.
    fn name(&self, index: usize) -> PyResult<&str> {
        let missing = || PyIndexError::new_err("there is no such tensor");
        (index < self.names.len()).then(|| self.names.get(index)).ok_or_else(missing)
    }

    /// First byte of the tensor of a name.
    fn offset_of(&self, name: &str) -> PyResult<u64> {
        let missing = || pyo3::exceptions::PyKeyError::new_err(name.to_owned());
        self.names.find(name).map(|index| self.begins[index]).ok_or_else(missing)
    }

    /// The header.
    #[getter]
    fn header<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.lock()?))
    }

    /// Write the header into a file, and keep no more of it than where tensors lie.
    fn begin(&self, py: Python<'_>, file: &OutputFile) -> PyResult<()> {
        let header = std::mem::take(&mut *self.lock()?);
        let result = py.detach(|| file.0.write_at(0, &header));
        result.map_err(|error| to_python(py, &error))
    }

    /// Write other metadata of the same length over that of the header.
    #[allow(clippy::unused_self)] // of a header that `begin` has written
    fn rewrite(
        &self,
        py: Python<'_>,
        file: &OutputFile,
        before: &Bound<'_, PyMapping>,
        metadata: &Bound<'_, PyMapping>,
    ) -> PyResult<()> {
        let json = |map| metadata_json(py, map);
        let (old, new) = (json(before)?, json(metadata)?);
        if old.len() != new.len() {
            return Err(PyValueError::new_err("the metadata has another length"));
        }
        let result = py.detach(|| file.0.write_at(8, new.as_bytes()));
        result.map_err(|error| to_python(py, &error))
    }
}

impl Layout {
    fn lock(&self) -> PyResult<std::sync::MutexGuard<'_, Vec<u8>>> {
        self.header.lock().map_err(|_| PyValueError::new_err("a thread panicked"))
    }
}

fn pairs(metadata: &Bound<'_, PyMapping>) -> PyResult<BTreeMap<String, String>> {
    Ok(metadata.items()?.extract::<Vec<(String, String)>>()?.into_iter().collect())
}

fn metadata_json(py: Python<'_>, metadata: &Bound<'_, PyMapping>) -> PyResult<String> {
    let json = bmerge_core::metadata_json(&pairs(metadata)?);
    json.map_err(|error| to_python(py, &error))
}

/// Lay out a safetensors file whose tensors follow one another in the given order.
#[pyfunction]
#[pyo3(signature = (tensors, metadata, room = 0))]
pub(crate) fn encode_header(
    py: Python<'_>,
    tensors: &Bound<'_, PyAny>,
    metadata: &Bound<'_, PyMapping>,
    room: usize,
) -> PyResult<Layout> {
    let failed = |error| to_python(py, &error);
    let mut layout = LayoutBuilder::new(&pairs(metadata)?).map_err(failed)?.with_room(room);
    for row in tensors.try_iter()? {
        let (name, dtype, shape): Row = row?.extract()?;
        let dtype = Dtype::parse(&dtype).ok_or_else(|| {
            HeaderError::new_err(format!("tensor {name:?}: unknown dtype {dtype:?}"))
        })?;
        layout.add(&name, dtype, &shape).map_err(failed)?;
    }
    let bmerge_core::Layout { header, begins, names, file_size } =
        layout.finish().map_err(failed)?;
    Ok(Layout { header: Mutex::new(header), begins, names, size: file_size })
}
