//! AVX2: cells of sixteen numbers, each of which has a scale.

use std::arch::x86_64::{
    __m128i, __m256, __m256i, _mm256_add_ps, _mm256_and_si256, _mm256_andnot_ps,
    _mm256_castps_si256, _mm256_castsi256_ps, _mm256_castsi256_si128, _mm256_cmpeq_epi8,
    _mm256_extracti128_si256, _mm256_fmadd_ps, _mm256_fnmadd_ps, _mm256_maddubs_epi16,
    _mm256_max_ps, _mm256_min_ps, _mm256_mul_ps, _mm256_or_si256, _mm256_packs_epi16,
    _mm256_packs_epi32, _mm256_permutevar8x32_ps, _mm256_set1_epi16, _mm256_set1_epi32,
    _mm256_set1_epi8, _mm256_set1_ps, _mm256_slli_epi32, _mm256_srli_epi16, _mm256_srli_epi32,
    _mm256_testz_si256, _mm256_xor_ps, _mm_packus_epi16, _mm_setr_epi8, _mm_shuffle_epi8,
};
use std::mem::transmute;

use super::avx2::{eights, from_e4m3, places, shifts};
use super::eight::{e2m1_aligner, E2M1_LARGEST};
use super::isa::{Isa, Portable};

/// Magnitudes are looked up, which get their signs and are multiplied by the scales of their cells.
#[target_feature(enable = "avx2,f16c,fma")]
#[inline]
pub(super) fn look_up(
    codes: &[[u8; 8]],
    high_first: bool,
    (table, scales): (&[f32; 16], &[f32]),
    cells: &mut [[f32; 16]],
) {
    // SAFETY: both are plain vectors of 64 bytes; every bit pattern is valid.
    let [magnitudes, _] = unsafe { transmute::<[f32; 16], [__m256; 2]>(*table) };
    let (shifts, sign) = (shifts(high_first), _mm256_set1_epi32(i32::MIN));
    for ((cell, codes), scale) in cells.iter_mut().zip(codes).zip(scales) {
        let scale = _mm256_set1_ps(*scale);
        for (eight, word) in cell.as_chunks_mut::<8>().0.iter_mut().zip(codes.as_chunks::<4>().0) {
            let places = places(*word, shifts);
            let found = _mm256_permutevar8x32_ps(magnitudes, places);
            let signs = _mm256_and_si256(_mm256_slli_epi32::<28>(places), sign);
            let signed = _mm256_xor_ps(found, _mm256_castsi256_ps(signs));
            let scaled = _mm256_mul_ps(signed, scale);
            // SAFETY: both are plain vectors of 32 bytes; every bit pattern is valid.
            *eight = unsafe { transmute::<__m256, [f32; 8]>(scaled) };
        }
    }
}

/// Numbers of E4M3 times a factor; whether none is a NaN.
#[target_feature(enable = "avx2,f16c,fma")]
#[inline]
pub(super) fn scale_e4m3(codes: &[u8; 32], factor: f32, target: &mut [f32; 32]) -> bool {
    let factor = _mm256_set1_ps(factor);
    eights(codes, target, |words| _mm256_mul_ps(from_e4m3(words), factor));
    // SAFETY: both are plain vectors of 32 bytes; every bit pattern is valid.
    let codes = unsafe { transmute::<[u8; 32], __m256i>(*codes) };
    let magnitude = _mm256_set1_epi8(i8::MAX);
    let is_nan = _mm256_cmpeq_epi8(_mm256_and_si256(codes, magnitude), magnitude);
    _mm256_testz_si256(is_nan, is_nan) != 0
}

/// Two cells at a time.
#[target_feature(enable = "avx2,f16c,fma")]
#[inline]
pub(super) fn encode_e2m1(
    cells: &[[f32; 16]],
    [divisors, reciprocals]: [&[f32]; 2],
    targets: &mut [[u8; 8]],
) {
    let (pairs, last) = cells.as_chunks::<2>();
    let (whole, rest) = targets.split_at_mut(pairs.len() * 2);
    let each = divisors.as_chunks::<2>().0.iter().zip(reciprocals.as_chunks::<2>().0);
    for ((cells, each), targets) in pairs.iter().zip(each).zip(whole.as_chunks_mut::<2>().0) {
        let (divisors, reciprocals) = each;
        // SAFETY: both are plain vectors of 64 bytes; every bit pattern is valid.
        let [[a, b], [c, d]] = unsafe { transmute::<[[f32; 16]; 2], [[__m256; 2]; 2]>(*cells) };
        let first = [divisors[0], reciprocals[0]];
        let second = [divisors[1], reciprocals[1]];
        let codes = [codes(a, first), codes(b, first), codes(c, second), codes(d, second)];
        let signs = bytes([a, b, c, d].map(|numbers| _mm256_castps_si256(numbers)));
        let packed = packed(bytes(codes), signs);
        // SAFETY: both are plain vectors of 16 bytes; every bit pattern is valid.
        *targets = unsafe { transmute::<__m128i, [[u8; 8]; 2]>(packed) };
    }
    Portable::encode_e2m1(last, &divisors[cells.len() - last.len()..], rest);
}

/// The codes of the magnitudes of quotients. These are products with the reciprocal, of which what is
/// wrong with them is taken away twice over, as with AVX-512.
#[target_feature(enable = "avx2,f16c,fma")]
#[inline]
fn codes(value: __m256, [divisor, reciprocal]: [f32; 2]) -> __m256i {
    let (divisor, reciprocal) = (_mm256_set1_ps(divisor), _mm256_set1_ps(reciprocal));
    let near = _mm256_mul_ps(value, reciprocal);
    let wrong = _mm256_fnmadd_ps(near, divisor, value);
    let quotient = _mm256_fmadd_ps(wrong, reciprocal, near);
    let magnitude = _mm256_andnot_ps(_mm256_set1_ps(-0.0), quotient);
    let limited = _mm256_min_ps(magnitude, _mm256_set1_ps(E2M1_LARGEST));
    let sum = _mm256_add_ps(limited, aligners(limited));
    _mm256_and_si256(_mm256_castps_si256(sum), _mm256_set1_epi32(7))
}

/// What takes magnitudes up to 6 to sums whose last bits are their codes.
#[target_feature(enable = "avx2,f16c,fma")]
#[inline]
fn aligners(magnitudes: __m256) -> __m256 {
    // By the last three bits of an exponent, which are those of 127 where all are one.
    let table: [f32; 8] = std::array::from_fn(|bits| e2m1_aligner(bits as u32));
    // SAFETY: both are plain vectors of 32 bytes; every bit pattern is valid.
    let table = unsafe { transmute::<[f32; 8], __m256>(table) };
    // Very small ones have such exponents too.
    let least = _mm256_max_ps(magnitudes, _mm256_set1_ps(0.125));
    _mm256_permutevar8x32_ps(table, _mm256_srli_epi32::<23>(_mm256_castps_si256(least)))
}

/// Numbers of 32 bits to bytes, limited with their signs: of each vector four lie together in either
/// half.
#[target_feature(enable = "avx2,f16c,fma")]
#[inline]
fn bytes([a, b, c, d]: [__m256i; 4]) -> __m256i {
    _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d))
}

/// Codes with the signs of others, two in a byte, the first in its upper half; halves of vectors are
/// brought back in order.
#[target_feature(enable = "avx2,f16c,fma")]
#[inline]
fn packed(codes: __m256i, signs: __m256i) -> __m128i {
    let signs = _mm256_and_si256(signs, _mm256_set1_epi8(i8::MIN));
    let codes = _mm256_or_si256(codes, _mm256_srli_epi16::<4>(signs));
    let pairs = _mm256_maddubs_epi16(codes, _mm256_set1_epi16(0x0110));
    let (low, high) = (_mm256_castsi256_si128(pairs), _mm256_extracti128_si256::<1>(pairs));
    let order = _mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15);
    _mm_shuffle_epi8(_mm_packus_epi16(low, high), order)
}
