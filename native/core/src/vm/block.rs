//! A register's contents.

/// Elements of a block.
pub(crate) const BLOCK: usize = 1024;

/// One block, aligned for the widest vector instructions.
#[derive(Clone)]
#[repr(C, align(64))]
pub(crate) struct Block(pub(crate) [f32; BLOCK]);

impl Block {
    pub(crate) fn zeroed() -> Box<Self> {
        Box::new(Self([0.0; BLOCK]))
    }
}

/// An argument of a kernel: a block, or one number for all elements.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    Block(&'a Block),
    Splat(f32),
}
