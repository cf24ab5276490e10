//! How great elements can be at most, by their scales alone.

use super::{Code, Scaled, Scales};
use crate::codec::{eight, Isa};
use crate::dtype::Dtype;
use crate::vm::simd::Task;
use crate::vm::Level;

/// What each scale says of nibbles, whose scales lie in tiles.
pub(crate) struct Bounds {
    /// What a scale is multiplied by.
    factor: f32,
}

impl Bounds {
    /// Columns that have one bound: those whose scales lie together.
    pub(crate) const RUN: u64 = 64;

    /// Bounds of a tile: one for each of its rows.
    pub(crate) const TILE: usize = 128;

    /// Whether the scales of a codec say so much.
    pub(crate) fn are_known(scaled: &Scaled) -> bool {
        let tiled = matches!(scaled.scales, Scales::Tiled { columns: 16, .. });
        let plain = !scaled.column_factors && scaled.factor == 1.0 && scaled.rotation.is_none();
        let whole = scaled.tensor_scale && scaled.scale == Dtype::F8_E4M3;
        tiled && plain && whole && scaled.code == Code::E2M1
    }

    /// Those of a codec with that scale of the whole tensor, all multiplied by a gain.
    pub(crate) fn new(whole: &[u8], gain: f64) -> Self {
        const LARGEST: f64 = 6.0;
        let whole = whole.first_chunk().map_or(f32::NAN, |bytes| f32::from_le_bytes(*bytes));
        Self { factor: (f64::from(whole.abs()) * LARGEST * gain) as f32 }
    }

    /// Add the bounds of all runs of whole tiles, one after another; [`Bounds::row`] tells whose they
    /// are.
    pub(crate) fn add(&self, scales: &[u8], sums: &mut [f32]) {
        Level::detect().run(Add { bounds: self, scales, sums });
    }

    /// The row of a bound in its tile.
    pub(crate) fn row(at: usize) -> usize {
        at % 4 * 32 + at / 4
    }
}

/// See [`Bounds::add`].
struct Add<'a> {
    bounds: &'a Bounds,
    scales: &'a [u8],
    sums: &'a mut [f32],
}

impl Task for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let factor = self.bounds.factor;
        // In a tile four of a row lie together.
        for (four, sum) in self.scales.as_chunks().0.iter().zip(self.sums) {
            let four = u32::from_le_bytes(*four);
            let [a, b, c, d] = [0, 8, 16, 24].map(|shift| (four >> shift & 0x7f) as i32);
            // Magnitudes are in the order of their codes, NaN above all.
            *sum += eight::from_e4m3(a.max(b).max(c.max(d)) as u8) * factor;
        }
    }
}
