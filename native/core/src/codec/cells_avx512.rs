//! AVX-512: cells of sixteen or thirty-two numbers, each of which has a scale.

use std::arch::x86_64::{
    __m256i, __m512, __m512i, _mm256_permutevar8x32_epi32, _mm256_set_m128i, _mm256_setr_epi32,
    _mm256_shuffle_epi8, _mm512_add_ps, _mm512_alignr_epi64, _mm512_alignr_epi8, _mm512_and_si512,
    _mm512_castps_si512, _mm512_cmpge_epi32_mask, _mm512_cvtepi64_epi32, _mm512_fmadd_ps,
    _mm512_fnmadd_ps, _mm512_mask_blend_epi32, _mm512_max_epi32, _mm512_max_ps, _mm512_mul_ps,
    _mm512_or_si512, _mm512_permutex2var_epi64, _mm512_permutexvar_ps, _mm512_range_ps,
    _mm512_set1_epi32, _mm512_set1_ps, _mm512_setr_epi64, _mm512_slli_epi32, _mm512_slli_epi64,
    _mm512_srli_epi32, _mm512_srli_epi64, _mm512_ternarylogic_epi32, _mm_setr_epi8,
};
use std::mem::transmute;

use super::avx512::{from_e4m3, halves, narrow, places, wide};
use super::blocks;
use super::eight::{e2m1_aligner, E2M1_LARGEST};
use super::isa::{Isa, Portable};

/// Cells of sixteen at a time, which are looked up and multiplied by their scales.
#[target_feature(enable = "avx2,f16c,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
pub(super) fn look_up(
    codes: &[[u8; 8]],
    high_first: bool,
    (table, scales): (&[f32; 16], &[f32]),
    cells: &mut [[f32; 16]],
) {
    for ((cell, codes), scale) in cells.iter_mut().zip(codes).zip(scales) {
        let found = _mm512_permutexvar_ps(places(*codes, high_first), wide(*table));
        *cell = narrow(_mm512_mul_ps(found, _mm512_set1_ps(*scale)));
    }
}

/// Numbers of E4M3 times a factor; whether none is a NaN.
#[target_feature(enable = "avx2,f16c,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
pub(super) fn scale_e4m3(codes: &[u8; 32], factor: f32, target: &mut [f32; 32]) -> bool {
    let (numbers, finite) = from_e4m3(halves(*codes));
    for (target, numbers) in target.as_chunks_mut().0.iter_mut().zip(numbers) {
        *target = narrow(_mm512_mul_ps(numbers, _mm512_set1_ps(factor)));
    }
    finite
}

/// Sixteen cells at a time, in four steps: each halves what is left of every cell, and lays two
/// together.
#[target_feature(enable = "avx2,f16c,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
pub(super) fn greatest_each<const N: usize>(cells: &[[f32; N]], targets: &mut [f32]) -> bool {
    let (groups, last) = cells.as_chunks::<16>();
    let (greatest, rest) = targets.split_at_mut(groups.len() * 16);
    let mut finite = true;
    for (cells, targets) in groups.iter().zip(greatest.as_chunks_mut::<16>().0) {
        let found = greatest_of(cells);
        // SAFETY: both are plain vectors of 64 bytes; every bit pattern is valid.
        *targets = unsafe { transmute::<__m512i, [f32; 16]>(found) };
        let infinite = _mm512_set1_epi32(f32::INFINITY.to_bits() as i32);
        if _mm512_cmpge_epi32_mask(found, infinite) != 0 {
            finite = blocks::greatest_each(cells, targets);
        }
    }
    blocks::greatest_each(last, rest) & finite
}

/// The bits of the greatest magnitude of each cell.
#[target_feature(enable = "avx2,f16c,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
fn greatest_of<const N: usize>(cells: &[[f32; N]; 16]) -> __m512i {
    // One that has the first half of one vector and the second of the other, and one of what is left.
    let eights = |x, y| (_mm512_mask_blend_epi32(0xff00, x, y), _mm512_alignr_epi64::<4>(y, x));
    let crossed = _mm512_setr_epi64(2, 3, 8, 9, 6, 7, 12, 13);
    let fours =
        |x, y| (_mm512_mask_blend_epi32(0xf0f0, x, y), _mm512_permutex2var_epi64(x, crossed, y));
    let twos = |x, y| (_mm512_mask_blend_epi32(0xcccc, x, y), _mm512_alignr_epi8::<8>(y, x));
    let ones = |x, y| {
        let left = _mm512_or_si512(_mm512_srli_epi64::<32>(x), _mm512_slli_epi64::<32>(y));
        (_mm512_mask_blend_epi32(0xaaaa, x, y), left)
    };
    let greater = |(x, y)| _mm512_max_epi32(x, y);
    let two = |at: usize| greater(eights(magnitudes(&cells[at]), magnitudes(&cells[at + 8])));
    let four = |at: usize| greater(fours(two(at), two(at + 4)));
    let eight = |at: usize| greater(twos(four(at), four(at + 2)));
    greater(ones(eight(0), eight(1)))
}

/// The bits of sixteen magnitudes of a cell, the greatest one among them.
#[target_feature(enable = "avx2,f16c,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
fn magnitudes<const N: usize>(cell: &[f32; N]) -> __m512i {
    let mut greatest = _mm512_set1_epi32(0);
    for numbers in cell.as_chunks::<16>().0 {
        let magnitude = _mm512_set1_epi32(0x7fff_ffff);
        let magnitudes = _mm512_and_si512(_mm512_castps_si512(wide(*numbers)), magnitude);
        greatest = _mm512_max_epi32(greatest, magnitudes);
    }
    greatest
}

/// Four cells at a time, of which each has one byte of every number of 32 bits.
#[target_feature(enable = "avx2,f16c,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
pub(super) fn encode_e2m1(
    cells: &[[f32; 16]],
    [divisors, reciprocals]: [&[f32]; 2],
    targets: &mut [[u8; 8]],
) {
    let (fours, last) = cells.as_chunks::<4>();
    let (whole, rest) = targets.split_at_mut(fours.len() * 4);
    let each = divisors.as_chunks::<4>().0.iter().zip(reciprocals.as_chunks::<4>().0);
    let both = fours.iter().zip(each);
    for ((cells, (divisors, reciprocals)), targets) in both.zip(whole.as_chunks_mut::<4>().0) {
        let code = |at: usize| codes(&cells[at], divisors[at], reciprocals[at]);
        let (low, high) = (_mm512_slli_epi32::<8>(code(1)), _mm512_slli_epi32::<24>(code(3)));
        // All bits of three.
        let all = _mm512_ternarylogic_epi32::<0xfe>(low, high, _mm512_slli_epi32::<16>(code(2)));
        let packed = packed(_mm512_or_si512(all, code(0)));
        // SAFETY: both are plain vectors of 32 bytes; every bit pattern is valid.
        *targets = unsafe { transmute::<__m256i, [[u8; 8]; 4]>(packed) };
    }
    Portable::encode_e2m1(last, &divisors[cells.len() - last.len()..], rest);
}

/// The codes of a cell's quotients, each in four bits of a number.
///
/// A product with the reciprocal, of which what is wrong with it is taken away twice over: of all
/// divisors, what is next to a middle of two codes goes to the same one as after a division.
#[target_feature(enable = "avx2,f16c,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
fn codes(cell: &[f32; 16], divisor: f32, reciprocal: f32) -> __m512i {
    /// The less of two magnitudes, without a sign.
    const MAGNITUDE: i32 = 0b1010;
    let (divisor, reciprocal) = (_mm512_set1_ps(divisor), _mm512_set1_ps(reciprocal));
    let value = wide(*cell);
    let near = _mm512_mul_ps(value, reciprocal);
    let wrong = _mm512_fnmadd_ps(near, divisor, value);
    let quotient = _mm512_fmadd_ps(wrong, reciprocal, near);
    let limited = _mm512_range_ps::<MAGNITUDE>(quotient, _mm512_set1_ps(E2M1_LARGEST));
    let sum = _mm512_castps_si512(_mm512_add_ps(limited, aligners(limited)));
    let sign = _mm512_srli_epi32::<28>(_mm512_castps_si512(value));
    // Bits of the second where the first has ones, of the third elsewhere.
    _mm512_ternarylogic_epi32::<0xca>(_mm512_set1_epi32(7), sum, sign)
}

/// What takes magnitudes up to 6 to sums whose last bits are their codes.
#[target_feature(enable = "avx2,f16c,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
fn aligners(magnitudes: __m512) -> __m512 {
    // By the last four bits of an exponent.
    let table: [f32; 16] = std::array::from_fn(|bits| e2m1_aligner(bits as u32));
    // Very small ones have such exponents too.
    let least = _mm512_max_ps(magnitudes, _mm512_set1_ps(0.125));
    let exponents = _mm512_srli_epi32::<23>(_mm512_castps_si512(least));
    _mm512_permutexvar_ps(exponents, wide(table))
}

/// Codes of four cells, each a byte of all numbers: two in a byte, the first in its upper half, and one
/// cell after the other.
#[target_feature(enable = "avx2,f16c,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
fn packed(codes: __m512i) -> __m256i {
    let pairs = _mm512_or_si512(_mm512_slli_epi32::<4>(codes), _mm512_srli_epi64::<32>(codes));
    let order = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    let halves = _mm256_shuffle_epi8(_mm512_cvtepi64_epi32(pairs), _mm256_set_m128i(order, order));
    _mm256_permutevar8x32_epi32(halves, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7))
}
