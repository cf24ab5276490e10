//! `Program`.

use pyo3::prelude::*;

use crate::errors::to_python;

/// The body of a merge method, validated once.
#[pyclass(frozen, module = "bmerge._native")]
pub(crate) struct Program(pub(crate) bmerge_core::Program);

#[pymethods]
impl Program {
    #[new]
    fn new(
        py: Python<'_>,
        nodes: Vec<bmerge_core::program::RawNode>,
        output: usize,
    ) -> PyResult<Self> {
        let program = bmerge_core::Program::new(&nodes, output);
        program.map(Self).map_err(|error| to_python(py, &error))
    }

    /// How often the inputs are streamed.
    #[getter]
    fn passes(&self) -> usize {
        self.0.passes()
    }

    /// Number of inputs a job must give.
    #[getter]
    fn inputs(&self) -> usize {
        self.0.inputs()
    }

    /// Number of scalars a job must give.
    #[getter]
    fn scalars(&self) -> usize {
        self.0.scalars()
    }

    fn __repr__(&self) -> String {
        let (nodes, passes) = (self.0.nodes().len(), self.0.passes());
        format!("Program(nodes={nodes}, inputs={}, passes={passes})", self.0.inputs())
    }
}
