//! A register's contents.

/// Elements of a block.
pub(crate) const BLOCK: usize = 1024;

/// One block, aligned for the widest vector instructions.
#[derive(Clone)]
#[repr(C, align(64))]
pub(crate) struct Block(pub(crate) [f32; BLOCK]);

/// Elements of a strip, which all instructions of a stage run over before the next: as many
/// registers as a method has stay in the first-level cache.
pub(crate) const STRIP: usize = 512;

/// A part of a block.
pub(crate) type Strip = [f32; STRIP];

impl Block {
    pub(crate) fn zeroed() -> Box<Self> {
        Box::new(Self([0.0; BLOCK]))
    }

    /// The strip of a number.
    #[inline(always)]
    pub(crate) fn strip(&self, index: usize) -> &Strip {
        &self.0.as_chunks().0[index]
    }

    /// The same to write to.
    #[inline(always)]
    pub(crate) fn strip_mut(&mut self, index: usize) -> &mut Strip {
        &mut self.0.as_chunks_mut().0[index]
    }
}

/// An argument of a kernel: a strip of a block, or one number for all elements.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    Strip(&'a Strip),
    Splat(f32),
}
