//! `merge` and `Report`.

use std::sync::Arc;

use bmerge_core::merge as core;
use bmerge_core::merge::{Base, IoMode, OnNonFinite, Options, Rounding, SharedBytes, Sink};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::buffer::Buffer;
use crate::errors::{signed, to_python, ProgramError};
use crate::input::{encoding, input, named};
use crate::output::OutputFile;
use crate::program::Program;
use crate::progress::Progress;
use crate::source::{pin_source, source};

/// What one merge did.
#[pyclass(frozen, module = "bmerge._native")]
pub(crate) struct Report(core::Report);

#[pymethods]
impl Report {
    /// (job, input) with a NaN or infinity; input -1: finite inputs, output is not.
    #[getter]
    fn nonfinite(&self) -> Vec<(usize, i64)> {
        self.0.nonfinite.iter().map(|row| (row.0, signed(row.1))).collect()
    }

    /// (job, change, arrived, size, beyond) of jobs with a base: sums over a sample of their elements.
    #[getter]
    fn rounded(&self) -> Vec<(usize, f64, f64, f64, f64)> {
        let jobs = self.0.rounded_by_job();
        jobs.into_iter().map(|(job, at)| (job, at.change, at.arrived, at.size, at.beyond)).collect()
    }

    /// Bytes of inputs that were decoded, every pass counted.
    #[getter]
    fn bytes_read(&self) -> u64 {
        self.0.bytes_read
    }

    /// Bytes of outputs that were computed and written.
    #[getter]
    fn bytes_written(&self) -> u64 {
        self.0.bytes_written
    }

    /// The way of reading that was found to be the faster, "read" or "mmap", and nanoseconds per
    /// byte of both; `None` if there was no choice, or too little to read.
    #[getter]
    fn reading(&self) -> Option<(&'static str, f64, f64)> {
        self.0.reading.map(|found| {
            let mode = match found.mode {
                core::ReadMode::Read => "read",
                core::ReadMode::Map => "mmap",
            };
            (mode, found.costs[0], found.costs[1])
        })
    }

    /// Bytes that one call wrote, and nanoseconds per byte of large and of small calls; `None` if too
    /// little was written.
    #[getter]
    fn writing(&self) -> Option<(usize, f64, f64)> {
        self.0.writing.map(|found| (found.piece, found.costs[0], found.costs[1]))
    }

    /// Number of worker threads.
    #[getter]
    fn threads(&self) -> usize {
        self.0.threads
    }

    /// The vector instructions: "portable", "avx2" or "avx512".
    #[getter]
    fn vectors(&self) -> &'static str {
        self.0.vectors
    }

    /// Bytes that were copied unchanged.
    #[getter]
    fn bytes_copied(&self) -> u64 {
        self.0.bytes_copied
    }

    fn __repr__(&self) -> String {
        let core::Report { bytes_read, bytes_written, bytes_copied, nonfinite, .. } = &self.0;
        format!(
            "Report(bytes_read={bytes_read}, bytes_written={bytes_written}, \
             bytes_copied={bytes_copied}, nonfinite={})",
            nonfinite.len()
        )
    }
}

/// Maps of files that stay from merge to merge.
#[pyclass(frozen, module = "bmerge._native")]
pub(crate) struct Maps(core::Maps);

#[pymethods]
impl Maps {
    #[new]
    #[pyo3(signature = (limit = None))]
    fn new(limit: Option<u64>) -> Self {
        Self(core::Maps::new(limit))
    }
}

/// What passes have found in files, kept from merge to merge.
#[pyclass(frozen, module = "bmerge._native")]
pub(crate) struct Findings(core::Findings);

#[pymethods]
impl Findings {
    #[new]
    fn new() -> Self {
        Self(core::Findings::default())
    }
}

/// A job as Python gives it.
type RawJob<'py> =
    (usize, Vec<Bound<'py, PyAny>>, Vec<f64>, Vec<u64>, usize, u64, Bound<'py, PyAny>, u64);

/// A copy as Python gives it.
type RawCopy = (usize, u64, u64, usize, u64);

/// What a job changes, as Python gives it: job, input, sample.
type RawBase<'py> = (usize, Bound<'py, PyAny>, u64);

/// A sink as Python gives it, pinned.
enum Output<'py> {
    File(PyRef<'py, OutputFile>),
    Buffer(Buffer<'py>),
}

/// Run every job and copy.
#[pyfunction]
#[pyo3(
    signature = (*, programs, sources, sinks, jobs, copies = Vec::new(), threads = 0,
        memory = 33_554_432, progress = None, on_nonfinite = "error", io = "auto",
        rounding = "nearest", wanted = Vec::new(), bases = Vec::new(), maps = None,
        findings = None),
    text_signature = "(*, programs, sources, sinks, jobs, copies=(), threads=0, \
        memory=33554432, progress=None, on_nonfinite='error', io='auto', rounding='nearest', \
        wanted=(), bases=(), maps=None, findings=None)"
)]
#[allow(clippy::too_many_arguments)] // keyword-only, as documented
pub(crate) fn merge<'py>(
    py: Python<'py>,
    programs: Vec<PyRef<'py, Program>>,
    sources: Vec<Bound<'py, PyAny>>,
    sinks: Vec<Bound<'py, PyAny>>,
    jobs: Bound<'py, PyAny>,
    copies: Vec<RawCopy>,
    threads: usize,
    memory: u64,
    progress: Option<PyRef<'py, Progress>>,
    on_nonfinite: &str,
    io: &str,
    rounding: &str,
    wanted: Vec<(usize, u64)>,
    bases: Vec<RawBase<'py>>,
    maps: Option<PyRef<'py, Maps>>,
    findings: Option<PyRef<'py, Findings>>,
) -> PyResult<Report> {
    let inputs = sources.iter().map(pin_source).collect::<PyResult<Vec<_>>>()?;
    let mut outputs = sinks.iter().map(pin_sink).collect::<PyResult<Vec<_>>>()?;
    let on_nonfinite = parse_on_nonfinite(on_nonfinite)?;
    // One by one: of a million jobs, Python's objects would take as much again as all else.
    let mut jobs = jobs
        .try_iter()?
        .enumerate()
        .map(|(index, raw)| job(raw?.extract()?).map_err(|error| named(py, index, error)))
        .collect::<PyResult<Vec<_>>>()?;
    for (index, count) in wanted {
        let missing = || ProgramError::new_err(format!("wanted: there is no job {index}"));
        jobs.get_mut(index).ok_or_else(missing)?.wanted = Some(count);
    }
    for (index, raw, sample) in bases {
        let missing = || ProgramError::new_err(format!("bases: there is no job {index}"));
        let input = input(&raw).map_err(|error| named(py, index, error))?;
        jobs.get_mut(index).ok_or_else(missing)?.base = Some(Base { input, sample });
    }
    let request = core::Request {
        programs: programs.iter().map(|program| &program.0).collect(),
        sources: inputs.iter().map(source).collect(),
        sinks: outputs.iter_mut().map(sink).collect(),
        jobs,
        copies: copies.into_iter().map(copy).collect(),
        maps: maps.as_ref().map(|maps| &maps.0),
        findings: findings.as_ref().map(|findings| &findings.0),
        options: Options {
            threads,
            memory,
            on_nonfinite,
            io: parse_io(io)?,
            rounding: parse_rounding(rounding)?,
        },
    };
    let progress = progress.map_or_else(Arc::default, |progress| Arc::clone(&progress.0));
    run(py, &request, &progress)
}

/// Run with the GIL released; a signal's exception, if one came, is the result.
fn run(py: Python<'_>, request: &core::Request, progress: &core::Progress) -> PyResult<Report> {
    let mut interrupt = None;
    let result = py.detach(|| {
        core::run(request, progress, || {
            #[allow(clippy::redundant_closure_for_method_calls)]
            // the method alone has one lifetime
            let signals = Python::attach(|py| py.check_signals());
            signals.map_err(|error| interrupt = Some(error)).is_ok()
        })
    });
    match (interrupt, result) {
        (Some(error), _) => Err(error),
        (None, result) => result.map(Report).map_err(|error| to_python(py, &error)),
    }
}

fn pin_sink<'py>(object: &Bound<'py, PyAny>) -> PyResult<Output<'py>> {
    if let Ok(file) = object.extract::<PyRef<'py, OutputFile>>() {
        return Ok(Output::File(file));
    }
    Buffer::writable(object).map(Output::Buffer)
}

fn sink<'a>(output: &'a mut Output<'_>) -> Sink<'a> {
    match output {
        Output::File(file) => Sink::File(&file.0),
        Output::Buffer(buffer) => Sink::Bytes(SharedBytes::new(buffer.bytes_mut())),
    }
}

fn job(raw: RawJob) -> PyResult<core::Job> {
    let (program, inputs, scalars, shape, sink, offset, dtype, seed) = raw;
    let (dtype, encoding) = encoding(&dtype)?;
    let inputs = inputs.iter().map(input).collect::<PyResult<_>>()?;
    let (base, wanted, encoding) = (None, None, encoding.map(Box::new));
    Ok(core::Job {
        program,
        inputs,
        scalars,
        shape,
        sink,
        offset,
        dtype,
        seed,
        base,
        wanted,
        encoding,
    })
}

fn copy((source, source_offset, length, sink, offset): RawCopy) -> core::Copy {
    core::Copy { source, source_offset, length, sink, offset }
}

fn parse_on_nonfinite(text: &str) -> PyResult<OnNonFinite> {
    match text {
        "error" => Ok(OnNonFinite::Error),
        "report" => Ok(OnNonFinite::Report),
        _ => Err(PyValueError::new_err(format!(
            "on_nonfinite is {text:?}; allowed: \"error\", \"report\""
        ))),
    }
}

fn parse_io(text: &str) -> PyResult<IoMode> {
    match text {
        "auto" => Ok(IoMode::Auto),
        "read" => Ok(IoMode::Read),
        "mmap" => Ok(IoMode::Mmap),
        _ => Err(PyValueError::new_err(format!(
            "io is {text:?}; allowed: \"auto\", \"read\", \"mmap\""
        ))),
    }
}

fn parse_rounding(text: &str) -> PyResult<Rounding> {
    match text {
        "nearest" => Ok(Rounding::Nearest),
        "stochastic" => Ok(Rounding::Stochastic),
        _ => Err(PyValueError::new_err(format!(
            "rounding is {text:?}; allowed: \"nearest\", \"stochastic\""
        ))),
    }
}
