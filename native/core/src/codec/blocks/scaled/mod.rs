//! Small numbers times scales: scaled fp8 and int8, mxfp8, nvfp4 and their like.

mod bounds;
mod cells;
mod reader;
mod tiles;

pub(crate) use bounds::Bounds;
pub(super) use reader::Reader;
pub(super) use tiles::tiled;

use super::product;
use super::rotation::is_group;
use crate::dtype::Dtype;

/// What a code is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, non_camel_case_types)] // the formats' own names
pub enum Code {
    E4M3,
    E5M2,
    I8,
    /// Two in a byte, the even column in the upper half.
    E2M1,
    /// Two in a byte, the even column in the lower half.
    I4,
}

/// Which scale belongs to an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scales {
    /// One for each cell of so many rows and columns; rows of `across` scales.
    Grid {
        /// Rows of a cell.
        rows: u64,
        /// Columns of a cell.
        columns: u64,
        /// Scales in a row of cells.
        across: u64,
    },
    /// One for each row and so many columns, in the tiles of 128 × 4 that cuBLAS takes.
    Tiled {
        /// Columns of a cell.
        columns: u64,
        /// Tiles side by side.
        tiles: u64,
    },
}

/// A matrix of codes; a tensor of more dims is its rows of all other columns.
///
/// Parts: codes, scales, then if there are any the scale of the whole tensor (one F32) and the
/// factors of columns (F32 each).
#[derive(Debug, Clone, PartialEq)]
pub struct Scaled {
    /// What a code is.
    pub code: Code,
    /// Rows of the tensor.
    pub rows: u64,
    /// Columns of the tensor.
    pub columns: u64,
    /// Codes in a stored row, which may be padded.
    pub stride: u64,
    /// Where scales lie.
    pub scales: Scales,
    /// What a scale is: F32, F16, BF16, `F8_E4M3`, or `F8_E8M0` (of which code 0 is zero).
    pub scale: Dtype,
    /// Whether all scales are multiplied by one more.
    pub tensor_scale: bool,
    /// Whether columns are multiplied by factors, at last.
    pub column_factors: bool,
    /// What values are multiplied by after their scale; 1 in most formats.
    pub factor: f32,
    /// Columns of a group that `ConvRot` has rotated.
    pub rotation: Option<u64>,
}

impl Code {
    pub(crate) fn bits(self) -> u64 {
        match self {
            Self::E4M3 | Self::E5M2 | Self::I8 => 8,
            Self::E2M1 | Self::I4 => 4,
        }
    }
}

impl Scaled {
    pub(crate) fn sizes(&self) -> Result<Vec<u64>, String> {
        let codes = product(&[self.rows, self.stride, self.code.bits()])? / 8;
        product(&[self.rows, self.columns])?;
        if self.columns > self.stride || !(self.stride * self.code.bits()).is_multiple_of(8) {
            return Err(format!("{} columns in rows of {} codes", self.columns, self.stride));
        }
        if self
            .rotation
            .is_some_and(|group| !is_group(group) || !self.columns.is_multiple_of(group))
        {
            return Err(format!("groups of {:?} in {} columns", self.rotation, self.columns));
        }
        let mut sizes = vec![codes, self.scale_bytes()?];
        sizes.extend(self.tensor_scale.then_some(4));
        sizes.extend(self.column_factors.then_some(4 * self.columns));
        Ok(sizes)
    }

    /// Bytes of so many codes.
    pub(super) fn code_bytes(&self, codes: u64) -> usize {
        (codes * self.code.bits() / 8) as usize
    }

    /// Columns of a cell.
    pub(super) fn cell(&self) -> u64 {
        match self.scales {
            Scales::Grid { columns, .. } | Scales::Tiled { columns, .. } => columns,
        }
    }

    /// Whether several rows have a part in a cell, whose scale none of them tells alone.
    pub(crate) fn shares_cells(&self) -> bool {
        matches!(self.scales, Scales::Grid { rows, .. } if rows > 1)
    }

    /// Tiles of scales side by side, if they lie in tiles.
    pub(crate) fn tiles(&self) -> Option<u64> {
        match self.scales {
            Scales::Tiled { tiles, .. } => Some(tiles),
            Scales::Grid { .. } => None,
        }
    }

    fn scale_bytes(&self) -> Result<u64, String> {
        let known = [Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::F8_E4M3, Dtype::F8_E8M0];
        if !known.contains(&self.scale) {
            return Err(format!("scales of {}", self.scale.name()));
        }
        match self.scales {
            Scales::Grid { rows, columns, across } => {
                if rows == 0 || columns == 0 || across < self.columns.div_ceil(columns) {
                    return Err(format!("{across} scales for {} columns", self.columns));
                }
                product(&[self.rows.div_ceil(rows), across, self.scale.bytes() as u64])
            }
            Scales::Tiled { columns, tiles } => {
                let enough = columns > 0 && tiles >= self.columns.div_ceil(columns).div_ceil(4);
                if !enough || self.scale.bytes() != 1 {
                    return Err(format!("{tiles} tiles of scales for {} columns", self.columns));
                }
                product(&[self.rows.div_ceil(tiles::ROWS), tiles, tiles::TILE as u64])
            }
        }
    }

    /// Elements whose codes are needed for those: whole groups of rotated ones.
    fn widened(&self, begin: u64, end: u64) -> (u64, u64) {
        // Groups divide rows, so they lie at multiples of their size in the whole tensor.
        self.rotation
            .map_or((begin, end), |group| (begin - begin % group, end.next_multiple_of(group)))
    }

    pub(super) fn span(&self, part: usize, begin: u64, end: u64) -> (u64, u64) {
        if begin >= end {
            return (0, 0);
        }
        let (begin, end) = self.widened(begin, end);
        let (first, last) = (begin / self.columns, (end - 1) / self.columns);
        match part {
            0 => {
                let place =
                    |element: u64| element / self.columns * self.stride + element % self.columns;
                let bits = self.code.bits();
                (place(begin) * bits / 8, ((place(end - 1) + 1) * bits).div_ceil(8))
            }
            1 => {
                let (rows, bytes) = self.scale_rows();
                (first / rows * bytes, (last / rows + 1) * bytes)
            }
            2 if self.tensor_scale => (0, 4),
            _ => (0, 4 * self.columns),
        }
    }

    /// Rows that have the same row of scales, or of tiles of scales, and its bytes.
    fn scale_rows(&self) -> (u64, u64) {
        match self.scales {
            Scales::Grid { rows, across, .. } => (rows, across * self.scale.bytes() as u64),
            Scales::Tiled { tiles, .. } => (tiles::ROWS, tiles * tiles::TILE as u64),
        }
    }
}
