//! The header of a safetensors file: parse what others wrote, encode what we write.
//!
//! A file is an 8-byte little-endian length, that many bytes of JSON, then the tensors' bytes.
//! The JSON is untrusted: see [`parse`](parse_header) for everything that is checked.

mod encode;
mod json;
mod names;
mod parse;
mod table;
mod tensor;

pub use encode::{encode_header, metadata_json, Layout, LayoutBuilder};
pub use names::Names;
pub use parse::{parse_header, read_header};
pub use table::{Table, TensorInfo};

use std::collections::BTreeMap;

/// No header may be longer; the limit of the reference implementation.
pub const MAX_HEADER: u64 = 100_000_000;

/// A validated header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The tensors by ascending offset.
    pub tensors: Table,
    /// The `__metadata__` map.
    pub metadata: BTreeMap<String, String>,
    /// Size of the file.
    pub file_size: u64,
}
