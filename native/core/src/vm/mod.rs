//! Runs one pass of a program over blocks of elements.
//!
//! A block is [`BLOCK`] float32 values. All instructions run over a strip of it before the next strip:
//! small enough that a program's registers stay in the first-level cache, large enough that choosing
//! the instruction costs little. Every operation
//! is written once, as a loop over a strip of a block that the compiler vectorises; [`simd`] compiles
//! the machine's [`work`] once per instruction set. All of them give the same bits: nothing is fused,
//! reordered or approximated differently. The commonest programs have loops of their own
//! ([`direct`], and [`run`] where weights are codes), and of two 8-bit inputs all results are computed once ([`table`]), with the
//! same bits again.

pub(crate) mod block;
mod direct;
pub(crate) mod frame;
pub(crate) mod geometry;
mod index;
mod kernels;
pub(crate) mod machine;
mod math;
pub(crate) mod prefetch;
mod run;
pub(crate) mod simd;
mod table;
#[cfg(test)]
mod tests;
mod tree;
pub(crate) mod view;
mod votes;
mod work;

pub(crate) use block::BLOCK;
pub(crate) use simd::Level;
pub(crate) use table::is_pointwise;
