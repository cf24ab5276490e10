//! How a tensor is cut into tiles: by its shape and what is reduced, and by nothing else.

use super::Form;
use crate::vm::geometry::Geometry;

/// About the number of elements of a tile.
const TARGET: u64 = 65_536;

/// Elements of a tile of a sample.
const PIECE: u64 = 2048;

/// A sample is about this part of a tensor ...
const SAMPLED: u64 = 16;

/// ... but not fewer and not more elements, for tensors of at least the second's.
const SAMPLE: std::ops::RangeInclusive<u64> = 32_768..=1_048_576;
const LEAST_SAMPLED: u64 = 262_144;

/// Tiles of `step` elements that start anew every `period` elements: all of them, or, in a
/// sample, as many of each period as `per_period` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tiling {
    period: u64,
    per_period: u64,
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
        Self { period, per_period: period.div_ceil(step), step, elements: geometry.elements }
    }

    /// Whether a tensor is large enough to look at a sample first.
    pub(crate) fn samples(geometry: &Geometry) -> bool {
        geometry.elements >= LEAST_SAMPLED
    }

    /// The tiling of a sample: pieces at equal distances.
    pub(crate) fn sample(geometry: &Geometry) -> Self {
        let elements = geometry.elements;
        let wanted = (elements / SAMPLED).clamp(*SAMPLE.start(), *SAMPLE.end());
        let period = elements / (wanted / PIECE);
        Self { period, per_period: 1, step: PIECE, elements }
    }

    /// Whether not every element is in a tile.
    pub(crate) fn is_sample(&self) -> bool {
        self.per_period * self.step < self.period
    }

    /// Tiles of a period.
    pub(crate) fn per_period(&self) -> u64 {
        self.per_period
    }

    /// Number of tiles.
    pub(crate) fn count(&self) -> u64 {
        let whole = self.elements / self.period * self.per_period;
        whole + (self.elements % self.period).div_ceil(self.step).min(self.per_period)
    }

    /// The elements of a tile: (begin, end).
    pub(crate) fn range(&self, tile: u64) -> (u64, u64) {
        let period = tile / self.per_period * self.period;
        let begin = period + tile % self.per_period * self.step;
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
    fn a_sample_is_spread_over_the_tensor() {
        for elements in [LEAST_SAMPLED, 1_000_003, 38_000_000] {
            let tiling = Tiling::sample(&Geometry::of(&[elements]));
            assert!(tiling.is_sample() && !check(&[elements], &[Form::Coarse]).is_sample());
            let ranges = || (0..tiling.count()).map(|tile| tiling.range(tile));
            assert!(ranges().zip(ranges().skip(1)).all(|(one, next)| one.1 < next.0));
            let sampled: u64 = ranges().map(|(begin, end)| end - begin).sum();
            assert!(sampled >= *SAMPLE.start() && sampled <= elements / 7);
            assert!(ranges().next_back().is_some_and(|last| last.1 + tiling.period >= elements));
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
