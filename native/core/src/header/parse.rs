//! From the bytes of a file to a validated header.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::json::{RawHeader, RawTensor};
use super::table::Table;
use super::{Header, MAX_HEADER};
use crate::dtype::Dtype;
use crate::error::{Error, Result};

/// Read and validate the header of a file.
pub fn read_header(path: &Path) -> Result<Header> {
    let io = |action| move |error| Error::io(path, action, error);
    let mut file = File::open(path).map_err(io("open file"))?;
    let metadata = file.metadata().map_err(io("read file size"))?;
    if metadata.is_dir() {
        let error = std::io::Error::from(std::io::ErrorKind::IsADirectory);
        return Err(Error::io(path, "open file", error));
    }
    let mut prefix = [0; 8];
    let length = (|| {
        check_prefix(metadata.len())?;
        file.read_exact(&mut prefix).map_err(io("read header"))?;
        header_length(prefix, metadata.len())
    })()
    .map_err(|error| error.at(path))?;
    let mut json = vec![0; length];
    file.read_exact(&mut json).map_err(io("read header"))?;
    parse_header(&json, metadata.len()).map_err(|error| error.at(path))
}

/// Validate the JSON of a header against the size of its file.
///
/// Checked: it is UTF-8 and an object from its first byte; no key is repeated at any level; every
/// dtype is known; every shape's product times the size of its dtype does not overflow and equals
/// the byte range; the ranges follow one another from the end of the header to the end of the
/// file without gap or overlap; `__metadata__` is a flat map of strings, or null.
pub fn parse_header(json: &[u8], file_size: u64) -> Result<Header> {
    if json.first() != Some(&b'{') {
        return Err(Error::header("header does not start with '{'"));
    }
    let text = std::str::from_utf8(json).map_err(|_| Error::header("header is not UTF-8"))?;
    let raw: RawHeader = serde_json::from_str(text)
        .map_err(|error| Error::header(format!("invalid header: {error}")))?;
    if let Some(problem) = raw.problem {
        return Err(problem);
    }
    let data = 8 + json.len() as u64;
    let tensors = raw.tensors.placed(data);
    check_layout(&tensors, data, file_size)?;
    Ok(Header { tensors, metadata: raw.metadata, file_size })
}

fn check_prefix(file_size: u64) -> Result<()> {
    if file_size < 8 {
        return Err(Error::header(format!(
            "file has {file_size} bytes, too few for a safetensors header"
        )));
    }
    Ok(())
}

fn header_length(prefix: [u8; 8], file_size: u64) -> Result<usize> {
    let length = u64::from_le_bytes(prefix);
    if length > MAX_HEADER {
        return Err(Error::header(format!(
            "header length {length} is over {MAX_HEADER}: not a safetensors file"
        )));
    }
    if length > file_size - 8 {
        let needed = length + 8;
        return Err(Error::header(format!(
            "file is truncated: it has {file_size} bytes and its header alone needs {needed}"
        )));
    }
    Ok(length as usize)
}

/// Check one tensor by itself, and return its type.
pub(super) fn check_tensor(name: &str, raw: &RawTensor) -> Result<Dtype> {
    let fail = |message: String| Err(Error::header(format!("tensor {name:?}: {message}")));
    let Some(dtype) = Dtype::parse(&raw.dtype) else {
        return fail(format!("unknown dtype {:?}", raw.dtype));
    };
    let Some(size) = dtype.size_of(&raw.shape) else {
        let shape = &raw.shape;
        return fail(format!("shape {shape:?} of {} has no valid size", raw.dtype));
    };
    let (begin, end) = raw.data_offsets;
    let range = match end.checked_sub(begin) {
        Some(range) if end <= u64::MAX - (8 + MAX_HEADER) => range,
        _ => return fail(format!("invalid data_offsets [{begin}, {end}]")),
    };
    if range != size {
        let shape = &raw.shape;
        return fail(format!(
            "shape {shape:?} of {} needs {size} bytes, data_offsets give {range}",
            raw.dtype
        ));
    }
    Ok(dtype)
}

/// Check that the tensors, sorted by offset, fill the file from `data` on.
fn check_layout(tensors: &Table, data: u64, file_size: u64) -> Result<()> {
    let mut position = data;
    for tensor in tensors.iter() {
        if tensor.begin != position {
            let what = if tensor.begin > position { "a gap before" } else { "an overlap at" };
            let name = tensor.name;
            return Err(Error::header(format!("data_offsets leave {what} tensor {name:?}")));
        }
        position = tensor.end;
    }
    if position > file_size {
        return Err(Error::header(format!(
            "file is truncated: it has {file_size} bytes and its header asks for {position}"
        )));
    }
    if position < file_size {
        return Err(Error::header(format!(
            "file has {file_size} bytes and its header describes only {position}"
        )));
    }
    Ok(())
}
