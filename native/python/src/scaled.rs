//! The parameters of codes with scales, as Python gives them.

use bmerge_core::blocks::{Code, Scaled, Scales};
use pyo3::prelude::*;

use crate::dtype::parse_dtype;
use crate::errors::ProgramError;

/// Code, (rows, columns, stored columns), cells of scales, dtype of scales, whether there is a scale
/// of the tensor, whether there are factors of columns, factor, columns of a rotated group.
type Raw = (String, (u64, u64, u64), (String, u64, u64, u64), String, bool, bool, f32, Option<u64>);

pub(crate) fn scaled(raw: &Bound<'_, PyAny>) -> PyResult<Scaled> {
    let (code, sizes, cells, scale, tensor_scale, column_factors, factor, rotation): Raw =
        raw.extract()?;
    let (rows, columns, stride) = sizes;
    Ok(Scaled {
        code: parse_code(&code)?,
        rows,
        columns,
        stride,
        scales: parse_scales(cells)?,
        scale: parse_dtype(&scale)?,
        tensor_scale,
        column_factors,
        factor,
        rotation,
    })
}

fn parse_code(name: &str) -> PyResult<Code> {
    match name {
        "E4M3" => Ok(Code::E4M3),
        "E5M2" => Ok(Code::E5M2),
        "I8" => Ok(Code::I8),
        "E2M1" => Ok(Code::E2M1),
        "I4" => Ok(Code::I4),
        _ => Err(ProgramError::new_err(format!("unknown code {name:?}"))),
    }
}

fn parse_scales((form, rows, columns, across): (String, u64, u64, u64)) -> PyResult<Scales> {
    match form.as_str() {
        "grid" => Ok(Scales::Grid { rows, columns, across }),
        "tiled" => Ok(Scales::Tiled { columns, tiles: across }),
        _ => Err(ProgramError::new_err(format!("unknown form {form:?} of scales"))),
    }
}
