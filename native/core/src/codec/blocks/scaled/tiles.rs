//! Scales in the tiles of 128 × 4 that cuBLAS takes.

use super::Scaled;

/// Rows of a tile.
pub(super) const ROWS: u64 = 128;

/// Scales of a row in a tile, which lie together.
pub(super) const FOUR: usize = 4;

/// Bytes of a tile.
pub(super) const TILE: usize = 512;

/// Tiles that are gone through row by row together: their lines stay in the first-level cache from one
/// row to the next.
const SIDE: usize = 64;

/// The place of a scale in tiles, of which so many lie side by side.
#[inline(always)]
pub(in super::super) fn tiled(row: u64, cell: u64, tiles: u64) -> usize {
    let tile = row / ROWS * tiles + cell / 4;
    tile as usize * TILE + place(row) * FOUR + (cell % 4) as usize
}

/// Where four of a row lie in a tile.
#[inline(always)]
fn place(row: u64) -> usize {
    (row % 32 * 4 + row % ROWS / 32) as usize
}

impl Scaled {
    /// Lay the scales of some elements' rows one row after another, given all tiles that they lie in.
    ///
    /// A row of its own takes four bytes of each tile, which is a line of the cache for every tile: far
    /// more lines at once than fit where all are so far apart.
    pub(in super::super) fn untile(
        &self,
        (begin, end): (u64, u64),
        tiles: &[u8],
        rows: &mut Vec<u8>,
    ) {
        rows.clear();
        let Some(across) = self.tiles().filter(|_| begin < end) else {
            return;
        };
        let (first, last) = (begin / self.columns, (end - 1) / self.columns);
        let (count, across) = ((last - first + 1) as usize, across as usize);
        rows.resize(count * across * FOUR, 0);
        let (targets, _) = rows.as_chunks_mut::<FOUR>();
        let (tiles, _) = tiles.as_chunks::<TILE>();
        for begin in (0..across).step_by(SIDE) {
            let side = begin..across.min(begin + SIDE);
            for (row, targets) in (first..).zip(targets.chunks_exact_mut(across)) {
                let band = (row / ROWS - first / ROWS) as usize * across;
                let tiles = &tiles[band..band + across][side.clone()];
                for (target, tile) in targets[side.clone()].iter_mut().zip(tiles) {
                    *target = tile.as_chunks().0[place(row)];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Code, Scales};
    use super::*;
    use crate::dtype::Dtype;

    #[test]
    fn rows_have_the_scales_that_tiles_have_of_them() {
        for (columns, rows) in [(70 * 64, 90..300), (64, 127..129), (130 * 64 - 16, 0..1)] {
            let across = u64::div_ceil(columns, 64);
            let scaled = Scaled {
                code: Code::E2M1,
                rows: 300,
                columns,
                stride: columns,
                scales: Scales::Tiled { columns: 16, tiles: across },
                scale: Dtype::F8_E4M3,
                tensor_scale: true,
                column_factors: false,
                factor: 1.0,
                rotation: None,
            };
            let bytes: Vec<u8> = (0..300_u64.div_ceil(ROWS) * across * TILE as u64)
                .map(|at| ((at * 7919) >> 5) as u8)
                .collect();
            let elements = (rows.start * columns + 3, rows.end * columns - 1);
            let (begin, end) = scaled.span(1, elements.0, elements.1);
            let mut found = vec![1; 3];
            scaled.untile(elements, &bytes[begin as usize..end as usize], &mut found);
            let cells = |row| (0..4 * across).map(move |cell| tiled(row, cell, across));
            let wanted: Vec<u8> = rows.flat_map(cells).map(|at| bytes[at]).collect();
            assert!(found == wanted, "{columns}");
        }
    }
}
