//! Streaming merges of safetensors checkpoints, without Python.
//!
//! The way of a merge through this crate:
//!
//! 1. [`header`] reads and validates the inputs' headers and lays out the output's.
//! 2. [`program`] turns a merge method's body, a list of nodes, into a checked program: for
//!    every pass over the inputs a list of instructions with registers.
//! 3. [`output`] creates the output beside its final name, with its space allocated.
//! 4. [`merge`] validates jobs (tensors to compute) and copies, and then runs them on all
//!    threads: ranges are read, decoded, computed block by block, encoded and written in place.
//!    Memory is a few buffers per thread, however large the tensors.
//! 5. [`output`] flushes and renames: the file is complete or not there.
//!
//! Numbers: inputs are decoded to float32, arithmetic is float32 without fusing, sums along an
//! axis are float64 in an order that depends on the shape alone, and results are rounded once,
//! to nearest even, when stored. The same arguments give the same bytes for any number of
//! threads, any memory budget and any processor.

mod codec;
pub mod dtype;
pub mod error;
pub mod header;
pub mod merge;
pub mod output;
pub mod program;
mod reduce;
mod rng;
mod sys;
mod vm;

pub use codec::blocks;
pub use dtype::Dtype;
pub use error::{Error, HeaderError, Result, TensorFault};
pub use header::{
    encode_header, metadata_json, parse_header, read_header, Header, Layout, LayoutBuilder, Names,
    Table, TensorInfo,
};
pub use output::{OutputFile, Writing};
pub use program::Program;
