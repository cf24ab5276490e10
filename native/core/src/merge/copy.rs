//! Ranges that go from source to sink unchanged.

use super::request::Copy;
use super::sink::Sink;
use super::source::{shrunk, Opened};
use crate::error::{Error, Result};
use crate::sys;

/// Bytes that go through a buffer at a time.
const PIECE: usize = 1024 * 1024;

/// Copy bytes `begin..end` of a copy, by the kernel where it can.
///
/// # Safety
/// No other range of the sink in use at the same time overlaps the copy's.
pub(super) unsafe fn copy(
    copy: &Copy,
    begin: u64,
    end: u64,
    source: &Opened,
    sink: &Sink,
    (read, written): (&mut Vec<u8>, &mut Vec<u8>),
) -> Result<()> {
    let mut done = begin;
    done += in_kernel(copy, begin, end, source, sink)?;
    while done < end {
        let length = (end - done).min(PIECE as u64) as usize;
        let from = copy.source_offset + done;
        source.load(from, length, read)?;
        let bytes = source.view(from, length, read);
        let fill = |target: &mut [u8]| {
            target.copy_from_slice(bytes);
            Ok(())
        };
        // SAFETY: the range is part of the copy's, see this function's own demand.
        unsafe { sink.write(copy.offset + done, length, written, fill) }?;
        source.release(from, length)?;
        done += length as u64;
    }
    Ok(())
}

/// Copy with `copy_file_range`; the number of bytes until it was not supported.
fn in_kernel(copy: &Copy, begin: u64, end: u64, source: &Opened, sink: &Sink) -> Result<u64> {
    let (Some((file, path)), Sink::File(output)) = (source.file(), sink) else {
        return Ok(0);
    };
    output.check_unfinished()?;
    let mut done = begin;
    while done < end {
        let (from, to) = (copy.source_offset + done, copy.offset + done);
        match sys::copy_range(file, from, output.file(), to, (end - done) as usize) {
            Ok(0) => return Err(shrunk(file, path, copy.source_offset + end)),
            Ok(count) => {
                done += count as u64;
                output.count(count as u64);
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) if sys::unsupported(&error) => break,
            Err(error) => return Err(Error::io(path, "copy from file", error)),
        }
    }
    Ok(done - begin)
}
