//! How large buffers may be.

use super::input::Input;
use super::request::{Job, Options, Request};
use super::Sources;
use crate::program::Program;
use crate::vm::BLOCK;

/// More elements per unit gain nothing (measured), fewer cost system calls.
const MOST: u64 = 128 * 1024;

/// More elements per unit than this, put together before they are computed with, leave the caches.
const MOST_DECODED: u64 = 32 * 1024;

/// Elements per unit that has as many rows as products of matrices like to have.
const MOST_TALL: u64 = 512 * 1024;

/// Elements per unit of what lies in many short runs: the more rows, the longer are these.
const MOST_SCATTERED: u64 = 512 * 1024;

/// Elements per unit of what is best computed together, and is no more than that: as many units as
/// compute the same rows read what these are made of.
const MOST_TOGETHER: u64 = 1024 * 1024;

/// Fewer elements per unit are not worth a system call.
const LEAST: u64 = 16 * 1024;

/// The number of worker threads.
pub(super) fn threads(options: &Options) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    match options.threads {
        0 => cores(),
        count => count.min(1024),
    }
}

/// Elements of one unit of a job, such that all threads' buffers fit the budget.
pub(super) fn unit_elements(
    request: &Request,
    sources: &Sources,
    program: &Program,
    job: &Job,
    threads: usize,
) -> u64 {
    let registers = program.stages().iter().map(|stage| stage.registers).max().unwrap_or(0);
    let fixed = ((registers + 1) * BLOCK * 4) as u64;
    let held: u64 = job.inputs.iter().map(Input::held).sum();
    let share = (request.options.memory / threads as u64).saturating_sub(fixed + held);
    let inputs = job.inputs.iter().filter(|input| input.needs_buffer(sources));
    let input_bytes: usize = inputs.map(|input| input.dtype().bytes()).sum();
    let per_element = (input_bytes + job.dtype.bytes()) as u64;
    let most = if job.inputs.iter().any(Input::is_scattered) {
        MOST_SCATTERED
    } else if job.inputs.iter().any(Input::is_decoded) {
        MOST_DECODED.max(tall(job))
    } else {
        MOST
    };
    let fitting = (share / per_element).clamp(LEAST, most);
    match together(job) {
        1 => fitting - fitting % LEAST,
        group if group <= fitting => fitting - fitting % group,
        group => group.min((share / per_element).clamp(LEAST, MOST_TOGETHER)),
    }
}

/// Elements of a unit that has enough rows for products, as a multiple of what one call writes.
fn tall(job: &Job) -> u64 {
    let wanted = job.inputs.iter().map(Input::tall).max().unwrap_or(0);
    wanted.next_multiple_of(MOST).min(MOST_TALL)
}

/// Elements of a job that are best computed together; 1 if it makes no difference.
pub(super) fn together(job: &Job) -> u64 {
    job.inputs.iter().map(Input::together).max().unwrap_or(1)
}
