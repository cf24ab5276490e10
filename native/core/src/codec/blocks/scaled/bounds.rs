//! How great elements can be at most, by their scales alone.

use super::{tiled, Code, Scaled, Scales};
use crate::codec::eight;
use crate::dtype::Dtype;

/// What each scale says of nibbles, whose scales lie in tiles.
pub(crate) struct Bounds {
    tiles: u64,
    /// By the magnitude of a scale; the last is no number.
    of_scale: [f64; 128],
}

impl Bounds {
    /// Columns that have one bound: those whose scales lie together.
    pub(crate) const RUN: u64 = 64;

    /// Whether the scales of a codec say so much.
    pub(crate) fn are_known(scaled: &Scaled) -> bool {
        let tiled = matches!(scaled.scales, Scales::Tiled { columns: 16, .. });
        let plain = !scaled.column_factors && scaled.factor == 1.0 && scaled.rotation.is_none();
        let whole = scaled.tensor_scale && scaled.scale == Dtype::F8_E4M3;
        tiled && plain && whole && scaled.code == Code::E2M1
    }

    /// Those of a codec, given the scale of the whole tensor, all multiplied by a gain.
    pub(crate) fn new(scaled: &Scaled, whole: &[u8], gain: f64) -> Self {
        const LARGEST: f64 = 6.0;
        let whole = whole.first_chunk().map_or(f32::NAN, |bytes| f32::from_le_bytes(*bytes));
        let tiles = match scaled.scales {
            Scales::Tiled { tiles, .. } => tiles,
            Scales::Grid { .. } => 0,
        };
        let of_scale = |scale: usize| {
            f64::from((whole * eight::from_e4m3(scale as u8)).abs()) * LARGEST * gain
        };
        Self { tiles, of_scale: std::array::from_fn(of_scale) }
    }

    /// Add the bounds of a row's runs, given the scales of rows from number `first` on.
    pub(crate) fn add(&self, scales: &[u8], first: u64, row: u64, sums: &mut [f64]) {
        let row = row - first / 128 * 128;
        // In a tile four of a row lie together.
        for (tile, sum) in scales[tiled(row, 0, self.tiles)..].chunks(512).zip(sums) {
            if let Some(four) = tile.first_chunk::<4>() {
                let [a, b, c, d] = four.map(|scale| scale & 0x7f);
                *sum += self.of_scale[usize::from(a.max(b).max(c.max(d)))];
            }
        }
    }
}
