//! The core as its callers use it: one executable, which is linked once.
#![allow(clippy::unwrap_used)] // a panic is a failed test

mod bounds;
mod common;
mod findings;
mod header;
mod maps;
mod merge;
mod of_weight;
mod output;
mod pairs;
mod patched;
mod program;
mod reduce;
mod rounding;
mod segments;
