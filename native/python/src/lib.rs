//! The module `bmerge._native`: checks and converts arguments, releases the GIL, calls
//! `bmerge-core`. What everything means is documented in `engine/bmerge/_native.pyi`.

// Arguments are converted from Python objects, so functions own them.
#![allow(clippy::needless_pass_by_value)]

mod buffer;
mod dtype;
mod errors;
mod header;
mod input;
mod merge;
mod output;
mod patched;
mod program;
mod progress;
mod scaled;
mod source;
mod stages;

use pyo3::prelude::*;

/// Build the module.
#[pymodule(gil_used = true)]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    errors::register(module)?;
    module.add_class::<header::Header>()?;
    module.add_class::<header::Layout>()?;
    module.add_class::<program::Program>()?;
    module.add_class::<progress::Progress>()?;
    module.add_class::<output::OutputFile>()?;
    module.add_class::<merge::Maps>()?;
    module.add_class::<merge::Findings>()?;
    module.add_class::<merge::Report>()?;
    module.add_function(wrap_pyfunction!(header::read_header, module)?)?;
    module.add_function(wrap_pyfunction!(header::encode_header, module)?)?;
    module.add_function(wrap_pyfunction!(merge::merge, module)?)?;
    module.add_function(wrap_pyfunction!(input::decode, module)?)?;
    module.add_function(wrap_pyfunction!(stages::rotations, module)?)?;
    module.add_function(wrap_pyfunction!(stages::turn_in_stages, module)?)?;
    Ok(())
}
