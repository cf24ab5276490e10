//! Windows 10 and later.

pub(super) mod file;
pub(super) mod memory;
