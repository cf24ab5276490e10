//! Ways in which a tensor's elements are stored.

use super::super::check::{check_source, size};
use super::super::Sources;
use super::coded::Coded;
use super::Patched;
use crate::dtype::Dtype;
use crate::error::Result;

/// A range of a source that holds numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plain {
    /// Index of the source.
    pub source: usize,
    /// First byte.
    pub offset: u64,
    /// Element type.
    pub dtype: Dtype,
}

/// How elements are stored.
#[derive(Debug, Clone, PartialEq)]
pub enum Stored {
    /// As numbers.
    Plain(Plain),
    /// As codes with scales.
    Coded(Box<Coded>),
    /// As a tensor that others are added to.
    Patched(Patched),
}

impl Stored {
    /// The type in which its elements are had.
    pub(super) fn dtype(&self) -> Dtype {
        match self {
            Self::Plain(plain) => plain.dtype,
            Self::Coded(_) | Self::Patched(_) => Dtype::F32,
        }
    }

    /// Bytes that are read for elements from `begin` up to `end`, as a part of all.
    pub(super) fn bytes(&self, begin: u64, end: u64) -> u64 {
        match self {
            Self::Plain(plain) => (end - begin) * plain.dtype.bytes() as u64,
            Self::Coded(coded) => coded.bytes_before(end) - coded.bytes_before(begin),
            Self::Patched(patched) => {
                patched.base.bytes_before(end) - patched.base.bytes_before(begin)
            }
        }
    }

    /// Whether its bytes are many short runs.
    pub(super) fn is_scattered(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Coded(coded) => coded.codec.is_scattered(),
            Self::Patched(patched) => patched.base.is_scattered(),
        }
    }

    /// Bytes that a thread holds while it computes the elements.
    pub(super) fn held(&self) -> u64 {
        match self {
            Self::Plain(_) | Self::Coded(_) => 0,
            Self::Patched(patched) => patched.held(),
        }
    }

    /// Check that its sources have so many elements.
    pub(super) fn check(&self, sources: &Sources, elements: u64) -> Result<()> {
        match self {
            Self::Plain(plain) => {
                let length = size(plain.dtype, &[elements])?;
                check_source(sources, plain.source, plain.offset, length)
            }
            Self::Coded(coded) => coded.check(sources, elements),
            Self::Patched(patched) => patched.check(sources, elements),
        }
    }
}

impl Plain {
    /// Where elements lie: (first byte, bytes).
    pub(super) fn place(&self, first: u64, count: u64) -> (u64, usize) {
        let bytes = self.dtype.bytes() as u64;
        (self.offset + first * bytes, (count * bytes) as usize)
    }
}
