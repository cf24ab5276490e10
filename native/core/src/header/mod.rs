//! The header of a safetensors file: parse what others wrote, encode what we write.
//!
//! A file is an 8-byte little-endian length, that many bytes of JSON, then the tensors' bytes.
//! The JSON is untrusted: see [`parse`](parse_header) for everything that is checked.

mod encode;
mod json;
mod parse;

pub use encode::{encode_header, Layout};
pub use parse::{parse_header, read_header};

use std::collections::BTreeMap;

use crate::dtype::Dtype;

/// No header may be longer; the limit of the reference implementation.
pub const MAX_HEADER: u64 = 100_000_000;

/// One tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Key of the state dict.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Sizes, outermost first.
    pub shape: Vec<u64>,
    /// First byte, from the start of the file.
    pub begin: u64,
    /// One past the last byte.
    pub end: u64,
}

/// A validated header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The tensors by ascending offset.
    pub tensors: Vec<TensorInfo>,
    /// The `__metadata__` map.
    pub metadata: BTreeMap<String, String>,
    /// Size of the file.
    pub file_size: u64,
}
