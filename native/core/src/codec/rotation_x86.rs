//! The steps of `ConvRot`'s rotation whose numbers lie in one vector: those of strides 1 and 4.
//!
//! Every operation is that of `blocks/rotation.rs`, rounded alike: a product with one is exact, so that
//! fused steps are sums of even places and differences of odd ones.

use std::arch::x86_64::{
    __m256, __m512, _mm256_add_ps, _mm256_fmsubadd_ps, _mm256_movehdup_ps, _mm256_moveldup_ps,
    _mm256_mul_ps, _mm256_permute2f128_ps, _mm256_permute_ps, _mm256_set1_ps, _mm256_sub_ps,
    _mm512_add_ps, _mm512_fmsubadd_ps, _mm512_mask_sub_ps, _mm512_movehdup_ps, _mm512_moveldup_ps,
    _mm512_mul_ps, _mm512_permute_ps, _mm512_set1_ps, _mm512_shuffle_f32x4,
};
use std::mem::transmute;

/// Of four numbers of a first step (sum, difference, sum and difference of the others) the first ones
/// of the pairs of the second step, and the second ones: places of two bits each.
const FIRST: i32 = 0b10_01_00_00;
const SECOND: i32 = 0b01_10_11_11;

/// Places of both pairs' first numbers, twice each, and of the second ones.
const EVEN: i32 = 0b10_10_00_00;
const ODD: i32 = 0b11_11_01_01;

/// Lanes that are odd, of four.
const ODD_LANES: u16 = 0xf0f0;

/// See [`super::Isa::rotate_sixteens`].
#[target_feature(enable = "avx2,f16c,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
pub(super) fn by_avx512(groups: &mut [[f32; 16]]) {
    let (half, one) = (_mm512_set1_ps(0.5), _mm512_set1_ps(1.0));
    let alternate = |x, y| _mm512_mask_sub_ps(_mm512_add_ps(x, y), ODD_LANES, x, y);
    for group in groups {
        // SAFETY: both are plain vectors of 64 bytes; every bit pattern is valid.
        let x = unsafe { transmute::<[f32; 16], __m512>(*group) };
        let x = _mm512_fmsubadd_ps(_mm512_moveldup_ps(x), one, _mm512_movehdup_ps(x));
        let [first, second] = [_mm512_permute_ps::<FIRST>(x), _mm512_permute_ps::<SECOND>(x)];
        let x = _mm512_mul_ps(half, _mm512_fmsubadd_ps(first, one, second));
        let [even, odd] = [_mm512_shuffle_f32x4::<EVEN>(x, x), _mm512_shuffle_f32x4::<ODD>(x, x)];
        let x = alternate(even, odd);
        let first = _mm512_shuffle_f32x4::<FIRST>(x, x);
        let second = _mm512_shuffle_f32x4::<SECOND>(x, x);
        let x = _mm512_mul_ps(half, alternate(first, second));
        // SAFETY: both are plain vectors of 64 bytes; every bit pattern is valid.
        *group = unsafe { transmute::<__m512, [f32; 16]>(x) };
    }
}

/// See [`super::Isa::rotate_sixteens`].
#[target_feature(enable = "avx2,f16c,fma")]
#[inline]
pub(super) fn by_avx2(groups: &mut [[f32; 16]]) {
    /// The lower lanes of two vectors, and the upper ones.
    const LOW: i32 = 0x20;
    const HIGH: i32 = 0x31;
    let half = _mm256_set1_ps(0.5);
    for group in groups {
        // SAFETY: both are plain vectors of 64 bytes; every bit pattern is valid.
        let [x, y] = unsafe { transmute::<[f32; 16], [__m256; 2]>(*group) };
        let (x, y) = (within(x), within(y));
        let low = _mm256_permute2f128_ps::<LOW>(x, y);
        let high = _mm256_permute2f128_ps::<HIGH>(x, y);
        // Of both pairs of lanes: sum and the others', difference and the others'.
        let (sums, apart) = (_mm256_add_ps(low, high), _mm256_sub_ps(low, high));
        let first = _mm256_permute2f128_ps::<LOW>(sums, apart);
        let second = _mm256_permute2f128_ps::<HIGH>(apart, sums);
        let crossed = _mm256_permute2f128_ps::<1>(apart, apart);
        let even = _mm256_mul_ps(half, _mm256_add_ps(first, second));
        let odd = _mm256_mul_ps(half, _mm256_sub_ps(sums, crossed));
        let low = _mm256_permute2f128_ps::<LOW>(even, odd);
        let high = _mm256_permute2f128_ps::<HIGH>(even, odd);
        // SAFETY: both are plain vectors of 64 bytes; every bit pattern is valid.
        *group = unsafe { transmute::<[__m256; 2], [f32; 16]>([low, high]) };
    }
}

/// The step of stride 1.
#[target_feature(enable = "avx2,f16c,fma")]
#[inline]
fn within(x: __m256) -> __m256 {
    let (half, one) = (_mm256_set1_ps(0.5), _mm256_set1_ps(1.0));
    let x = _mm256_fmsubadd_ps(_mm256_moveldup_ps(x), one, _mm256_movehdup_ps(x));
    let [first, second] = [_mm256_permute_ps::<FIRST>(x), _mm256_permute_ps::<SECOND>(x)];
    _mm256_mul_ps(half, _mm256_fmsubadd_ps(first, one, second))
}
