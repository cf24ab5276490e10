//! Greatest magnitudes of the cells that several rows have a part in.

use super::super::round::greatest;
use super::super::scaled::Scales;
use super::rows::Rows;

impl Rows<'_> {
    /// Note the greatest magnitudes of elements from number `begin` on; whether all are finite.
    #[inline(always)]
    pub(super) fn measure(self, begin: u64, values: &[f32]) -> bool {
        let scaled = self.scaled;
        let (rows, columns, across) = match scaled.scales {
            Scales::Grid { rows, columns, across } if !scaled.tensor_scale => {
                (rows, columns, across)
            }
            _ => (u64::MAX, u64::MAX, 1),
        };
        let whole = rows >= scaled.rows && columns >= scaled.columns;
        let (mut finite, mut element, mut rest) = (true, begin, values);
        while !rest.is_empty() {
            let (row, column) = (element / scaled.columns, element % scaled.columns);
            let left = (columns - column % columns).min(scaled.columns - column);
            let left = if whole { u64::MAX } else { left };
            let (run, others) = rest.split_at(left.min(rest.len() as u64) as usize);
            let (greatest, all) = greatest(run);
            finite &= all;
            let cell = row / rows * across + column / columns;
            self.companions.reach_in(cell as usize, greatest);
            element += run.len() as u64;
            rest = others;
        }
        finite
    }
}
