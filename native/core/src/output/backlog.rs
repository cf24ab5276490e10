//! Writes that wait for the one that is going on.
//!
//! The kernel lets one thread at a time write to a file, and others spin until it is their turn. A
//! thread that finds another one writing leaves its bytes to that one here, and computes on.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::Result;

/// Writes that may wait; more gain nothing (measured), and all take memory.
const MOST: usize = 4;

/// What waits to be written to one file.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    state: Mutex<State>,
    shrunk: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Whether a thread is writing; only then may something wait.
    busy: bool,
    waiting: VecDeque<Pending>,
    /// Buffers of what has been written.
    spare: Vec<Vec<u8>>,
}

/// The first bytes of a buffer, and where they go.
#[derive(Debug)]
struct Pending {
    offset: u64,
    buffer: Vec<u8>,
    length: usize,
}

impl Backlog {
    /// Have `write` called with the first bytes of a buffer, on this thread or on the one that is
    /// writing. The buffer may be another one afterwards, of any length.
    ///
    /// An error may be that of another thread's bytes, whose call has returned.
    pub(super) fn write(
        &self,
        offset: u64,
        buffer: &mut Vec<u8>,
        length: usize,
        write: impl Fn(u64, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut state = self.lock();
        while state.busy {
            if state.waiting.len() < MOST {
                let spare = state.spare.pop().unwrap_or_default();
                let buffer = std::mem::replace(buffer, spare);
                state.waiting.push_back(Pending { offset, buffer, length });
                return Ok(());
            }
            state = self.shrunk.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.busy = true;
        drop(state);
        let mut result = write(offset, &buffer[..length]);
        while let Some(pending) = self.next(result.is_ok()) {
            result = write(pending.offset, &pending.buffer[..pending.length]);
            self.lock().spare.push(pending.buffer);
        }
        result
    }

    /// Free the memory of buffers whose bytes are written.
    pub(super) fn shrink(&self) {
        self.lock().spare.clear();
    }

    /// What to write next; nothing after an error.
    fn next(&self, go_on: bool) -> Option<Pending> {
        let mut state = self.lock();
        let pending = if go_on { state.waiting.pop_front() } else { None };
        state.busy = pending.is_some();
        drop(state);
        self.shrunk.notify_all();
        pending
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;
    use crate::error::Error;

    const THREADS: usize = 4;
    const PIECES: usize = 300;
    const LENGTH: usize = 64;

    #[test]
    fn all_is_written_once_and_by_one_thread_at_a_time() {
        let backlog = Backlog::default();
        let written = Mutex::new(vec![0_u8; THREADS * PIECES]);
        let busy = AtomicBool::new(false);
        let write = |offset: u64, bytes: &[u8]| {
            assert!(!busy.swap(true, Ordering::SeqCst));
            assert_eq!(bytes, [offset as u8; LENGTH]);
            written.lock().unwrap()[offset as usize] += 1;
            busy.store(false, Ordering::SeqCst);
            Ok(())
        };
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (backlog, write) = (&backlog, &write);
                scope.spawn(move || {
                    let mut buffer = Vec::new();
                    for offset in thread * PIECES..(thread + 1) * PIECES {
                        buffer.resize(buffer.len().max(LENGTH + 5), 0);
                        buffer[..LENGTH].fill(offset as u8);
                        backlog.write(offset as u64, &mut buffer, LENGTH, write).unwrap();
                    }
                });
            }
        });
        assert!(written.lock().unwrap().iter().all(|count| *count == 1));
    }

    #[test]
    fn an_error_is_told_and_what_comes_later_is_written() {
        let backlog = Backlog::default();
        let calls = AtomicUsize::new(0);
        let fail = |_: u64, _: &[u8]| {
            calls.fetch_add(1, Ordering::SeqCst);
            Err(Error::Cancelled)
        };
        let mut buffer = vec![1; LENGTH];
        assert!(backlog.write(0, &mut buffer, LENGTH, fail).is_err());
        assert!(backlog.write(1, &mut buffer, LENGTH, fail).is_err());
        assert_eq!(calls.load(Ordering::SeqCst), 2);
        let write = |_: u64, bytes: &[u8]| {
            assert_eq!(bytes, [1; LENGTH]);
            Ok(())
        };
        backlog.write(2, &mut buffer, LENGTH, write).unwrap();
    }
}
