//! From a list of tensors to the bytes of a header and the place of each tensor.

use std::collections::{BTreeMap, HashSet};

use super::MAX_HEADER;
use crate::dtype::Dtype;
use crate::error::{Error, Result};

/// Where everything goes in a file that is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The first bytes of the file: length, JSON, spaces up to a multiple of 8.
    pub header: Vec<u8>,
    /// First byte of every tensor, from the start of the file, in the given order.
    pub begins: Vec<u64>,
    /// Size of the file.
    pub file_size: u64,
}

/// Lay out a file whose tensors follow one another in the given order.
///
/// The same arguments give the same bytes. Empty metadata is left out.
pub fn encode_header<N: AsRef<str>, S: AsRef<[u64]>>(
    tensors: &[(N, Dtype, S)],
    metadata: &BTreeMap<String, String>,
) -> Result<Layout> {
    check_names(tensors.iter().map(|tensor| tensor.0.as_ref()))?;
    let mut json = String::from("{");
    if !metadata.is_empty() {
        json += "\"__metadata__\":";
        json += &to_json(metadata)?;
        json += if tensors.is_empty() { "" } else { "," };
    }
    let mut ends = Vec::with_capacity(tensors.len());
    let mut position = 0_u64;
    for (index, (name, dtype, shape)) in tensors.iter().enumerate() {
        let (name, shape) = (name.as_ref(), shape.as_ref());
        let end = dtype.size_of(shape).and_then(|size| position.checked_add(size));
        let end = end.ok_or_else(|| {
            Error::header(format!("tensor {name:?}: shape {shape:?} has no valid size"))
        })?;
        json += if index == 0 { "" } else { "," };
        json += &to_json(name)?;
        json += ":{\"dtype\":\"";
        json += dtype.name();
        json += "\",\"shape\":";
        json += &to_json(shape)?;
        json += ",\"data_offsets\":";
        json += &to_json(&[position, end])?;
        json += "}";
        ends.push(end);
        position = end;
    }
    json += "}";
    finish(&json, &ends)
}

fn check_names<'a>(names: impl Iterator<Item = &'a str>) -> Result<()> {
    let mut seen = HashSet::new();
    for name in names {
        if name == "__metadata__" {
            return Err(Error::header("no tensor can be named \"__metadata__\""));
        }
        if !seen.insert(name) {
            return Err(Error::header(format!("duplicate tensor name {name:?}")));
        }
    }
    Ok(())
}

fn to_json<T: serde::Serialize + ?Sized>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::header(error.to_string()))
}

/// Pad the JSON and turn relative ends into absolute begins.
fn finish(json: &str, ends: &[u64]) -> Result<Layout> {
    let padded = json.len().next_multiple_of(8);
    if padded as u64 > MAX_HEADER {
        return Err(Error::header(format!("header of {padded} bytes is over {MAX_HEADER}")));
    }
    let mut header = Vec::with_capacity(8 + padded);
    header.extend_from_slice(&(padded as u64).to_le_bytes());
    header.extend_from_slice(json.as_bytes());
    header.resize(8 + padded, b' ');
    let data = header.len() as u64;
    let total = ends.last().copied().unwrap_or(0).checked_add(data);
    let file_size = total.ok_or_else(|| Error::header("size of the file overflows"))?;
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let begins = starts.take(ends.len()).map(|start| data + start).collect();
    Ok(Layout { header, begins, file_size })
}
