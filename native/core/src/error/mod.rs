//! The one error type of the crate.

mod header;

use std::io;
use std::path::PathBuf;

use thiserror::Error;

pub use header::{HeaderError, TensorFault};

/// What can go wrong; messages are lower case and one line.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A file is not valid safetensors, or a layout cannot be written as such.
    #[error("{}{source}", prefix(path.as_ref()))]
    Header {
        /// The file, if the header came from one.
        path: Option<PathBuf>,
        /// What is wrong with it.
        source: HeaderError,
    },
    /// A program is malformed, or a job does not fit its program, sources or sinks.
    #[error("{0}")]
    Program(String),
    /// The operating system refused an operation.
    #[error("{}cannot {action}: {source}", prefix(path.as_ref()))]
    Io {
        /// The file, if known.
        path: Option<PathBuf>,
        /// The verb and object, as in "cannot open file".
        action: &'static str,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A range lies outside a file or buffer, or a file shrank while it was read.
    #[error("{name}: {message}")]
    Range {
        /// The file, if it is one.
        path: Option<PathBuf>,
        /// The file's path or the buffer's place in the list.
        name: String,
        /// The range and the size.
        message: String,
    },
    /// The run was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// A NaN or infinity was met and the run was told to stop at one.
    #[error("job {job}: {} is not finite", describe(*input))]
    NonFinite {
        /// Index of the job.
        job: usize,
        /// Index of the job's input; `None` is the output.
        input: Option<usize>,
    },
}

/// Short for a result with this crate's error.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A program error.
    pub(crate) fn program(message: impl Into<String>) -> Self {
        Self::Program(message.into())
    }

    /// An error of the operating system on a file.
    pub(crate) fn io(path: impl Into<PathBuf>, action: &'static str, source: io::Error) -> Self {
        Self::Io { path: Some(path.into()), action, source }
    }

    /// Name the file that a header error is about.
    #[must_use]
    pub(crate) fn at(self, file: impl Into<PathBuf>) -> Self {
        match self {
            Self::Header { path: None, source } => Self::Header { path: Some(file.into()), source },
            other => other,
        }
    }
}

impl From<HeaderError> for Error {
    /// A header error without a path; see [`Error::at`].
    fn from(source: HeaderError) -> Self {
        Self::Header { path: None, source }
    }
}

fn prefix(path: Option<&PathBuf>) -> String {
    path.map_or_else(String::new, |path| format!("{}: ", path.display()))
}

fn describe(input: Option<usize>) -> String {
    input.map_or_else(|| "the output".to_owned(), |index| format!("input {index}"))
}
