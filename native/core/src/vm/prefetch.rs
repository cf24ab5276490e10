//! Brings bytes near before they are needed.

use super::view::View;

/// Bytes of a cache line.
const LINE: usize = 64;

/// How far ahead of the reader, in bytes: two blocks of 16-bit numbers (4 to 8 KB were best).
const AHEAD: usize = 4096;

/// Fetch what the block after the next takes of each input, given the present one.
///
/// For inputs that are not in the caches yet: the processor follows a stream of bytes by itself,
/// but not several that are read in turns of a block.
#[inline]
pub(crate) fn prefetch(inputs: &[View], offset: usize, length: usize) {
    for input in inputs {
        let View::Plain(bytes, dtype) = input else {
            continue;
        };
        let begin = offset * dtype.bytes() + AHEAD;
        let ahead = bytes.get(begin..).unwrap_or_default();
        let wanted = ahead.len().min(length * dtype.bytes());
        ahead[..wanted].chunks(LINE).filter_map(<[u8]>::first).for_each(fetch);
    }
}

/// Fetch the cache line that something begins in.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn fetch<T>(what: &T) {
    use std::arch::x86_64::{_mm_prefetch, _MM_HINT_T0};

    // SAFETY: every processor of this architecture has the instruction, and it never fails.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(what).cast()) };
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub(crate) fn fetch<T>(_what: &T) {}
