//! Files that appear under their name complete or not at all.

mod backlog;
mod file;
mod pieces;
mod temporary;

pub use file::OutputFile;
pub use pieces::Writing;
