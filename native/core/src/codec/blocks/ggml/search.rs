//! Scales of sub-blocks, eight of them at a time, by the searches of ggml's reference quantisers.
//!
//! Each sum runs along its sub-block as there, in float32 and without fusing, so that the scales
//! are the same to the bit.

use super::lanes::{both, Eight};

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

/// The codes of sub-blocks for a factor and a minimum, and sums over them.
struct Try<const N: usize> {
    codes: [Eight; N],
    sum: Eight,
    squares: Eight,
    product: Eight,
}

impl Affine {
    /// Find scales, and what is subtracted; of all sub-blocks the first elements, the second ones,
    /// and so on.
    #[inline(always)]
    pub(super) fn find<const N: usize>(self, x: &[Eight; N]) -> (Eight, Eight) {
        let zero = Eight::splat(0.0);
        let (mut least, mut greatest, mut squares) = (zero, x[0], zero);
        for x in x {
            (least, greatest) = (least.least(*x), greatest.greatest(*x));
            squares = squares + *x * *x;
        }
        let mean = (squares / Eight::splat(N as f32)).sqrt();
        let (mut weights, mut all, mut weighted) = ([zero; N], zero, zero);
        for (weight, x) in weights.iter_mut().zip(x) {
            *weight = mean + x.abs();
            (all, weighted) = (all + *weight, weighted + *weight * *x);
        }
        let range = greatest - least;
        let factor = Eight::splat(self.most) / range;
        let first = self.tried(x, &weights, factor, least);
        let (mut scale, mut minimum) = (Eight::splat(1.0) / factor, least);
        let mut best = first.error(x, &weights, scale, minimum);
        for step in 0..=self.steps {
            let most = Eight::splat(self.start + 0.1 * f32::from(step) + self.most);
            let tried = self.tried(x, &weights, most / (greatest - minimum), minimum);
            let determinant = all * tried.squares - tried.sum * tried.sum;
            let free = (all * tried.product - weighted * tried.sum) / determinant;
            let below = (tried.squares * weighted - tried.sum * tried.product) / determinant;
            let above = below.exceeds(zero);
            let new = (tried.product / tried.squares).or(above, free);
            let below = zero.or(above, below);
            let error = tried.error(x, &weights, new, below);
            let taken = both(determinant.exceeds(zero), best.exceeds(error));
            (best, scale) = (error.or(taken, best), new.or(taken, scale));
            minimum = below.or(taken, minimum);
        }
        (scale.or(range.exceeds(zero), zero), zero - minimum)
    }

    #[inline(always)]
    fn tried<const N: usize>(
        self,
        x: &[Eight; N],
        weights: &[Eight; N],
        factor: Eight,
        minimum: Eight,
    ) -> Try<N> {
        let zero = Eight::splat(0.0);
        let mut tried = Try { codes: [zero; N], sum: zero, squares: zero, product: zero };
        for ((code, x), weight) in tried.codes.iter_mut().zip(x).zip(weights) {
            *code = (factor * (*x - minimum)).whole(0.0, self.most);
            let weighted = *weight * *code;
            tried.sum = tried.sum + weighted;
            tried.squares = tried.squares + weighted * *code;
            tried.product = tried.product + weighted * *x;
        }
        tried
    }
}

impl<const N: usize> Try<N> {
    /// The weighted squares of what is wrong.
    #[inline(always)]
    fn error(&self, x: &[Eight; N], weights: &[Eight; N], scale: Eight, minimum: Eight) -> Eight {
        let mut error = Eight::splat(0.0);
        for ((code, x), weight) in self.codes.iter().zip(x).zip(weights) {
            let off = scale * *code + minimum - *x;
            error = error + *weight * (off * off);
        }
        error
    }
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
