//! Scales of sub-blocks, eight of them at a time, by the searches of ggml's reference quantisers.
//!
//! Each sum runs along its sub-block as there, in float32 and without fusing, so that the scales
//! are the same to the bit.

use super::lanes::{both, Eight, LANES};
use crate::codec::Isa;

/// A search for a scale and a minimum.
#[derive(Debug, Clone, Copy)]
pub(super) struct Affine {
    /// The largest code.
    pub(super) most: f32,
    /// What the first try adds to it.
    pub(super) start: f32,
    /// Tries after the first.
    pub(super) steps: u8,
}

/// One number of each of eight sub-blocks.
pub(crate) type Column = [f32; LANES];

/// Sums over the codes of sub-blocks, which are weighted: of themselves, of their squares, and of
/// their products with the values.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sums {
    pub(crate) plain: Column,
    pub(crate) squares: Column,
    pub(crate) product: Column,
}

impl Affine {
    /// Find scales, and what is subtracted; of all sub-blocks the first elements, the second ones,
    /// and so on.
    #[inline(always)]
    pub(super) fn find<I: Isa>(self, x: &[Column; 32]) -> (Eight, Eight) {
        let zero = Eight::splat(0.0);
        let (mut least, mut greatest, mut squares) = (zero, Eight(x[0]), zero);
        for x in x {
            let x = Eight(*x);
            (least, greatest) = (least.least(x), greatest.greatest(x));
            squares = squares + x * x;
        }
        let mean = (squares / Eight::splat(32.0)).sqrt();
        let (mut weights, mut all, mut weighted) = ([zero.0; 32], zero, zero);
        for (weight, x) in weights.iter_mut().zip(x) {
            let (x, own) = (Eight(*x), mean + Eight(*x).abs());
            (all, weighted, *weight) = (all + own, weighted + own * x, own.0);
        }
        let range = greatest - least;
        let factor = Eight::splat(self.most) / range;
        let mut codes = [zero.0; 32];
        I::search_codes(x, &weights, &factor.0, &least.0, self.most, &mut codes);
        let (mut scale, mut minimum) = (Eight::splat(1.0) / factor, least);
        let mut best = Eight(I::search_error(x, &weights, &codes, &scale.0, &minimum.0));
        for step in 0..=self.steps {
            let most = Eight::splat(self.start + 0.1 * f32::from(step) + self.most);
            let factor = most / (greatest - minimum);
            let sums = I::search_codes(x, &weights, &factor.0, &minimum.0, self.most, &mut codes);
            let [sum, squares, product] = [sums.plain, sums.squares, sums.product].map(Eight);
            let determinant = all * squares - sum * sum;
            let free = (all * product - weighted * sum) / determinant;
            let below = (squares * weighted - sum * product) / determinant;
            let above = below.exceeds(zero);
            let new = (product / squares).or(above, free);
            let below = zero.or(above, below);
            let error = Eight(I::search_error(x, &weights, &codes, &new.0, &below.0));
            let taken = both(determinant.exceeds(zero), best.exceeds(error));
            (best, scale) = (error.or(taken, best), new.or(taken, scale));
            minimum = below.or(taken, minimum);
        }
        (scale.or(range.exceeds(zero), zero), zero - minimum)
    }
}

/// See [`Isa::search_codes`].
#[inline(always)]
pub(in crate::codec) fn codes(
    values: &[Column; 32],
    weights: &[Column; 32],
    factor: &Column,
    minimum: &Column,
    most: f32,
    codes: &mut [Column; 32],
) -> Sums {
    let (factor, minimum, zero) = (Eight(*factor), Eight(*minimum), Eight::splat(0.0));
    let (mut plain, mut squares, mut product) = (zero, zero, zero);
    for ((code, value), weight) in codes.iter_mut().zip(values).zip(weights) {
        let whole = (factor * (Eight(*value) - minimum)).whole(0.0, most);
        let weighted = Eight(*weight) * whole;
        plain = plain + weighted;
        squares = squares + weighted * whole;
        product = product + weighted * Eight(*value);
        *code = whole.0;
    }
    Sums { plain: plain.0, squares: squares.0, product: product.0 }
}

/// See [`Isa::search_error`].
#[inline(always)]
pub(in crate::codec) fn error(
    values: &[Column; 32],
    weights: &[Column; 32],
    codes: &[Column; 32],
    scale: &Column,
    minimum: &Column,
) -> Column {
    let mut error = Eight::splat(0.0);
    for ((code, value), weight) in codes.iter().zip(values).zip(weights) {
        let off = Eight(*scale) * Eight(*code) + Eight(*minimum) - Eight(*value);
        error = error + Eight(*weight) * (off * off);
    }
    error.0
}

/// Find scales of codes from -32 to 31 for sub-blocks of 16, of which large values count more.
#[inline(always)]
pub(super) fn symmetric(x: &[Eight; 16]) -> Eight {
    const MOST: f32 = 32.0;
    /// Sub-blocks whose values are all smaller are zero.
    const LEAST: f32 = 1e-15;
    let zero = Eight::splat(0.0);
    let mut extreme = zero;
    for x in x {
        extreme = x.or(x.abs().exceeds(extreme.abs()), extreme);
    }
    let (mut scale, mut best) = (zero, zero);
    // The first try is the one in the middle.
    for step in [0.0, -9.0, -8.0, -7.0, -6.0, -5.0, -4.0, -3.0, -2.0, -1.0]
        .into_iter()
        .chain([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0])
    {
        let factor = Eight::splat(-(MOST + 0.1 * step)) / extreme;
        let (mut product, mut squares) = (zero, zero);
        for x in x {
            let code = (factor * *x).whole(-MOST, MOST - 1.0);
            let weight = *x * *x;
            product = product + weight * *x * code;
            squares = squares + weight * code * code;
        }
        let taken = (product * product).exceeds(best * squares);
        let found = product / squares;
        (scale, best) = (found.or(taken, scale), (found * product).or(taken, best));
    }
    scale.or(extreme.abs().exceeds(Eight::splat(LEAST)), zero)
}
