//! How a tensor is cut into tiles: by its shape and what is reduced, and by nothing else.

use super::Form;
use crate::vm::geometry::Geometry;

/// About the number of elements of a tile.
const TARGET: u64 = 65_536;

/// Tiles of `step` elements that start anew every `period` elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tiling {
    period: u64,
    step: u64,
    elements: u64,
}

impl Tiling {
    /// The tiling for the collectors of a pass.
    ///
    /// A tile holds whole rows if columns are reduced and rows fit, else a part of one row; it
    /// holds whole vectors if these are reduced and fit, else a part of one vector.
    pub(crate) fn new(forms: &[Form], geometry: &Geometry) -> Self {
        let vectors = forms.iter().any(|form| matches!(form, Form::Vectors(_)));
        let columns = forms.iter().any(|form| matches!(form, Form::Columns(_)));
        let vector = if vectors { geometry.last } else { 1 };
        let row = if columns { geometry.columns } else { vector };
        let (period, step) = if row <= TARGET {
            (geometry.elements, TARGET / row * row)
        } else if vector <= TARGET {
            (row, TARGET / vector * vector)
        } else {
            (vector, TARGET)
        };
        Self { period, step, elements: geometry.elements }
    }

    /// Tiles of a period.
    pub(crate) fn per_period(&self) -> u64 {
        self.period.div_ceil(self.step)
    }

    /// Number of tiles.
    pub(crate) fn count(&self) -> u64 {
        let whole = self.elements / self.period * self.per_period();
        whole + (self.elements % self.period).div_ceil(self.step)
    }

    /// The elements of a tile: (begin, end).
    pub(crate) fn range(&self, tile: u64) -> (u64, u64) {
        let period = tile / self.per_period() * self.period;
        let begin = period + tile % self.per_period() * self.step;
        let limit = (period + self.period).min(self.elements);
        (begin, (begin + self.step).min(limit))
    }

    /// Most elements of a tile.
    pub(crate) fn step(&self) -> u64 {
        self.step
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::Reduction::Sum;

    fn check(shape: &[u64], forms: &[Form]) -> Tiling {
        let geometry = Geometry::of(shape);
        let tiling = Tiling::new(forms, &geometry);
        let mut position = 0;
        for tile in 0..tiling.count() {
            let (begin, end) = tiling.range(tile);
            assert_eq!(begin, position);
            assert!(begin < end && end - begin <= tiling.step());
            position = end;
        }
        assert_eq!(position, geometry.elements);
        tiling
    }

    #[test]
    fn tiles_cover_every_shape() {
        let (whole, columns, vectors) = (Form::Whole(Sum), Form::Columns(Sum), Form::Vectors(Sum));
        for shape in [&[7][..], &[200_000], &[3, 70_000], &[70_000, 3], &[5, 7, 40_000], &[90, 900]]
        {
            for forms in [&[whole][..], &[columns], &[vectors], &[columns, vectors, whole]] {
                check(shape, forms);
            }
        }
    }

    #[test]
    fn tiles_hold_whole_rows_or_vectors_where_they_fit() {
        assert_eq!(check(&[100, 20_000], &[Form::Columns(Sum)]).step(), 60_000);
        assert_eq!(check(&[4, 9, 20_000], &[Form::Vectors(Sum)]).step(), 60_000);
        assert_eq!(check(&[3, 70_000], &[Form::Columns(Sum)]).per_period(), 2);
        assert_eq!(check(&[3, 70_000], &[Form::Vectors(Sum)]).per_period(), 2);
    }
}
