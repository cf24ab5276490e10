//! From a list of tensors to the bytes of a header and the place of each tensor.

use std::collections::BTreeMap;

use super::names::Names;
use super::MAX_HEADER;
use crate::dtype::Dtype;
use crate::error::{HeaderError, Result, TensorFault};

/// Where everything goes in a file that is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The first bytes of the file: length, JSON, spaces up to a multiple of 8 at least.
    pub header: Vec<u8>,
    /// First byte of every tensor, from the start of the file, in the given order.
    pub begins: Vec<u64>,
    /// The tensors' names, in the given order.
    pub names: Names,
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
    let mut layout = LayoutBuilder::new(metadata)?;
    for (name, dtype, shape) in tensors {
        layout.add(name.as_ref(), *dtype, shape.as_ref())?;
    }
    layout.finish()
}

/// The JSON of metadata with its key, as it begins every header that has some.
pub fn metadata_json(metadata: &BTreeMap<String, String>) -> Result<String> {
    if metadata.is_empty() {
        return Ok(String::from("{"));
    }
    Ok(format!("{{\"__metadata__\":{}", to_json(metadata)?))
}

/// A layout to which tensors are added, in their order.
#[derive(Debug)]
pub struct LayoutBuilder {
    json: Vec<u8>,
    begins: Vec<u64>,
    names: Names,
    position: u64,
    room: usize,
}

impl LayoutBuilder {
    /// Begin with the metadata.
    pub fn new(metadata: &BTreeMap<String, String>) -> Result<Self> {
        let mut json = vec![0; 8];
        json.extend_from_slice(metadata_json(metadata)?.as_bytes());
        Ok(Self { json, begins: Vec::new(), names: Names::default(), position: 0, room: 0 })
    }

    /// Let the header have so many bytes at least, where that is a multiple of 8 and allowed.
    #[must_use]
    pub fn with_room(mut self, bytes: usize) -> Self {
        self.room = bytes;
        self
    }

    /// Add a tensor.
    pub fn add(&mut self, name: &str, dtype: Dtype, shape: &[u64]) -> Result<()> {
        if name == "__metadata__" {
            return Err(HeaderError::Reserved.into());
        }
        if self.names.add(name).is_none() {
            return Err(HeaderError::Duplicate { name: name.to_owned() }.into());
        }
        let end = dtype.size_of(shape).and_then(|size| self.position.checked_add(size));
        let end = end.ok_or_else(|| HeaderError::Tensor {
            name: name.to_owned(),
            fault: TensorFault::Size { shape: shape.to_vec(), dtype: String::new() },
        })?;
        let row = format!(
            "{}{}:{{\"dtype\":\"{}\",\"shape\":{},\"data_offsets\":[{},{end}]}}",
            if self.json.ends_with(b"{") { "" } else { "," },
            to_json(name)?,
            dtype.name(),
            to_json(shape)?,
            self.position,
        );
        self.json.extend_from_slice(row.as_bytes());
        self.begins.push(self.position);
        self.position = end;
        Ok(())
    }

    /// Pad the JSON and turn relative places into absolute ones.
    pub fn finish(self) -> Result<Layout> {
        let Self { json: mut header, mut begins, names, position, room } = self;
        header.push(b'}');
        let padded = (header.len() - 8).max(room.saturating_sub(8).min(MAX_HEADER as usize));
        let padded = padded.next_multiple_of(8);
        if padded as u64 > MAX_HEADER {
            let what = format!("header of {padded} bytes is over {MAX_HEADER}");
            return Err(HeaderError::TooLarge { what }.into());
        }
        header.resize(8 + padded, b' ');
        header[..8].copy_from_slice(&(padded as u64).to_le_bytes());
        let data = header.len() as u64;
        let total = position.checked_add(data);
        let file_size = total
            .ok_or_else(|| HeaderError::TooLarge { what: "size of the file overflows".into() })?;
        for begin in &mut begins {
            *begin += data;
        }
        Ok(Layout { header, begins, names, file_size })
    }
}

fn to_json<T: serde::Serialize + ?Sized>(value: &T) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| HeaderError::Json { reason: error.to_string() }.into())
}
