//! AVX2, F16C and FMA: eight numbers at a time, the rest one by one.

use std::arch::x86_64::{
    __m128i, __m256, __m256d, __m256i, _mm256_add_ps, _mm256_and_ps, _mm256_andnot_ps,
    _mm256_blendv_ps, _mm256_castps256_ps128, _mm256_castsi256_ps, _mm256_cmp_ps,
    _mm256_cvtepu16_epi32, _mm256_cvtph_ps, _mm256_cvtps_pd, _mm256_cvtps_ph, _mm256_div_ps,
    _mm256_extractf128_ps, _mm256_fmadd_pd, _mm256_fmadd_ps, _mm256_mul_epu32, _mm256_mul_ps,
    _mm256_or_ps, _mm256_permutevar8x32_ps, _mm256_set1_epi32, _mm256_set1_epi64x, _mm256_set1_ps,
    _mm256_setr_epi32, _mm256_setzero_pd, _mm256_setzero_ps, _mm256_slli_epi32, _mm256_sqrt_ps,
    _mm256_srli_epi64, _mm256_srlv_epi32, _mm256_sub_ps, _mm256_xor_si256, _mm_and_si128,
    _mm_andnot_si128, _mm_blendv_epi8, _mm_cmpeq_epi16, _mm_cvtepu8_epi16, _mm_cvtsi64_si128,
    _mm_or_si128, _mm_set1_epi16, _mm_slli_epi16, _mm_stream_si128, _CMP_GE_OQ, _CMP_GT_OQ,
    _CMP_LT_OQ, _CMP_NGE_UQ, _MM_FROUND_TO_NEAREST_INT,
};

use super::blocks::{Column, Sums};
use super::cells_avx2;
use super::formula::{Formula, Products};
use super::isa::{Isa, Portable};
use super::lanes::{change_with, combine_sixteen, products_with, Lanes, Sixteen, Summed, SIXTEEN};
use super::quotients;
use super::rotation_x86;
use super::search_avx2;
use crate::dtype::Dtype;
use crate::program::LEAST_WEIGHT;
use crate::rng::{round_keys, Words, MULTIPLIERS};

/// AVX2, F16C and FMA. Used only where these were detected (`vm/simd.rs`).
pub(crate) struct Avx2;

impl Isa for Avx2 {
    type Sixteen = Eights;
    const TALL: usize = 6;

    #[inline(always)]
    fn search_codes(
        values: &[Column; 32],
        weights: &[Column; 32],
        factor: &Column,
        minimum: &Column,
        most: f32,
        codes: &mut [Column; 32],
    ) -> Sums {
        // SAFETY: the features were detected; see the type's documentation.
        unsafe { search_avx2::codes(values, weights, factor, minimum, most, codes) }
    }

    #[inline(always)]
    fn search_error(
        values: &[Column; 32],
        weights: &[Column; 32],
        codes: &[Column; 32],
        scale: &Column,
        minimum: &Column,
    ) -> Column {
        // SAFETY: the features were detected; see the type's documentation.
        unsafe { search_avx2::error(values, weights, codes, scale, minimum) }
    }

    #[inline(always)]
    fn decode_f16(source: &[u8], target: &mut [f32]) {
        // SAFETY: the features were detected; see the type's documentation.
        unsafe { decode(source, target) }
    }

    #[inline(always)]
    fn decode_e4m3(source: &[u8], target: &mut [f32]) {
        // SAFETY: the features were detected; see the type's documentation.
        unsafe { decode_e4m3(source, target) }
    }

    #[inline(always)]
    fn decode_e5m2(source: &[u8], target: &mut [f32]) {
        // SAFETY: the features were detected; see the type's documentation.
        unsafe { decode_e5m2(source, target) }
    }

    #[inline(always)]
    fn look_up(bytes: &[u8], high_first: bool, table: &[f32; 16], target: &mut [f32]) {
        // SAFETY: the features were detected; see the type's documentation.
        unsafe { look_up(bytes, high_first, table, target) }
    }

    #[inline(always)]
    fn look_up_cells(
        codes: &[[u8; 8]],
        high_first: bool,
        (table, scales): (&[f32; 16], &[f32]),
        cells: &mut [[f32; 16]],
    ) {
        // SAFETY: the features were detected; see the type's documentation.
        unsafe { cells_avx2::look_up(codes, high_first, (table, scales), cells) }
    }

    #[inline(always)]
    fn scale_e4m3(codes: &[u8; 32], factor: f32, target: &mut [f32; 32]) -> bool {
        // SAFETY: the features were detected; see the type's documentation.
        unsafe { cells_avx2::scale_e4m3(codes, factor, target) }
    }

    #[inline(always)]
    fn encode_e2m1(cells: &[[f32; 16]], divisors: &[f32], codes: &mut [[u8; 8]]) {
        quotients::encode_e2m1(cells, divisors, codes, |cells, divisors, codes| {
            // SAFETY: the features were detected; see the type's documentation.
            unsafe { cells_avx2::encode_e2m1(cells, divisors, codes) }
        });
    }

    #[inline(always)]
    fn rotate_sixteens(groups: &mut [[f32; 16]]) {
        // SAFETY: the features were detected; see the type's documentation.
        unsafe { rotation_x86::by_avx2(groups) }
    }

    #[inline(always)]
    fn encode_f16(values: &[f32], target: &mut [u8]) {
        // SAFETY: the features were detected; see the type's documentation.
        unsafe { encode(values, target) }
    }

    #[inline(always)]
    fn combine_f16<F: Formula<N, S>, const N: usize, const S: usize>(
        arguments: [&[u8]; N],
        scalars: [f32; S],
        target: &mut [u8],
        past: bool,
    ) -> u16 {
        // SAFETY: the features were detected; see the type's documentation.
        unsafe { combine::<F, N, S>(arguments, scalars, target, past) }
    }

    #[inline(always)]
    fn products<P: Products<N, S>, const N: usize, const S: usize>(
        dtype: Dtype,
        arguments: [&[u8]; N],
        scalars: [f32; S],
    ) -> Summed {
        // SAFETY: the features were detected; see the type's documentation.
        unsafe { products::<P, N, S>(dtype, arguments, scalars) }
    }

    #[inline(always)]
    fn change(dtype: Dtype, arguments: [&[u8]; 2], target: &mut [f32]) {
        // SAFETY: the features were detected; see the type's documentation.
        unsafe { change(dtype, arguments, target) }
    }

    #[inline(always)]
    fn philox(counters: [Words; 4], key: [u32; 2]) -> [Words; 4] {
        // SAFETY: the features were detected; see the type's documentation.
        unsafe { philox(counters, key) }
    }
}

#[target_feature(enable = "avx2,f16c")]
#[inline]
fn decode(source: &[u8], target: &mut [f32]) {
    let (halves, _) = source.as_chunks::<16>();
    let (floats, rest) = target.as_chunks_mut::<8>();
    let whole = floats.len();
    for (float, half) in floats.iter_mut().zip(halves) {
        // SAFETY: both are plain vectors of 16 bytes; every bit pattern is valid.
        let half = unsafe { std::mem::transmute::<[u8; 16], __m128i>(*half) };
        let wide = _mm256_cvtph_ps(half);
        // SAFETY: both are plain vectors of 32 bytes; every bit pattern is valid.
        *float = unsafe { std::mem::transmute::<__m256, [f32; 8]>(wide) };
    }
    Portable::decode_f16(&source[whole * 16..], rest);
}

#[target_feature(enable = "avx2,f16c")]
#[inline]
fn decode_e4m3(source: &[u8], target: &mut [f32]) {
    let rest = eights(source, target, |words| from_e4m3(words));
    Portable::decode_e4m3(&source[rest..], &mut target[rest..]);
}

/// Shifted by 7 bits, a magnitude is the half float 2^-8 times its size, subnormals too.
#[target_feature(enable = "avx2,f16c")]
#[inline]
pub(super) fn from_e4m3(words: __m128i) -> __m256 {
    let (nan, bits) = (_mm_set1_epi16(0x7f), _mm_set1_epi16(0x7e00));
    let magnitude = _mm_and_si128(words, nan);
    let sign = _mm_slli_epi16::<8>(_mm_andnot_si128(nan, words));
    let finite = _mm_slli_epi16::<7>(magnitude);
    let half = _mm_blendv_epi8(finite, bits, _mm_cmpeq_epi16(magnitude, nan));
    _mm256_mul_ps(_mm256_cvtph_ps(_mm_or_si128(half, sign)), _mm256_set1_ps(256.0))
}

/// The upper half of a half float.
#[target_feature(enable = "avx2,f16c")]
#[inline]
fn decode_e5m2(source: &[u8], target: &mut [f32]) {
    let rest = eights(source, target, |words| _mm256_cvtph_ps(_mm_slli_epi16::<8>(words)));
    Portable::decode_e5m2(&source[rest..], &mut target[rest..]);
}

/// Decode eight bytes at a time, each widened to a word; the number that was decoded.
#[target_feature(enable = "avx2,f16c")]
#[inline]
pub(super) fn eights(
    source: &[u8],
    target: &mut [f32],
    decode: impl Fn(__m128i) -> __m256,
) -> usize {
    let (floats, _) = target.as_chunks_mut::<8>();
    for (float, bytes) in floats.iter_mut().zip(source.as_chunks::<8>().0) {
        let words = _mm_cvtepu8_epi16(_mm_cvtsi64_si128(i64::from_le_bytes(*bytes)));
        // SAFETY: both are plain vectors of 32 bytes; every bit pattern is valid.
        *float = unsafe { std::mem::transmute::<__m256, [f32; 8]>(decode(words)) };
    }
    floats.len() * 8
}

/// Eight nibbles of a word at a time: their lower three bits are a place in either half of the
/// table, the highest one tells which.
#[target_feature(enable = "avx2,f16c")]
#[inline]
fn look_up(bytes: &[u8], high_first: bool, table: &[f32; 16], target: &mut [f32]) {
    // SAFETY: both are plain vectors of 64 bytes; every bit pattern is valid.
    let [low, high] = unsafe { std::mem::transmute::<[f32; 16], [__m256; 2]>(*table) };
    let shifts = shifts(high_first);
    let (eights, rest) = target.as_chunks_mut::<8>();
    for (eight, word) in eights.iter_mut().zip(bytes.as_chunks::<4>().0) {
        let places = places(*word, shifts);
        let first = _mm256_permutevar8x32_ps(low, places);
        let second = _mm256_permutevar8x32_ps(high, places);
        let which = _mm256_castsi256_ps(_mm256_slli_epi32::<28>(places));
        let found = _mm256_blendv_ps(first, second, which);
        // SAFETY: both are plain vectors of 32 bytes; every bit pattern is valid.
        *eight = unsafe { std::mem::transmute::<__m256, [f32; 8]>(found) };
    }
    Portable::look_up(&bytes[4 * eights.len()..], high_first, table, rest);
}

/// Where the eight nibbles of a word begin, the first of a byte in its upper half or in its lower one.
#[target_feature(enable = "avx2,f16c")]
#[inline]
pub(super) fn shifts(high_first: bool) -> __m256i {
    if high_first {
        _mm256_setr_epi32(4, 0, 12, 8, 20, 16, 28, 24)
    } else {
        _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28)
    }
}

/// The nibbles of a word in the lower four bits of numbers.
#[target_feature(enable = "avx2,f16c")]
#[inline]
pub(super) fn places(word: [u8; 4], shifts: __m256i) -> __m256i {
    _mm256_srlv_epi32(_mm256_set1_epi32(i32::from_le_bytes(word)), shifts)
}

#[target_feature(enable = "avx2,f16c")]
#[inline]
fn encode(values: &[f32], target: &mut [u8]) {
    let (floats, rest) = values.as_chunks::<8>();
    let (halves, tail) = target.split_at_mut(floats.len() * 16);
    for (float, half) in floats.iter().zip(halves.as_chunks_mut::<16>().0) {
        // SAFETY: both are plain vectors of 32 bytes; every bit pattern is valid.
        let wide = unsafe { std::mem::transmute::<[f32; 8], __m256>(*float) };
        let packed = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(wide);
        // SAFETY: both are plain vectors of 16 bytes; every bit pattern is valid.
        *half = unsafe { std::mem::transmute::<__m128i, [u8; 16]>(packed) };
    }
    Portable::encode_f16(rest, tail);
}

/// Sixteen numbers in two vectors.
#[derive(Clone, Copy)]
pub(crate) struct Eights([__m256; 2]);

impl Eights {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(__m256, __m256) -> __m256) -> Self {
        Self([f(self.0[0], other.0[0]), f(self.0[1], other.0[1])])
    }
}

impl Lanes for Eights {
    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: made only where the feature is.
        Self([unsafe { _mm256_set1_ps(value) }; 2])
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: as above.
        self.zip(other, |x, y| unsafe { _mm256_add_ps(x, y) })
    }

    #[inline(always)]
    fn subtract(self, other: Self) -> Self {
        // SAFETY: as above.
        self.zip(other, |x, y| unsafe { _mm256_sub_ps(x, y) })
    }

    #[inline(always)]
    fn multiply(self, other: Self) -> Self {
        // SAFETY: as above.
        self.zip(other, |x, y| unsafe { _mm256_mul_ps(x, y) })
    }

    #[inline(always)]
    fn root(self) -> Self {
        // SAFETY: as above.
        self.zip(self, |x, _| unsafe { _mm256_sqrt_ps(x) })
    }

    #[inline(always)]
    fn signed(self, other: Self) -> Self {
        // SAFETY: as above.
        self.zip(other, |x, y| unsafe { signed(x, y) })
    }

    #[inline(always)]
    fn trimmed(self, least: Self, factor: Self) -> Self {
        let [low, high] = [0, 1].map(|half| {
            // SAFETY: as above.
            unsafe { trimmed(self.0[half], least.0[half], factor.0[half]) }
        });
        Self([low, high])
    }

    #[inline(always)]
    fn vote<const COUNTED: bool>([x, y]: [Self; 2], [s, t]: [Self; 2]) -> Self {
        let [low, high] = [0, 1].map(|half| {
            // SAFETY: as above.
            unsafe { vote::<COUNTED>([x.0[half], y.0[half]], [s.0[half], t.0[half]]) }
        });
        Self([low, high])
    }
}

impl Sixteen for Eights {
    type Sums = [__m256d; 4];

    #[inline(always)]
    fn from_f16(bytes: &[u8; 32]) -> Self {
        // SAFETY: as above.
        Self(halves(bytes).map(|half| unsafe { _mm256_cvtph_ps(half) }))
    }

    #[inline(always)]
    fn to_f16(self) -> [u8; 32] {
        // SAFETY: as above.
        let pack = |x| unsafe { _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x) };
        // SAFETY: both are plain vectors of 32 bytes; every bit pattern is valid.
        unsafe { std::mem::transmute::<[__m128i; 2], [u8; 32]>(self.0.map(pack)) }
    }

    #[inline(always)]
    fn from_bf16(bytes: &[u8; 32]) -> Self {
        // SAFETY: as above.
        Self(halves(bytes).map(|half| unsafe { widened(half) }))
    }

    #[inline(always)]
    fn from_f32(bytes: &[u8; 64]) -> Self {
        // SAFETY: both are plain vectors of 64 bytes; every bit pattern is valid.
        Self(unsafe { std::mem::transmute::<[u8; 64], [__m256; 2]>(*bytes) })
    }

    #[inline(always)]
    fn from_numbers(numbers: [f32; SIXTEEN]) -> Self {
        // SAFETY: both are plain vectors of 64 bytes; every bit pattern is valid.
        Self(unsafe { std::mem::transmute::<[f32; SIXTEEN], [__m256; 2]>(numbers) })
    }

    #[inline(always)]
    fn add_exact(self, x: Self, y: Self) -> Self {
        // SAFETY: as above.
        let fused = |half: usize| unsafe { _mm256_fmadd_ps(x.0[half], y.0[half], self.0[half]) };
        Self([fused(0), fused(1)])
    }

    #[inline(always)]
    fn numbers(self) -> [f32; SIXTEEN] {
        // SAFETY: both are plain vectors of 64 bytes; every bit pattern is valid.
        unsafe { std::mem::transmute::<[__m256; 2], [f32; SIXTEEN]>(self.0) }
    }

    #[inline(always)]
    fn nothing() -> Self::Sums {
        // SAFETY: as above.
        [unsafe { _mm256_setzero_pd() }; 4]
    }

    #[inline(always)]
    fn add_products(self, other: Self, sums: &mut Self::Sums) {
        // SAFETY: as above.
        let [x, y] = [self, other].map(|lanes| unsafe { doubles(lanes.0) });
        for ((sum, x), y) in sums.iter_mut().zip(x).zip(y) {
            // SAFETY: as above. The product is exact, so that it is rounded once with or without it.
            *sum = unsafe { _mm256_fmadd_pd(x, y, *sum) };
        }
    }

    #[inline(always)]
    fn each(sums: Self::Sums) -> [f64; SIXTEEN] {
        // SAFETY: both are plain vectors of 128 bytes; every bit pattern is valid.
        unsafe { std::mem::transmute::<[__m256d; 4], [f64; SIXTEEN]>(sums) }
    }
}

/// Whether bytes begin where those begin that [`stream`] takes, of which there are many.
#[inline(always)]
pub(super) fn is_aligned(bytes: &[u8]) -> bool {
    bytes.as_ptr().addr().is_multiple_of(16)
}

/// Write sixteen numbers past the caches, so that their lines are not read before; the same numbers.
/// What they are part of [`is_aligned`].
#[inline(always)]
pub(super) fn stream(numbers: [u8; 32], target: &mut [u8; 32]) -> [u8; 32] {
    debug_assert!(is_aligned(target));
    for (half, target) in halves(&numbers).into_iter().zip(target.as_chunks_mut::<16>().0) {
        // SAFETY: sixteen bytes to write at an aligned address; every processor of this architecture
        // has the instruction.
        unsafe { _mm_stream_si128(target.as_mut_ptr().cast(), half) };
    }
    numbers
}

/// Sixteen halves as they are stored.
#[inline(always)]
fn halves(bytes: &[u8; 32]) -> [__m128i; 2] {
    // SAFETY: both are plain vectors of 32 bytes; every bit pattern is valid.
    unsafe { std::mem::transmute::<[u8; 32], [__m128i; 2]>(*bytes) }
}

/// Eight numbers of BF16.
#[target_feature(enable = "avx2,f16c")]
#[inline]
fn widened(halves: __m128i) -> __m256 {
    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(halves)))
}

/// The magnitudes of one with the signs of the other.
#[target_feature(enable = "avx2,f16c")]
#[inline]
fn signed(magnitudes: __m256, signs: __m256) -> __m256 {
    let sign = _mm256_set1_ps(-0.0);
    _mm256_or_ps(_mm256_andnot_ps(sign, magnitudes), _mm256_and_ps(sign, signs))
}

/// [`crate::codec::voting::trimmed`].
#[target_feature(enable = "avx2,f16c")]
#[inline]
fn trimmed(d: __m256, least: __m256, factor: __m256) -> __m256 {
    let magnitude = _mm256_andnot_ps(_mm256_set1_ps(-0.0), d);
    let large = _mm256_cmp_ps::<_CMP_GE_OQ>(magnitude, least);
    _mm256_mul_ps(_mm256_and_ps(large, d), factor)
}

/// The steps of [`crate::codec::voting`], signs as masks.
#[target_feature(enable = "avx2,f16c")]
#[inline]
fn vote<const COUNTED: bool>([x, y]: [__m256; 2], [s, t]: [__m256; 2]) -> __m256 {
    let zero = _mm256_setzero_ps();
    let above = [x, y].map(|lane| _mm256_cmp_ps::<_CMP_GT_OQ>(lane, zero));
    let below = [x, y].map(|lane| _mm256_cmp_ps::<_CMP_LT_OQ>(lane, zero));
    let either = |x, y| _mm256_or_ps(x, y);
    let (up, down) = if COUNTED {
        let more = |one: [__m256; 2], other: [__m256; 2]| {
            either(_mm256_andnot_ps(other[1], one[0]), _mm256_andnot_ps(other[0], one[1]))
        };
        (more(above, below), more(below, above))
    } else {
        let sum = _mm256_add_ps(x, y);
        (_mm256_cmp_ps::<_CMP_GE_OQ>(sum, zero), _mm256_cmp_ps::<_CMP_NGE_UQ>(sum, zero))
    };
    let agree =
        [0, 1].map(|one| either(_mm256_and_ps(above[one], up), _mm256_and_ps(below[one], down)));
    let sum = |x, y| _mm256_add_ps(_mm256_and_ps(agree[0], x), _mm256_and_ps(agree[1], y));
    let weights = sum(s, t);
    let magnitude = _mm256_andnot_ps(_mm256_set1_ps(-0.0), weights);
    let none = _mm256_cmp_ps::<_CMP_LT_OQ>(magnitude, _mm256_set1_ps(LEAST_WEIGHT as f32));
    _mm256_div_ps(sum(x, y), _mm256_blendv_ps(weights, _mm256_set1_ps(1.0), none))
}

/// Fours of float64, in their order.
#[target_feature(enable = "avx2,f16c")]
#[inline]
fn doubles([low, high]: [__m256; 2]) -> [__m256d; 4] {
    [
        _mm256_cvtps_pd(_mm256_castps256_ps128(low)),
        _mm256_cvtps_pd(_mm256_extractf128_ps::<1>(low)),
        _mm256_cvtps_pd(_mm256_castps256_ps128(high)),
        _mm256_cvtps_pd(_mm256_extractf128_ps::<1>(high)),
    ]
}

#[target_feature(enable = "avx2,f16c")]
#[inline]
fn combine<F: Formula<N, S>, const N: usize, const S: usize>(
    arguments: [&[u8]; N],
    scalars: [f32; S],
    target: &mut [u8],
    past: bool,
) -> u16 {
    let load = Eights::from_f16;
    let (greatest, tails, rest) = if past && is_aligned(target) {
        let store = |lanes: Eights, target: &mut [u8; 32]| stream(lanes.to_f16(), target);
        combine_sixteen::<Eights, F, N, S>(arguments, scalars, target, load, store)
    } else {
        let store = |lanes: Eights, target: &mut [u8; 32]| {
            *target = lanes.to_f16();
            *target
        };
        combine_sixteen::<Eights, F, N, S>(arguments, scalars, target, load, store)
    };
    greatest.max(Portable::combine_f16::<F, N, S>(tails, scalars, rest, false))
}

#[target_feature(enable = "avx2,f16c")]
#[inline]
fn products<P: Products<N, S>, const N: usize, const S: usize>(
    dtype: Dtype,
    arguments: [&[u8]; N],
    scalars: [f32; S],
) -> Summed {
    products_with::<Eights, P, N, S>(dtype, arguments, scalars)
}

#[target_feature(enable = "avx2,f16c")]
#[inline]
fn change(dtype: Dtype, arguments: [&[u8]; 2], target: &mut [f32]) {
    change_with::<Eights>(dtype, arguments, target);
}

/// Eight words in two vectors.
type Wide = [__m256i; 2];

/// The rounds of [`crate::rng::philox`] in vectors, which the compiler does not find itself.
#[target_feature(enable = "avx2,f16c")]
#[inline]
fn philox(counters: [Words; 4], key: [u32; 2]) -> [Words; 4] {
    // SAFETY: both are plain vectors of 64 bytes; every bit pattern is valid.
    let wide = |words| unsafe { std::mem::transmute::<Words, Wide>(words) };
    // SAFETY: both are plain vectors of 64 bytes; every bit pattern is valid.
    let narrow = |wide| unsafe { std::mem::transmute::<Wide, Words>(wide) };
    let [mut c0, mut c1, mut c2, mut c3] = counters.map(wide);
    for keys in round_keys(key) {
        for half in 0..2 {
            (c0[half], c1[half], c2[half], c3[half]) =
                philox_round([c0[half], c1[half], c2[half], c3[half]], keys);
        }
    }
    [c0, c1, c2, c3].map(narrow)
}

#[target_feature(enable = "avx2,f16c")]
#[inline]
fn philox_round(
    [c0, c1, c2, c3]: [__m256i; 4],
    [k0, k1]: [u32; 2],
) -> (__m256i, __m256i, __m256i, __m256i) {
    let splat = |word| _mm256_set1_epi64x(i64::from(word));
    let p0 = _mm256_mul_epu32(c0, splat(MULTIPLIERS[0]));
    let p1 = _mm256_mul_epu32(c2, splat(MULTIPLIERS[1]));
    let scramble = |product, word, key| {
        _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64::<32>(product), word), splat(key))
    };
    // What is above 32 bits is no part of the next product, nor of the result.
    (scramble(p1, c1, k0), p1, scramble(p0, c3, k1), p0)
}
