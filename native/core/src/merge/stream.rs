//! Copies to memory that nobody reads soon.

/// Copy past the caches, where the processor can: lines are not read before they are overwritten.
/// Both have the same length.
#[cfg(target_arch = "x86_64")]
pub(super) fn stream(source: &[u8], target: &mut [u8]) {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_stream_si128};

    // SAFETY: every bit pattern is a valid vector of 16 bytes.
    let (head, lines, tail) = unsafe { target.align_to_mut::<__m128i>() };
    let (first, rest) = source.split_at(head.len());
    let (middle, last) = rest.split_at(rest.len() - tail.len());
    head.copy_from_slice(first);
    tail.copy_from_slice(last);
    for (line, bytes) in lines.iter_mut().zip(middle.as_chunks::<16>().0) {
        // SAFETY: 16 bytes to read at any address.
        let vector = unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) };
        // SAFETY: 16 bytes to write at an aligned address.
        unsafe { _mm_stream_si128(line, vector) };
    }
    end_streams();
}

/// End writes past the caches, which are not in order with others, before another thread is told.
#[cfg(target_arch = "x86_64")]
pub(super) fn end_streams() {
    // SAFETY: every processor of this architecture has the instruction.
    unsafe { std::arch::x86_64::_mm_sfence() };
}

/// Nothing is written past the caches.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn end_streams() {}

/// Copy.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn stream(source: &[u8], target: &mut [u8]) {
    target.copy_from_slice(source);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_at_every_alignment_is_copied() {
        let source: Vec<u8> = (1..=80).collect();
        for begin in 0..17 {
            for length in 0..60 {
                let mut target = vec![0; 80];
                stream(&source[3..3 + length], &mut target[begin..begin + length]);
                let mut expected = vec![0; 80];
                expected[begin..begin + length].copy_from_slice(&source[3..3 + length]);
                assert_eq!(target, expected, "{length} bytes at {begin}");
            }
        }
    }
}
