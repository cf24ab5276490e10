//! The JSON of a header as it stands in the file; only its form is checked here.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

use super::table::Table;
use super::tensor::{check_tensor, RawTensor};
use crate::dtype::Dtype;
use crate::error::TensorFault;

/// The top-level object: tensors in the order of the file, metadata apart.
pub(super) struct RawHeader {
    pub(super) tensors: Table,
    pub(super) metadata: BTreeMap<String, String>,
    /// What is wrong with the first tensor that is not sound.
    pub(super) problem: Option<(String, TensorFault)>,
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = RawHeader;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
        let mut header =
            RawHeader { tensors: Table::default(), metadata: BTreeMap::new(), problem: None };
        let mut has_metadata = false;
        while let Some(key) = map.next_key::<String>()? {
            let is_metadata = key == "__metadata__";
            if if is_metadata { has_metadata } else { header.tensors.has(&key) } {
                return Err(A::Error::custom(format_args!("duplicate key {key:?}")));
            }
            if is_metadata {
                has_metadata = true;
                // Some writers put null where there is none; the reference reader takes it so.
                header.metadata = map.next_value::<Option<Metadata>>()?.unwrap_or_default().0;
                continue;
            }
            let raw = map.next_value::<RawTensor>()?;
            match check_tensor(&raw) {
                Ok(dtype) => header.tensors.add(&key, dtype, &raw.shape, raw.data_offsets.0),
                Err(fault) => {
                    header.problem.get_or_insert_with(|| (key.clone(), fault));
                    header.tensors.add(&key, Dtype::U8, &[0], 0)
                }
            };
        }
        Ok(header)
    }
}

/// A flat map of strings without repeated keys.
#[derive(Default)]
struct Metadata(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MetadataVisitor)
    }
}

struct MetadataVisitor;

impl<'de> Visitor<'de> for MetadataVisitor {
    type Value = Metadata;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("__metadata__ to be an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some((key, value)) = map.next_entry::<String, String>()? {
            if entries.contains_key(&key) {
                return Err(A::Error::custom(format_args!("duplicate metadata key {key:?}")));
            }
            entries.insert(key, value);
        }
        Ok(Metadata(entries))
    }
}
