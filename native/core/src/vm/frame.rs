//! What blocks are computed from.

use std::sync::Arc;

use super::geometry::Geometry;
use super::view::View;
use crate::dtype::Dtype;
use crate::program::stage::Stage;

/// What a run of blocks is computed from, and what becomes of the results.
#[derive(Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub(crate) stage: &'a Stage,
    /// The stage's inputs from element `begin` on.
    pub(crate) inputs: &'a [View<'a>],
    /// The stage's scalars.
    pub(crate) scalars: &'a [f32],
    /// One place per node; filled for reductions along an axis.
    pub(crate) vectors: &'a [Arc<Vec<f32>>],
    pub(crate) geometry: Geometry,
    pub(crate) seed: u64,
    /// The first element of the run.
    pub(crate) begin: u64,
    /// How the output is encoded; for a stage without any it means nothing.
    pub(crate) encoding: Encoding,
    /// Whether the output is written past the caches, as [`super::machine::Machine::writes_past`] can.
    pub(crate) past: bool,
}

/// How numbers become bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Encoding {
    pub(crate) dtype: Dtype,
    /// Rounding is by chance, from the frame's seed; else to nearest even.
    pub(crate) by_chance: bool,
}
