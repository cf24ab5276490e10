//! What can be wrong with the header of a file, so that a caller can tell one fault from another.

use thiserror::Error;

/// A fault of a header that is read, or of a layout that is to be written as one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// The file has no room for the length of a header.
    #[error("file has {size} bytes, too few for a safetensors header")]
    NoRoom {
        /// Bytes of the file.
        size: u64,
    },
    /// The first eight bytes give a length that no header has: the file is of another kind.
    #[error("header length {length} is over {limit}: not a safetensors file")]
    NotSafetensors {
        /// The length that they give.
        length: u64,
        /// The greatest that is allowed.
        limit: u64,
    },
    /// The header does not begin as an object.
    #[error("header does not start with '{{'")]
    NoObject,
    /// Its bytes are not text.
    #[error("header is not UTF-8")]
    NotUtf8,
    /// It is not JSON of the form that a header has.
    #[error("invalid header: {reason}")]
    Json {
        /// What the JSON reader says, with line and column.
        reason: String,
    },
    /// One tensor's entry makes no sense.
    #[error("tensor {name:?}: {fault}")]
    Tensor {
        /// Its name.
        name: String,
        /// What is wrong with it.
        fault: TensorFault,
    },
    /// Bytes before a tensor belong to none.
    #[error("data_offsets leave a gap before tensor {name:?}")]
    Gap {
        /// The tensor.
        name: String,
    },
    /// A tensor begins within the one before it.
    #[error("data_offsets leave an overlap at tensor {name:?}")]
    Overlap {
        /// The tensor.
        name: String,
    },
    /// The file ends before its header or its tensors do.
    #[error("file is truncated: it has {size} bytes and its {part} {needed}")]
    Truncated {
        /// Bytes of the file.
        size: u64,
        /// What needs more, and the verb.
        part: &'static str,
        /// Bytes that the file would need.
        needed: u64,
    },
    /// The file goes on behind its last tensor.
    #[error("file has {size} bytes and its header describes only {described}")]
    Surplus {
        /// Bytes of the file.
        size: u64,
        /// Bytes of header and tensors.
        described: u64,
    },
    /// A layout to be written has a name twice.
    #[error("duplicate tensor name {name:?}")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A layout to be written has the name that headers keep for metadata.
    #[error("no tensor can be named \"__metadata__\"")]
    Reserved,
    /// A layout to be written has a header longer than readers allow, or more bytes than a number
    /// holds.
    #[error("{what}")]
    TooLarge {
        /// What is too large.
        what: String,
    },
}

/// What is wrong with the entry of one tensor.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TensorFault {
    /// No dtype has this name.
    #[error("unknown dtype {dtype:?}")]
    Dtype {
        /// The name.
        dtype: String,
    },
    /// The shape has no size that a number of bytes can hold.
    #[error("shape {shape:?}{} has no valid size", of(dtype))]
    Size {
        /// The shape.
        shape: Vec<u64>,
        /// The dtype's name; empty where a layout is written.
        dtype: String,
    },
    /// The offsets are none of a range.
    #[error("invalid data_offsets [{begin}, {end}]")]
    Offsets {
        /// Where it begins.
        begin: u64,
        /// Where it ends.
        end: u64,
    },
    /// The range has another length than the shape needs.
    #[error("shape {shape:?} of {dtype} needs {needed} bytes, data_offsets give {given}")]
    Range {
        /// The shape.
        shape: Vec<u64>,
        /// The dtype's name.
        dtype: String,
        /// Bytes that they need.
        needed: u64,
        /// Bytes of the range.
        given: u64,
    },
}

fn of(dtype: &str) -> String {
    if dtype.is_empty() {
        String::new()
    } else {
        format!(" of {dtype}")
    }
}
