//! Reductions: what a pass over the elements leaves behind.
//!
//! Sums are float64 and their order follows from the shape alone. A tensor is cut into *tiles* of
//! about 65,536 elements ([`tiling`]) that hold whole rows or vectors where these are reduced and
//! fit. A thread reduces a tile by itself ([`local`]); what it finds is put together in the order
//! of the tiles ([`gather`]), whichever thread was first. Absolute values are selected by counting
//! ([`kth`]), which has no order.

mod fold;
mod gather;
mod kth;
mod local;
mod tiling;

pub(crate) use gather::{Found, Gather};
pub(crate) use kth::{divide, Bracket};
pub(crate) use local::Local;
pub(crate) use tiling::Tiling;

use crate::program::stage::{Collect, Collector, Stage};
use crate::program::{Axis, Reduction};
use crate::vm::geometry::Geometry;

/// How a collector's values lie in a tensor of a certain shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// One value from the whole tensor.
    Whole(Reduction),
    /// One value per column.
    Columns(Reduction),
    /// One value per vector of the last dim.
    Vectors(Reduction),
    /// Counts of absolute values by their upper bits.
    Coarse,
    /// Counts of absolute values below a bracket, and of each within it.
    Fine(Bracket),
}

impl Form {
    /// The form of a collector; an axis that is the whole tensor counts as such. `bracket` is
    /// what the collector's node found in the pass before.
    fn of(what: Collector, geometry: &Geometry, bracket: Bracket) -> Self {
        match what {
            Collector::KthBracket => Self::Coarse,
            Collector::KthValue => Self::Fine(bracket),
            Collector::Reduce(op, Axis::Rows) if geometry.columns > 1 => Self::Columns(op),
            Collector::Reduce(op, Axis::Last) if geometry.last < geometry.elements => {
                Self::Vectors(op)
            }
            Collector::Reduce(op, _) => Self::Whole(op),
        }
    }

    /// The forms of all collectors of a stage; `brackets` gives what a node found before.
    pub(crate) fn all(
        stage: &Stage,
        geometry: &Geometry,
        brackets: impl Fn(usize) -> Bracket,
    ) -> Vec<Self> {
        let form = |collect: &Collect| Self::of(collect.what, geometry, brackets(collect.node));
        stage.collects.iter().map(form).collect()
    }
}
