//! From the bytes of a file to a validated header.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::json::RawHeader;
use super::table::Table;
use super::{Header, MAX_HEADER};
use crate::error::{Error, HeaderError, Result};

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
        return Err(HeaderError::NoObject.into());
    }
    let text = std::str::from_utf8(json).map_err(|_| HeaderError::NotUtf8)?;
    let raw: RawHeader = serde_json::from_str(text)
        .map_err(|error| HeaderError::Json { reason: error.to_string() })?;
    if let Some((name, fault)) = raw.problem {
        return Err(HeaderError::Tensor { name, fault }.into());
    }
    let data = 8 + json.len() as u64;
    let tensors = raw.tensors.placed(data);
    check_layout(&tensors, data, file_size)?;
    Ok(Header { tensors, metadata: raw.metadata, file_size })
}

fn check_prefix(size: u64) -> Result<()> {
    if size < 8 {
        return Err(HeaderError::NoRoom { size }.into());
    }
    Ok(())
}

fn header_length(prefix: [u8; 8], file_size: u64) -> Result<usize> {
    let length = u64::from_le_bytes(prefix);
    if length > MAX_HEADER {
        return Err(HeaderError::NotSafetensors { length, limit: MAX_HEADER }.into());
    }
    if length > file_size - 8 {
        let (part, needed) = ("header alone needs", length + 8);
        return Err(HeaderError::Truncated { size: file_size, part, needed }.into());
    }
    Ok(length as usize)
}

/// Check that the tensors, sorted by offset, fill the file from `data` on.
fn check_layout(tensors: &Table, data: u64, file_size: u64) -> Result<()> {
    let mut position = data;
    for tensor in tensors.iter() {
        let name = || tensor.name.to_owned();
        if tensor.begin > position {
            return Err(HeaderError::Gap { name: name() }.into());
        }
        if tensor.begin < position {
            return Err(HeaderError::Overlap { name: name() }.into());
        }
        position = tensor.end;
    }
    if position > file_size {
        let (part, needed) = ("header asks for", position);
        return Err(HeaderError::Truncated { size: file_size, part, needed }.into());
    }
    if position < file_size {
        return Err(HeaderError::Surplus { size: file_size, described: position }.into());
    }
    Ok(())
}
