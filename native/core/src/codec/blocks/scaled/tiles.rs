//! Scales in the tiles of 128 × 4 that cuBLAS takes.

use super::Scaled;

/// Rows of a tile.
pub(super) const ROWS: u64 = 128;

/// Scales of a row in a tile, which lie together.
pub(super) const FOUR: usize = 4;

/// Bytes of a tile.
pub(super) const TILE: usize = 512;

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
        rows.resize((last - first + 1) as usize * across as usize * FOUR, 0);
        let (targets, _) = rows.as_chunks_mut::<FOUR>();
        for (tile, number) in tiles.as_chunks::<TILE>().0.iter().zip(0..) {
            let (fours, _) = tile.as_chunks::<FOUR>();
            let top = (first / ROWS + number / across) * ROWS;
            for row in first.max(top)..(last + 1).min(top + ROWS) {
                targets[((row - first) * across + number % across) as usize] = fours[place(row)];
            }
        }
    }
}
