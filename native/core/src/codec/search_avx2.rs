//! The loops of ggml's searches for scales, in AVX2: the compiler makes no vectors of them.
//!
//! Every operation is that of `blocks/ggml/search.rs`, in the same order and rounded alike.

use std::arch::x86_64::{
    __m256, _mm256_add_ps, _mm256_loadu_ps, _mm256_max_ps, _mm256_min_ps, _mm256_mul_ps,
    _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps, _mm256_sub_ps,
};

use super::blocks::{Column, Sums, ALIGNER};

/// See [`super::Isa::search_codes`].
#[target_feature(enable = "avx2,f16c")]
#[inline]
pub(super) fn codes(
    values: &[Column; 32],
    weights: &[Column; 32],
    factor: &Column,
    minimum: &Column,
    most: f32,
    codes: &mut [Column; 32],
) -> Sums {
    let (factor, minimum) = (load(factor), load(minimum));
    let (most, zero) = (_mm256_set1_ps(most), _mm256_setzero_ps());
    let aligner = _mm256_set1_ps(ALIGNER);
    let (mut plain, mut squares, mut product) = (zero, zero, zero);
    for ((code, value), weight) in codes.iter_mut().zip(values).zip(weights) {
        let value = load(value);
        let exact = _mm256_mul_ps(factor, _mm256_sub_ps(value, minimum));
        let limited = _mm256_max_ps(_mm256_min_ps(most, exact), zero);
        let whole = _mm256_sub_ps(_mm256_add_ps(limited, aligner), aligner);
        store(whole, code);
        let weighted = _mm256_mul_ps(load(weight), whole);
        plain = _mm256_add_ps(plain, weighted);
        squares = _mm256_add_ps(squares, _mm256_mul_ps(weighted, whole));
        product = _mm256_add_ps(product, _mm256_mul_ps(weighted, value));
    }
    let mut sums = Sums::default();
    store(plain, &mut sums.plain);
    store(squares, &mut sums.squares);
    store(product, &mut sums.product);
    sums
}

/// See [`super::Isa::search_error`].
#[target_feature(enable = "avx2,f16c")]
#[inline]
pub(super) fn error(
    values: &[Column; 32],
    weights: &[Column; 32],
    codes: &[Column; 32],
    scale: &Column,
    minimum: &Column,
) -> Column {
    let (scale, minimum) = (load(scale), load(minimum));
    let mut error = _mm256_setzero_ps();
    for ((code, value), weight) in codes.iter().zip(values).zip(weights) {
        let found = _mm256_add_ps(_mm256_mul_ps(scale, load(code)), minimum);
        let off = _mm256_sub_ps(found, load(value));
        error = _mm256_add_ps(error, _mm256_mul_ps(load(weight), _mm256_mul_ps(off, off)));
    }
    let mut all = Column::default();
    store(error, &mut all);
    all
}

#[target_feature(enable = "avx2,f16c")]
#[inline]
fn load(column: &Column) -> __m256 {
    // SAFETY: the pointer is to eight numbers; any address will do.
    unsafe { _mm256_loadu_ps(column.as_ptr()) }
}

#[target_feature(enable = "avx2,f16c")]
#[inline]
fn store(numbers: __m256, column: &mut Column) {
    // SAFETY: the pointer is to eight numbers; any address will do.
    unsafe { _mm256_storeu_ps(column.as_mut_ptr(), numbers) }
}
