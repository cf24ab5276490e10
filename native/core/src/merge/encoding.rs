//! Outputs that are stored as codes with scales.

use std::sync::Arc;

use crate::codec::blocks::encode::Companions;
use crate::codec::blocks::Codec;

/// How a job's output is encoded; its place in the sink is that of the codes.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoding {
    /// What codes and scales are: blocks of ggml, or numbers with scales in tiles, or of any cells; a
    /// scale of the whole tensor belongs to scales of `F8_E4M3` only.
    pub codec: Codec,
    /// Rows of codes, or blocks, that are stored, the last of which may be zeros.
    pub rows: u64,
    /// Where the scales begin, and the scale of the whole tensor: (sink, first byte).
    pub companions: Vec<(usize, u64)>,
}

impl Encoding {
    /// Elements of a unit of about so many: whole rows, as many as tiles of scales are cut into evenly.
    pub(super) fn whole_rows(&self, elements: u64) -> u64 {
        let row = self.codec.unit();
        let (rows, tile) = ((elements / row).max(1), self.codec.tile_rows());
        row * if rows < tile { 1 << rows.ilog2() } else { rows - rows % tile }
    }

    /// Units of so many elements that have the same tiles of scales.
    pub(super) fn units_of_tiles(&self, elements: u64) -> u64 {
        (self.codec.tile_rows() * self.codec.unit()).div_ceil(elements.max(1))
    }

    /// What all rows share, at the beginning.
    pub(super) fn begin(&self) -> Arc<Companions> {
        let scales = self.codec.sizes().map_or(0, |sizes| sizes.get(1).copied().unwrap_or(0));
        Arc::new(Companions::new(&self.codec, scales))
    }
}
