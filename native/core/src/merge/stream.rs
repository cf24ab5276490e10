//! Copies to memory that nobody reads soon.

/// Copy past the caches, where the processor can: lines are not read before they are overwritten.
#[cfg(target_arch = "x86_64")]
pub(super) fn stream(source: &[u8], target: &mut [u8]) {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_sfence, _mm_stream_si128};

    // SAFETY: every bit pattern is a valid vector of 16 bytes.
    let (_, lines, _) = unsafe { target.align_to_mut::<__m128i>() };
    let (count, start) = (lines.len(), lines.as_ptr().addr());
    let head = (start - target.as_ptr().addr()).min(source.len());
    let body = count * size_of::<__m128i>();
    target[..head].copy_from_slice(&source[..head]);
    target[head + body..].copy_from_slice(&source[head + body..]);
    // SAFETY: as above.
    let (_, lines, _) = unsafe { target.align_to_mut::<__m128i>() };
    for (line, bytes) in lines.iter_mut().zip(source[head..].as_chunks::<16>().0) {
        // SAFETY: 16 bytes to read at any address.
        let vector = unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) };
        // SAFETY: 16 bytes to write at an aligned address.
        unsafe { _mm_stream_si128(line, vector) };
    }
    // Such writes are not in order with others: end them before another thread is told.
    // SAFETY: every processor of this architecture has the instruction.
    unsafe { _mm_sfence() };
}

/// Copy.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn stream(source: &[u8], target: &mut [u8]) {
    target.copy_from_slice(source);
}
