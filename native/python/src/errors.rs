//! One Python class per kind of error of the core.

use std::path::Path;

use bmerge_core::Error;
use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

create_exception!(
    bmerge._native,
    NativeError,
    PyException,
    "Base of all errors raised by the compiled engine."
);
create_exception!(
    bmerge._native,
    HeaderError,
    NativeError,
    "A file is not valid safetensors, or a layout cannot be written as such."
);
create_exception!(
    bmerge._native,
    ProgramError,
    NativeError,
    "A program is malformed, or a job or copy does not fit its program, sources or sinks."
);
create_exception!(
    bmerge._native,
    IoError,
    NativeError,
    "The operating system refused an operation, or a source is shorter than it was."
);
create_exception!(
    bmerge._native,
    Cancelled,
    NativeError,
    "The run was cancelled through Progress.cancel."
);
create_exception!(
    bmerge._native,
    NonFiniteError,
    NativeError,
    "A NaN or infinity was met while on_nonfinite=\"error\"."
);

/// Add the classes to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add("NativeError", py.get_type::<NativeError>())?;
    module.add("HeaderError", py.get_type::<HeaderError>())?;
    module.add("ProgramError", py.get_type::<ProgramError>())?;
    module.add("IoError", py.get_type::<IoError>())?;
    module.add("Cancelled", py.get_type::<Cancelled>())?;
    module.add("NonFiniteError", py.get_type::<NonFiniteError>())
}

/// The Python exception for an error of the core.
pub(crate) fn to_python(py: Python<'_>, error: &Error) -> PyErr {
    let message = error.to_string();
    match error {
        Error::Header { .. } => HeaderError::new_err(message),
        Error::Program(_) => ProgramError::new_err(message),
        Error::Io { path, source, .. } => {
            io_error(py, message, path.as_deref(), source.raw_os_error())
        }
        Error::Range { path, .. } => io_error(py, message, path.as_deref(), None),
        Error::Cancelled => Cancelled::new_err(message),
        Error::NonFinite { job, input } => non_finite(py, message, *job, *input),
        _ => NativeError::new_err(message),
    }
}

fn io_error(py: Python<'_>, message: String, path: Option<&Path>, errno: Option<i32>) -> PyErr {
    let error = IoError::new_err(message);
    let value = error.value(py);
    let path = path.map(|path| path.to_string_lossy().into_owned());
    match value.setattr("path", path).and_then(|()| value.setattr("errno", errno)) {
        Ok(()) => error,
        Err(failure) => failure,
    }
}

fn non_finite(py: Python<'_>, message: String, job: usize, input: Option<usize>) -> PyErr {
    let error = NonFiniteError::new_err(message);
    let value = error.value(py);
    match value.setattr("job", job).and_then(|()| value.setattr("input", signed(input))) {
        Ok(()) => error,
        Err(failure) => failure,
    }
}

/// The number of an input; -1 is the output.
pub(crate) fn signed(input: Option<usize>) -> i64 {
    input.map_or(-1, |input| input as i64)
}
