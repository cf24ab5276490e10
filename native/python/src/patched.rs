//! Inputs that `LoRA`s change, as Python gives them.

use bmerge_core::merge::{
    Change, Delta, Factor, Form, Found, Input, Lengths, Matrix, Patched, Plain, Turns,
};
use pyo3::prelude::*;

use crate::dtype::parse_dtype;
use crate::errors::ProgramError;

/// `"patched"`, the tensor without changes, its rows and columns, and the changes.
pub(crate) type RawPatched<'py> = (String, Bound<'py, PyAny>, u64, u64, Vec<RawChange<'py>>);

/// A change of some rows: the first and one past the last, scale, kind, what it is made of, and the
/// lengths that vectors get, if any.
type RawChange<'py> = (u64, u64, f32, String, Bound<'py, PyAny>, Option<RawLengths>);

/// Source, offset, dtype and number of lengths, whether they are of rows, and a weight.
type RawLengths = (usize, u64, String, u64, bool, f32);

/// A matrix: source, offset, dtype, rows, columns, whether it is stored column after column.
type RawMatrix = (usize, u64, String, u64, u64, bool);

/// Numbers: source, offset, dtype.
type RawPlain = (usize, u64, String);

/// Rotations: where they are stored, number and rows of blocks; terms of the series (0: all) where
/// what is above the diagonal is stored; a bound, and whether it is for each; what rows are multiplied by
/// then.
type RawTurns = (RawPlain, u64, u64, Option<u32>, f64, bool, Option<RawPlain>);

/// Rotations in stages: where they are stored, number and rows of a stage's blocks, number of stages, what
/// rows are multiplied by then.
type RawStages = (RawPlain, u64, u64, u64, Option<RawPlain>);

/// The tensor with its changes.
pub(crate) fn patched(raw: RawPatched, base: Input) -> PyResult<Patched> {
    let (name, _, rows, columns, changes) = raw;
    if name != "patched" {
        return Err(ProgramError::new_err(format!("unknown codec {name:?}")));
    }
    let changes = changes.into_iter().map(change).collect::<PyResult<_>>()?;
    Ok(Patched { base: Box::new(base), rows, columns, changes })
}

fn change((begin, end, scale, kind, raw, lengths): RawChange) -> PyResult<Change> {
    let delta = match kind.as_str() {
        "rows" => Delta::Rows(Box::new(turns(raw.extract()?)?)),
        "inputs" => Delta::Inputs(Box::new(turns(raw.extract()?)?)),
        "stages" => Delta::Inputs(Box::new(stages(raw.extract()?)?)),
        "scaled" => {
            let (by, count, of_rows, less): (RawPlain, u64, bool, f32) = raw.extract()?;
            Delta::Scaled { by: plain(by)?, count, of_rows, less }
        }
        _ => of_factors(&kind, raw.extract()?)?,
    };
    let lengths = lengths.map(stretched).transpose()?;
    Ok(Change { rows: (begin, end), scale, delta, lengths })
}

/// Each factor is one matrix, or two that are multiplied, or two with a core between them.
fn of_factors(kind: &str, raw: Vec<Vec<RawMatrix>>) -> PyResult<Delta> {
    let factors = raw.into_iter().map(factor).collect::<PyResult<Vec<_>>>()?;
    match (kind, factors.as_slice()) {
        ("one", [one]) => Ok(Delta::One(*one)),
        ("elementwise", [one, other]) => Ok(Delta::Elementwise(*one, *other)),
        ("kronecker", [one, other]) => Ok(Delta::Kronecker(*one, *other)),
        ("through", [Factor::Product(one, other)]) => Ok(Delta::Through(*one, *other)),
        (kind, factors) => {
            let message = format!("no change {kind:?} of {} factors", factors.len());
            Err(ProgramError::new_err(message))
        }
    }
}

fn stretched((source, offset, dtype, count, by_rows, weight): RawLengths) -> PyResult<Lengths> {
    let plain = plain((source, offset, dtype))?;
    Ok(Lengths { plain, count, by_rows, weight, found: Found::default() })
}

fn turns((stored, count, size, terms, bound, apart, rescale): RawTurns) -> PyResult<Turns> {
    Ok(Turns {
        plain: plain(stored)?,
        count,
        size,
        stages: 1,
        form: terms.map_or(Form::Square, Form::Triangle),
        bound,
        apart,
        rescale: rescale.map(plain).transpose()?,
        found: Found::default(),
    })
}

fn stages((stored, count, size, stages, rescale): RawStages) -> PyResult<Turns> {
    let rotations = turns((stored, count, size, None, 0.0, false, rescale))?;
    Ok(Turns { stages, form: Form::Half, ..rotations })
}

fn factor(raw: Vec<RawMatrix>) -> PyResult<Factor> {
    let matrices = raw.into_iter().map(matrix).collect::<PyResult<Vec<_>>>()?;
    match matrices.as_slice() {
        [whole] => Ok(Factor::Whole(*whole)),
        [up, down] => Ok(Factor::Product(*up, *down)),
        [up, core, down] => Ok(Factor::Core(*up, *core, *down)),
        more => Err(ProgramError::new_err(format!("a factor of {} matrices", more.len()))),
    }
}

fn matrix((source, offset, dtype, rows, columns, turned): RawMatrix) -> PyResult<Matrix> {
    Ok(Matrix { plain: plain((source, offset, dtype))?, rows, columns, turned })
}

fn plain((source, offset, dtype): RawPlain) -> PyResult<Plain> {
    Ok(Plain { source, offset, dtype: parse_dtype(&dtype)? })
}
