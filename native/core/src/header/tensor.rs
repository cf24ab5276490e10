//! One tensor of a header as it stands in the file, and what can be wrong with it by itself.

use super::MAX_HEADER;
use crate::dtype::Dtype;
use crate::error::TensorFault;

/// `{"dtype": …, "shape": […], "data_offsets": [begin, end]}`; serde refuses repeated fields and,
/// like the reference reader, passes over those that it does not know.
#[derive(serde::Deserialize)]
pub(super) struct RawTensor {
    pub(super) dtype: String,
    pub(super) shape: Vec<u64>,
    pub(super) data_offsets: (u64, u64),
}

/// Check one tensor by itself, and return its type.
pub(super) fn check_tensor(raw: &RawTensor) -> std::result::Result<Dtype, TensorFault> {
    let name = || raw.dtype.clone();
    let Some(dtype) = Dtype::parse(&raw.dtype) else {
        return Err(TensorFault::Dtype { dtype: name() });
    };
    let Some(needed) = dtype.size_of(&raw.shape) else {
        return Err(TensorFault::Size { shape: raw.shape.clone(), dtype: name() });
    };
    let (begin, end) = raw.data_offsets;
    let given = match end.checked_sub(begin) {
        Some(range) if end <= u64::MAX - (8 + MAX_HEADER) => range,
        _ => return Err(TensorFault::Offsets { begin, end }),
    };
    if given != needed {
        let shape = raw.shape.clone();
        return Err(TensorFault::Range { shape, dtype: name(), needed, given });
    }
    Ok(dtype)
}
