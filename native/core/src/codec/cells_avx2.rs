//! AVX2: cells of sixteen numbers, each of which has a scale.

use std::arch::x86_64::{
    __m128i, __m256, __m256i, _mm256_add_ps, _mm256_and_si256, _mm256_andnot_ps,
    _mm256_castps_si256, _mm256_castsi256_si128, _mm256_extracti128_si256, _mm256_fmadd_ps,
    _mm256_fnmadd_ps, _mm256_maddubs_epi16, _mm256_max_ps, _mm256_min_ps, _mm256_mul_ps,
    _mm256_or_si256, _mm256_packs_epi16, _mm256_packs_epi32, _mm256_permutevar8x32_ps,
    _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_epi8, _mm256_set1_ps, _mm256_srli_epi16,
    _mm256_srli_epi32, _mm_packus_epi16, _mm_setr_epi8, _mm_shuffle_epi8,
};
use std::mem::transmute;

use super::eight::{e2m1_aligner, E2M1_LARGEST};
use super::isa::{Isa, Portable};

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
