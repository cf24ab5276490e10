//! Inputs that `LoRA`s change, as Python gives them.

use bmerge_core::merge::{Change, Delta, Factor, Found, Lengths, Matrix, Patched, Plain};
use pyo3::prelude::*;

use crate::errors::ProgramError;
use crate::input::{input, parse_dtype};

/// `"patched"`, the tensor without changes, its rows and columns, and the changes.
pub(crate) type RawPatched<'py> = (String, Bound<'py, PyAny>, u64, u64, Vec<RawChange>);

/// A change of some rows: the first and one past the last, scale, kind, and its factors, each of them
/// one matrix or two that are multiplied; and the lengths that vectors get, if any.
type RawChange = (u64, u64, f32, String, Vec<Vec<RawMatrix>>, Option<RawLengths>);

/// Source, offset, dtype and number of lengths, whether they are of rows, and a weight.
type RawLengths = (usize, u64, String, u64, bool, f32);

/// A matrix: source, offset, dtype, rows, columns.
type RawMatrix = (usize, u64, String, u64, u64);

/// The tensor with its changes.
pub(crate) fn patched((name, base, rows, columns, changes): RawPatched) -> PyResult<Patched> {
    if name != "patched" {
        return Err(ProgramError::new_err(format!("unknown codec {name:?}")));
    }
    let changes = changes.into_iter().map(change).collect::<PyResult<_>>()?;
    Ok(Patched { base: Box::new(input(&base)?), rows, columns, changes })
}

fn change((begin, end, scale, kind, raw, lengths): RawChange) -> PyResult<Change> {
    let factors = raw.into_iter().map(factor).collect::<PyResult<Vec<_>>>()?;
    let delta = match (kind.as_str(), factors.as_slice()) {
        ("one", [one]) => Delta::One(*one),
        ("elementwise", [one, other]) => Delta::Elementwise(*one, *other),
        ("kronecker", [one, other]) => Delta::Kronecker(*one, *other),
        (kind, factors) => {
            let message = format!("no change {kind:?} of {} factors", factors.len());
            return Err(ProgramError::new_err(message));
        }
    };
    let lengths = lengths.map(stretched).transpose()?;
    Ok(Change { rows: (begin, end), scale, delta, lengths })
}

fn stretched((source, offset, dtype, count, by_rows, weight): RawLengths) -> PyResult<Lengths> {
    let plain = Plain { source, offset, dtype: parse_dtype(&dtype)? };
    Ok(Lengths { plain, count, by_rows, weight, found: Found::default() })
}

fn factor(raw: Vec<RawMatrix>) -> PyResult<Factor> {
    let matrices = raw.into_iter().map(matrix).collect::<PyResult<Vec<_>>>()?;
    match matrices.as_slice() {
        [whole] => Ok(Factor::Whole(*whole)),
        [up, down] => Ok(Factor::Product(*up, *down)),
        more => Err(ProgramError::new_err(format!("a factor of {} matrices", more.len()))),
    }
}

fn matrix((source, offset, dtype, rows, columns): RawMatrix) -> PyResult<Matrix> {
    let plain = Plain { source, offset, dtype: parse_dtype(&dtype)? };
    Ok(Matrix { plain, rows, columns })
}
