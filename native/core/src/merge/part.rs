//! Elements of a job that a thread computes in one go.

use super::queue::Unit;
use super::read_mode::ReadMode;
use super::request::Job;
use super::Sources;
use crate::error::Result;
use crate::program::stage::Stage;
use crate::vm::frame::{Encoding, Frame};
use crate::vm::geometry::Geometry;
use crate::vm::view::View;

/// Elements of a unit of a job that lie together: all of them, or a tile of a sample.
#[derive(Clone, Copy)]
pub(super) struct Part<'u, 'a> {
    pub(super) unit: &'u Unit<'a>,
    pub(super) index: usize,
    pub(super) job: &'a Job,
    pub(super) stage: &'a Stage,
    pub(super) geometry: Geometry,
    /// First element.
    pub(super) begin: u64,
    /// One past the last.
    pub(super) end: u64,
    /// First tile and one past the last, if something is collected.
    pub(super) tiles: (u64, u64),
    /// Whether inputs are read where they lie, which is not in the caches.
    pub(super) mapped: bool,
    /// How inputs are read, and from where.
    pub(super) mode: ReadMode,
    pub(super) sources: &'a Sources<'a>,
}

impl Part<'_, '_> {
    /// Be done with the part of every input.
    pub(super) fn release(&self) -> Result<()> {
        for input in &self.stage.inputs {
            self.job.inputs[*input].release(self.sources, self.begin, self.end)?;
        }
        Ok(())
    }

    /// Bytes of the inputs that the stage uses.
    pub(super) fn bytes_read(&self) -> u64 {
        let inputs = self.stage.inputs.iter().map(|input| &self.job.inputs[*input]);
        inputs.map(|input| input.bytes_before(self.end) - input.bytes_before(self.begin)).sum()
    }

    pub(super) fn output_length(&self) -> usize {
        (self.end - self.begin) as usize * self.job.dtype.bytes()
    }

    pub(super) fn frame<'f>(&'f self, inputs: &'f [View<'f>], by_chance: bool) -> Frame<'f> {
        let dtype = self.job.dtype;
        // What is not rounded needs no draws.
        let encoding = Encoding { dtype, by_chance: by_chance && dtype.bytes() < 4 };
        Frame {
            stage: self.stage,
            inputs,
            scalars: &self.unit.pass.scalars,
            vectors: &self.unit.pass.vectors,
            geometry: self.geometry,
            seed: self.job.seed,
            begin: self.begin,
            encoding,
            past: false,
        }
    }
}
