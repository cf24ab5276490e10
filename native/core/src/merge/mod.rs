//! Runs jobs and copies on all threads, in constant memory.
//!
//! [`run`] validates everything ([`check`]), orders the work by its place in the output and hands
//! *units* (a range of elements of one job in one pass, or a piece of a copy) to worker threads
//! ([`queue`], [`worker`]). One huge tensor is many units and many tiny ones are many jobs, so all
//! threads are busy either way. A job of several passes moves on when all units of a pass are
//! over; meanwhile threads take units of other jobs.

mod check;
mod compute;
mod course;
mod encoding;
mod findings;
mod finish;
mod input;
mod job;
mod mapping;
mod maps;
mod memory;
mod open;
mod pairs;
mod part;
mod pass;
mod progress;
mod queue;
mod read_mode;
mod report;
mod request;
mod rounding;
mod shared;
mod sink;
mod source;
mod stream;
mod worker;

pub use encoding::Encoding;
pub use findings::Findings;
pub use input::{
    rotations, Change, Coded, Delta, Factor, Form, Found, Input, Lengths, Matrix, Patched, Place,
    Plain, Segment, Stages, Stored, Turns,
};
pub use maps::Maps;
pub use progress::Progress;
pub use read_mode::{ReadMode, Reading};
pub use report::Report;
pub use request::{Base, Copy, IoMode, Job, OnNonFinite, Options, Request, Rounding};
pub use rounding::Rounded;
pub use sink::{SharedBytes, Sink};
pub use source::Source;

use std::sync::mpsc;
use std::time::Duration;

use crate::codec::{self, Portable};
use crate::dtype::Dtype;
use crate::error::{Error, Result};
use crate::vm::Level;
use course::Course;
use input::reading::Buffer;
use queue::Queue;
use read_mode::ReadModes;
use shared::Shared;
use source::Opened;
use worker::Worker;

/// How often the calling thread looks after the others.
const TICK: Duration = Duration::from_millis(20);

/// Run a request to its end.
///
/// `tick` is called on this thread every few milliseconds while the workers run; when it returns
/// false the run is cancelled.
pub fn run(request: &Request, progress: &Progress, tick: impl FnMut() -> bool) -> Result<Report> {
    let sources = open::open_all(request)?;
    check::check(request, &sources)?;
    let threads = memory::threads(&request.options);
    let items = job::items(request, &sources, threads);
    let bytes = items.iter().map(|item| item.work).sum();
    progress.begin(bytes);
    let modes = ReadModes::new(request, &sources, bytes)?;
    let recollection = request.findings.map(|findings| findings.begin(request, &sources));
    let course = Course::new(recollection, progress);
    let queue = Queue::new(items, &course, progress);
    let shared = Shared::new(request, &sources, &modes, (&queue, &course), progress);
    let threads = work(&shared, threads, tick);
    let report = shared.finish()?;
    modes.check_whole()?;
    let writing = request.sinks.iter().find_map(Sink::writing);
    let vectors = Level::detect().name();
    Ok(Report { reading: modes.found(), writing, threads, vectors, ..report })
}

/// Decode a whole input to bytes of F32; `target` has four times as many as the input has elements.
pub fn decode(sources: &[Source], input: &Input, target: &mut [u8]) -> Result<()> {
    const PIECE: usize = 64 * 1024;
    let sources = open::open_plainly(sources)?;
    input.check(&sources, (target.len() / 4) as u64)?;
    let (mut buffer, mut values) = (Buffer::default(), vec![0.0; PIECE.min(target.len() / 4)]);
    for (index, piece) in target.chunks_mut(4 * PIECE).enumerate() {
        let values = &mut values[..piece.len() / 4];
        input.values(&sources, (index * PIECE) as u64, values, &mut buffer)?;
        codec::encode::<Portable>(Dtype::F32, values, piece);
    }
    Ok(())
}

/// Run the workers and look after them; return how many there were.
///
/// Where the system lets no more threads begin, those that there are do all of the work.
fn work(shared: &Shared, threads: usize, mut tick: impl FnMut() -> bool) -> usize {
    let (over, news) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let mut running = 0;
        for _ in 0..threads {
            let over = over.clone();
            let begun = std::thread::Builder::new().spawn_scoped(scope, move || {
                let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    Worker::new(shared).run();
                }));
                if caught.is_err() {
                    shared.fail(Error::program("internal error: a worker thread panicked"));
                }
                drop(over);
            });
            match begun {
                Ok(_) => running += 1,
                Err(source) => {
                    if running == 0 {
                        shared.fail(Error::Io { path: None, action: "start a thread", source });
                    }
                    break;
                }
            }
        }
        drop(over);
        // Nothing is ever sent: the channel is closed by the last worker.
        while matches!(news.recv_timeout(TICK), Err(mpsc::RecvTimeoutError::Timeout)) {
            if !tick() {
                shared.progress.cancel();
            }
            if shared.progress.cancelled() {
                shared.queue.stop();
            }
        }
        running
    })
}

/// Sources as the workers see them.
type Sources<'a> = [Opened<'a>];
