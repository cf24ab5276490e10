//! What is added to a tensor, as it is told, and whether it fits.

use super::super::super::check::{check_source, size};
use super::super::super::Sources;
use super::super::Plain;
use super::{Lengths, Turns};
use crate::error::{Error, Result};

/// A matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matrix {
    /// Where it is stored.
    pub plain: Plain,
    /// Number of rows.
    pub rows: u64,
    /// Number of columns.
    pub columns: u64,
    /// Whether it is stored column after column.
    pub turned: bool,
}

/// A matrix, or the product of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Factor {
    /// As it is stored.
    Whole(Matrix),
    /// The first times the second.
    Product(Matrix, Matrix),
    /// Of a convolution, with a core of rows x columns numbers for each place of its kernel: the first
    /// times the core times the third.
    Core(Matrix, Matrix, Matrix),
}

/// What is added to some rows, but for its scale.
#[derive(Debug, Clone, PartialEq)]
pub enum Delta {
    /// A matrix: of `LoRA` a product, of full differences the stored one.
    One(Factor),
    /// Two products, element by element: `LoHa`.
    Elementwise(Factor, Factor),
    /// The Kronecker product: `LoKr`.
    Kronecker(Factor, Factor),
    /// What rotating blocks of the tensor's rows changes: OFT of `LyCORIS`.
    Rows(Box<Turns>),
    /// What rotating runs of each row changes: OFT and BOFT of PEFT. One block may be for all runs.
    Inputs(Box<Turns>),
    /// The tensor times two matrices, of input channels: `GLoRA`.
    Through(Matrix, Matrix),
    /// The tensor's rows or input channels, each times a number less another: IA3.
    Scaled {
        /// Where the numbers are stored.
        by: Plain,
        /// How many there are.
        count: u64,
        /// Whether they are of rows.
        of_rows: bool,
        /// What is taken from each.
        less: f32,
    },
}

/// A change of some rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The first row and one past the last.
    pub rows: (u64, u64),
    /// What the change is multiplied by.
    pub scale: f32,
    /// The change.
    pub delta: Delta,
    /// The lengths that vectors of the changed rows get.
    pub lengths: Option<Lengths>,
}

impl Change {
    /// Bytes that a thread holds of it.
    pub(super) fn held(&self) -> u64 {
        let lengths = self.lengths.as_ref().map_or(0, |lengths| lengths.count);
        self.delta.held().saturating_add(lengths).saturating_mul(4)
    }

    /// Rows of the tensor that are best computed together; 0 if even a part of one is as good.
    pub(super) fn together(&self) -> u64 {
        match &self.delta {
            Delta::Rows(turns) => turns.size,
            Delta::Inputs(_) | Delta::Through(..) => 1,
            _ => 0,
        }
    }

    /// Check it against the sources and the columns of its tensor.
    pub(super) fn check(&self, sources: &Sources, columns: u64) -> Result<()> {
        let expected = (self.rows.1 - self.rows.0, columns);
        if let Some(lengths) = &self.lengths {
            lengths.check(sources, expected)?;
        }
        self.delta.check(sources, expected)
    }
}

impl Delta {
    /// Numbers that are held.
    fn held(&self) -> u64 {
        match self {
            Self::One(Factor::Whole(_)) => 0,
            Self::One(factor) => factor.held(),
            Self::Elementwise(one, other) => one.held().saturating_add(other.held()),
            Self::Kronecker(one, other) => [one, other].map(Factor::size).into_iter().sum(),
            Self::Rows(turns) | Self::Inputs(turns) => turns.held(),
            Self::Through(first, second) => first.size().saturating_add(second.size()),
            Self::Scaled { count, .. } => *count,
        }
    }

    /// Whether it takes products of matrices.
    pub(super) fn multiplies(&self) -> bool {
        match self {
            Self::One(factor) => !matches!(factor, Factor::Whole(_)),
            Self::Elementwise(..) | Self::Rows(_) | Self::Inputs(_) | Self::Through(..) => true,
            Self::Kronecker(..) | Self::Scaled { .. } => false,
        }
    }

    fn check(&self, sources: &Sources, expected: (u64, u64)) -> Result<()> {
        let shape = match self {
            Self::One(factor) => factor.check(sources)?,
            Self::Elementwise(one, other) => {
                let [first, second] = [one.check(sources)?, other.check(sources)?];
                let products = [one, other].iter().all(|x| !matches!(x, Factor::Whole(_)));
                if first != second || !products {
                    return Err(Error::program("a change is of two products of one shape"));
                }
                first
            }
            Self::Kronecker(one, other) => {
                let [(a, b), (c, d)] = [one.check(sources)?, other.check(sources)?];
                let sizes = a.checked_mul(c).zip(b.checked_mul(d));
                sizes.ok_or_else(|| Error::program("a change is too large"))?
            }
            Self::Rows(turns) if turns.stages == 1 => {
                (turns.check(sources, expected.0)?, expected.1)
            }
            Self::Rows(_) => return Err(Error::program("rows are not rotated in stages")),
            Self::Inputs(turns) => {
                let turned = turns.check(sources, expected.0)?;
                let one_for_all =
                    turns.count == 1 && turns.stages == 1 && expected.1.is_multiple_of(turned);
                (expected.0, if one_for_all { expected.1 } else { turned })
            }
            Self::Through(first, second) => {
                let inputs = Factor::Product(*first, *second).check(sources)?;
                let fits =
                    inputs.0 == inputs.1 && inputs.0 > 0 && expected.1.is_multiple_of(inputs.0);
                if fits {
                    expected
                } else {
                    inputs
                }
            }
            Self::Scaled { by, count, of_rows, .. } => {
                check_source(sources, by.source, by.offset, size(by.dtype, &[*count])?)?;
                let fits = *count > 0 && expected.1.is_multiple_of(*count);
                if *of_rows {
                    (*count, expected.1)
                } else {
                    (expected.0, if fits { expected.1 } else { *count })
                }
            }
        };
        if shape == expected {
            return Ok(());
        }
        let ((rows, columns), (a, b)) = (shape, expected);
        Err(Error::Program(format!("a change is of {rows} x {columns}, its rows of {a} x {b}")))
    }
}

impl Lengths {
    /// Check them against the sources, and the rows and columns of the change.
    fn check(&self, sources: &Sources, (rows, columns): (u64, u64)) -> Result<()> {
        let Self { plain, count, by_rows, .. } = self;
        let fits =
            if *by_rows { *count == rows } else { *count > 0 && columns.is_multiple_of(*count) };
        if !fits {
            let message = format!("{count} lengths for {rows} x {columns}");
            return Err(Error::Program(message));
        }
        check_source(sources, plain.source, plain.offset, size(plain.dtype, &[*count])?)
    }
}

impl Turns {
    /// Numbers of the blocks.
    fn held(&self) -> u64 {
        let blocks = self.stages.saturating_mul(self.count);
        blocks.saturating_mul(self.size).saturating_mul(self.size)
    }

    /// Check them against the sources and the rows of the change; return what they turn.
    fn check(&self, sources: &Sources, rescaled: u64) -> Result<u64> {
        let Self { plain, count, size: rows, stages, form, rescale, .. } = self;
        let (all, numbers) = (count.checked_mul(*rows), form.numbers(*rows));
        let (Some(all), Some(numbers), 1..) = (all, numbers, *rows) else {
            return Err(Error::Program(format!("{count} blocks of {rows} rows")));
        };
        if !is_butterfly(*count, *rows, *stages) {
            return Err(Error::Program(format!("{stages} stages of {count} blocks of {rows}")));
        }
        if let Some(rescale) = rescale {
            let length = size(rescale.dtype, &[rescaled])?;
            check_source(sources, rescale.source, rescale.offset, length)?;
        }
        let length = size(plain.dtype, &[*stages, *count, numbers])?;
        check_source(sources, plain.source, plain.offset, length)?;
        Ok(all)
    }
}

impl Factor {
    /// Numbers that a thread holds of a product.
    fn held(&self) -> u64 {
        match self {
            Self::Whole(matrix) => matrix.size(),
            Self::Product(up, down) => up.size().saturating_add(down.size()),
            Self::Core(up, core, down) => {
                let inner = up.columns.saturating_mul(columns_of(core, down).unwrap_or(0));
                up.size().saturating_add(inner)
            }
        }
    }

    /// Numbers of the matrix.
    fn size(&self) -> u64 {
        match self {
            Self::Whole(matrix) => matrix.size(),
            Self::Product(up, down) => up.rows.saturating_mul(down.columns),
            Self::Core(up, core, down) => {
                up.rows.saturating_mul(columns_of(core, down).unwrap_or(0))
            }
        }
    }

    /// Rows and columns.
    fn check(&self, sources: &Sources) -> Result<(u64, u64)> {
        match self {
            Self::Whole(matrix) => matrix.check(sources),
            Self::Product(up, down) => {
                let ((rows, inner), (rank, columns)) = (up.check(sources)?, down.check(sources)?);
                fitting(inner, rank)?;
                Ok((rows, columns))
            }
            Self::Core(up, core, down) => {
                let ((rows, inner), (rank, wide)) = (up.check(sources)?, core.check(sources)?);
                down.check(sources)?;
                fitting(inner, rank)?;
                let columns = columns_of(core, down);
                let columns = columns.ok_or_else(|| {
                    let message = format!("a core of {wide} columns and {} rows", down.rows);
                    Error::Program(message)
                })?;
                Ok((rows, columns))
            }
        }
    }
}

/// Whether halves of blocks are ever further apart in so many stages, within all of them.
pub(super) fn is_butterfly(count: u64, size: u64, stages: u64) -> bool {
    let apart =
        u32::try_from(stages).ok().and_then(|stages| 1_u64.checked_shl(stages.wrapping_sub(1)));
    let far = apart.is_some_and(|apart| size.is_multiple_of(2) && count.is_multiple_of(apart));
    stages == 1 || (stages > 1 && far)
}

fn fitting(inner: u64, rank: u64) -> Result<()> {
    if inner == rank {
        return Ok(());
    }
    Err(Error::Program(format!("a product of {inner} columns and {rank} rows")))
}

/// Columns of a core times a matrix: those of the matrix for each place of the kernel.
fn columns_of(core: &Matrix, down: &Matrix) -> Option<u64> {
    let fits = down.rows > 0 && core.columns.is_multiple_of(down.rows);
    fits.then(|| (core.columns / down.rows).checked_mul(down.columns)).flatten()
}

impl Matrix {
    fn size(&self) -> u64 {
        self.rows.saturating_mul(self.columns)
    }

    fn check(&self, sources: &Sources) -> Result<(u64, u64)> {
        let length = size(self.plain.dtype, &[self.rows, self.columns])?;
        check_source(sources, self.plain.source, self.plain.offset, length)?;
        Ok((self.rows, self.columns))
    }
}
