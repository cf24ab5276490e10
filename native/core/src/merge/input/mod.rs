//! Where the elements of a job's inputs come from.
//!
//! To a program an input is a tensor of the job's shape. It may be stored as one range of a source,
//! or be put together from segments of several stored tensors, laid one after another. [`reading`]
//! brings a part of it into memory.

pub(super) mod bounds;
mod coded;
mod patched;
mod raw;
pub(super) mod reading;
mod stored;

pub use coded::{Coded, Place};
pub use patched::{
    rotations, Change, Delta, Factor, Form, Found, Lengths, Matrix, Patched, Stages, Turns,
};
pub use stored::{Plain, Stored};

use super::Sources;
use crate::dtype::Dtype;
use crate::error::{Error, Result};

/// Whole blocks of codes of most formats: to decode a part of one takes as long.
const BLOCK: u64 = 256;

/// An input of a job: a tensor of the job's shape.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// Stored as it is.
    One(Stored),
    /// Runs of elements, one after another.
    Segments(Vec<Segment>),
}

/// A run of elements of something stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// Where the elements come from.
    pub stored: Stored,
    /// The first of its elements.
    pub first: u64,
    /// How many of them.
    pub count: u64,
}

/// A part of an input that is of one segment.
#[derive(Debug, Clone, Copy)]
struct Run<'a> {
    stored: &'a Stored,
    /// Its first element, in what is stored.
    first: u64,
    count: u64,
}

impl From<Plain> for Input {
    fn from(plain: Plain) -> Self {
        Self::One(Stored::Plain(plain))
    }
}

impl Input {
    /// The type in which a program gets its elements: the stored one, or F32 where that is not one
    /// that all are stored in.
    pub(super) fn dtype(&self) -> Dtype {
        match self {
            Self::One(stored) => stored.dtype(),
            Self::Segments(segments) => {
                let mut dtypes = segments.iter().map(|segment| segment.stored.dtype());
                let first = dtypes.next().unwrap_or(Dtype::F32);
                if dtypes.all(|dtype| dtype == first) {
                    first
                } else {
                    Dtype::F32
                }
            }
        }
    }

    /// The stored range, if the input is no more than that.
    pub(super) fn plain(&self) -> Option<&Plain> {
        match self {
            Self::One(Stored::Plain(plain)) => Some(plain),
            Self::One(_) | Self::Segments(_) => None,
        }
    }

    /// The codes, if the input is no more than those.
    pub(super) fn coded(&self) -> Option<&Coded> {
        match self {
            Self::One(Stored::Coded(coded)) => Some(coded),
            Self::One(_) | Self::Segments(_) => None,
        }
    }

    /// Whether its elements are computed before a program gets them.
    pub(super) fn is_decoded(&self) -> bool {
        match self {
            Self::One(stored) => matches!(stored, Stored::Patched(_)),
            Self::Segments(segments) => {
                let dtype = self.dtype();
                let plain = |stored: &Stored| matches!(stored, Stored::Plain(_));
                segments.iter().any(|each| !plain(&each.stored) || each.stored.dtype() != dtype)
            }
        }
    }

    /// Whether its bytes are many short runs.
    pub(super) fn is_scattered(&self) -> bool {
        match self {
            Self::One(stored) => stored.is_scattered(),
            Self::Segments(segments) => segments.iter().any(|each| each.stored.is_scattered()),
        }
    }

    /// Whether a part of it takes a buffer.
    pub(super) fn needs_buffer(&self, sources: &Sources) -> bool {
        match self {
            Self::One(Stored::Plain(plain)) => sources[plain.source].needs_buffer(),
            Self::One(Stored::Coded(coded)) => coded.needs_buffer(sources),
            Self::One(Stored::Patched(_)) | Self::Segments(_) => true,
        }
    }

    /// Bytes that a thread holds while it computes the input, beside its part.
    pub(super) fn held(&self) -> u64 {
        match self {
            Self::One(stored) => stored.held(),
            Self::Segments(segments) => {
                segments.iter().map(|segment| segment.stored.held()).max().unwrap_or(0)
            }
        }
    }

    /// Elements that are best computed together; 1 if it makes no difference.
    pub(super) fn together(&self) -> u64 {
        match self {
            Self::One(Stored::Patched(patched)) => patched.together(),
            Self::One(Stored::Coded(_)) => BLOCK,
            Self::One(Stored::Plain(_)) | Self::Segments(_) => 1,
        }
    }

    /// Elements that have enough rows to be computed side by side; 0 if it makes no difference.
    pub(super) fn tall(&self) -> u64 {
        let tall = |stored: &Stored| match stored {
            Stored::Patched(patched) => patched.tall(),
            Stored::Plain(_) | Stored::Coded(_) => 0,
        };
        match self {
            Self::One(stored) => tall(stored),
            Self::Segments(segments) => {
                segments.iter().map(|segment| tall(&segment.stored)).max().unwrap_or(0)
            }
        }
    }

    /// Bytes that are read for the elements before that one.
    pub(super) fn bytes_before(&self, element: u64) -> u64 {
        match self {
            Self::One(stored) => stored.bytes(0, element),
            Self::Segments(_) => {
                let runs = self.runs(0, element);
                runs.map(|run| run.stored.bytes(run.first, run.first + run.count)).sum()
            }
        }
    }

    /// Check that it has so many elements, and its sources have them.
    pub(super) fn check(&self, sources: &Sources, elements: u64) -> Result<()> {
        let segments = match self {
            Self::One(stored) => return stored.check(sources, elements),
            Self::Segments(segments) => segments,
        };
        let mut total = Some(0_u64);
        for segment in segments {
            let end = segment.first.checked_add(segment.count);
            let end = end.ok_or_else(|| Error::program("a segment's end overflows"))?;
            segment.stored.check(sources, end)?;
            total = total.and_then(|total| total.checked_add(segment.count));
        }
        if total == Some(elements) {
            return Ok(());
        }
        let total = total.map_or("too many".to_owned(), |total| total.to_string());
        Err(Error::Program(format!("its segments have {total} elements; its shape has {elements}")))
    }

    /// The runs from element `begin` up to `end`.
    fn runs(&self, begin: u64, end: u64) -> impl Iterator<Item = Run<'_>> {
        let (one, segments) = match self {
            Self::One(stored) => {
                (Some(Run { stored, first: begin, count: end - begin }), &[] as &[Segment])
            }
            Self::Segments(segments) => (None, &segments[..]),
        };
        let mut place = 0;
        let cut = segments.iter().filter_map(move |segment| {
            let start = place;
            place += segment.count;
            let (from, to) = (begin.max(start), end.min(place));
            let first = segment.first + from.saturating_sub(start);
            (from < to).then(|| Run { stored: &segment.stored, first, count: to - from })
        });
        one.into_iter().chain(cut)
    }
}
