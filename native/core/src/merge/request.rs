//! What a caller asks for.

use super::encoding::Encoding;
use super::findings::Findings;
use super::input::Input;
use super::maps::Maps;
use super::sink::Sink;
use super::source::Source;
use crate::dtype::Dtype;
use crate::program::Program;

/// What a job's output is a change of.
#[derive(Debug, Clone, PartialEq)]
pub struct Base {
    /// A tensor of the job's shape.
    pub input: Input,
    /// How many elements are looked at, in the middle of the tensor.
    pub sample: u64,
}

/// One tensor to compute.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Index of the program.
    pub program: usize,
    /// The program's inputs; all have the job's shape.
    pub inputs: Vec<Input>,
    /// The program's hyperparameters.
    pub scalars: Vec<f64>,
    /// Sizes, outermost first.
    pub shape: Vec<u64>,
    /// Index of the sink.
    pub sink: usize,
    /// First byte in the sink.
    pub offset: u64,
    /// Element type of the output.
    pub dtype: Dtype,
    /// Seed of the random numbers, and of stochastic rounding.
    pub seed: u64,
    /// If it is known, the report tells how much of the change rounding leaves.
    pub base: Option<Base>,
    /// How many elements of the output are computed and written, from the first on; all if none.
    pub wanted: Option<u64>,
    /// How the output is encoded, if it is no plain numbers; its type means nothing then.
    pub encoding: Option<Box<Encoding>>,
}

impl Job {
    /// Number of elements.
    pub(crate) fn elements(&self) -> u64 {
        self.shape.iter().product()
    }

    /// Number of elements of the output.
    pub(crate) fn outputs(&self) -> u64 {
        self.wanted.map_or(self.elements(), |wanted| wanted.min(self.elements()))
    }
}

/// A range of bytes to copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copy {
    /// Index of the source.
    pub source: usize,
    /// First byte in the source.
    pub source_offset: u64,
    /// Number of bytes.
    pub length: u64,
    /// Index of the sink.
    pub sink: usize,
    /// First byte in the sink.
    pub offset: u64,
}

/// What to do about a NaN or infinity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnNonFinite {
    /// Stop with an error.
    Error,
    /// Go on and list it in the report.
    Report,
}

/// How results become numbers of a 16- or 8-bit type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// To nearest even.
    Nearest,
    /// Up or down by chance, from the job's seed and the element's index.
    Stochastic,
}

/// How source files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoMode {
    /// The faster one: maps into memory, reads into files.
    Auto,
    /// Positioned reads into buffers.
    Read,
    /// Memory maps.
    Mmap,
}

/// How to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Worker threads; 0 is one per core.
    pub threads: usize,
    /// Budget in bytes for all buffers together.
    pub memory: u64,
    /// What to do about a NaN or infinity.
    pub on_nonfinite: OnNonFinite,
    /// How source files are read.
    pub io: IoMode,
    /// How results are rounded.
    pub rounding: Rounding,
}

/// A whole merge.
#[derive(Debug)]
pub struct Request<'a> {
    /// What jobs refer to by index.
    pub programs: Vec<&'a Program>,
    /// What inputs and copies refer to by index.
    pub sources: Vec<Source<'a>>,
    /// What outputs refer to by index.
    pub sinks: Vec<Sink<'a>>,
    /// Tensors to compute.
    pub jobs: Vec<Job>,
    /// Ranges to copy.
    pub copies: Vec<Copy>,
    /// Where maps stay for the next run, if all sinks are memory; none do without.
    pub maps: Option<&'a Maps>,
    /// Where it is kept what passes find, for the next run.
    pub findings: Option<&'a Findings>,
    /// How to run.
    pub options: Options,
}
