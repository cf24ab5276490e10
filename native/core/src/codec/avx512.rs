//! AVX-512 (F, BW, DQ, VL): sixteen numbers at a time, and what is left over as AVX2 has it.

use std::arch::x86_64::{
    __m256i, __m512, __m512d, __m512i, _mm512_abs_ps, _mm512_add_epi32, _mm512_add_ps,
    _mm512_and_si512, _mm512_castps512_ps256, _mm512_castps_si512, _mm512_castsi128_si512,
    _mm512_castsi512_ps, _mm512_castsi512_si256, _mm512_cmp_ps_mask, _mm512_cmpeq_epi16_mask,
    _mm512_cmplt_epu32_mask, _mm512_cvtepi32_epi16, _mm512_cvtepi32_ps, _mm512_cvtepu16_epi32,
    _mm512_cvtepu8_epi16, _mm512_cvtph_ps, _mm512_cvtps_pd, _mm512_cvtps_ph, _mm512_div_ps,
    _mm512_extractf32x8_ps, _mm512_extracti64x4_epi64, _mm512_fmadd_pd, _mm512_fmadd_ps,
    _mm512_mask_blend_epi32, _mm512_mask_mov_epi16, _mm512_mask_mov_ps,
    _mm512_maskz_compress_epi32, _mm512_maskz_mov_ps, _mm512_mul_epu32, _mm512_mul_ps,
    _mm512_permutex2var_epi64, _mm512_permutexvar_epi32, _mm512_permutexvar_ps, _mm512_set1_epi16,
    _mm512_set1_epi32, _mm512_set1_epi64, _mm512_set1_ps, _mm512_setr_epi32, _mm512_setr_epi64,
    _mm512_setzero_pd, _mm512_setzero_ps, _mm512_slli_epi16, _mm512_slli_epi32, _mm512_slli_epi64,
    _mm512_sqrt_ps, _mm512_srli_epi32, _mm512_srli_epi64, _mm512_srlv_epi32, _mm512_sub_epi32,
    _mm512_sub_ps, _mm512_ternarylogic_epi32, _mm512_ternarylogic_epi64, _mm_cvtsi64_si128,
    _CMP_GE_OQ, _CMP_GT_OQ, _CMP_LT_OQ, _MM_FROUND_TO_NEAREST_INT,
};
use std::mem::transmute;

use super::avx2::{is_aligned, stream, Avx2};
use super::blocks::{Column, Sums};
use super::cells_avx512;
use super::formula::{Formula, Products};
use super::isa::{Isa, Portable};
use super::lanes::{change_with, combine_sixteen, products_with, Lanes, Sixteen, Summed, SIXTEEN};
use super::quotients;
use super::rotation_x86;
use crate::dtype::Dtype;
use crate::program::LEAST_WEIGHT;
use crate::reduce::{self, Bracket};
use crate::rng::{round_keys, Numbers, Words, MULTIPLIERS, SCALE};

/// Used only where all of these were detected (`vm/simd.rs`).
pub(crate) struct Avx512;

impl Isa for Avx512 {
    type Sixteen = Vector;
    const TALL: usize = 8;

    #[inline(always)]
    fn search_codes(
        values: &[Column; 32],
        weights: &[Column; 32],
        factor: &Column,
        minimum: &Column,
        most: f32,
        codes: &mut [Column; 32],
    ) -> Sums {
        Avx2::search_codes(values, weights, factor, minimum, most, codes)
    }

    #[inline(always)]
    fn search_error(
        values: &[Column; 32],
        weights: &[Column; 32],
        codes: &[Column; 32],
        scale: &Column,
        minimum: &Column,
    ) -> Column {
        Avx2::search_error(values, weights, codes, scale, minimum)
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
        Avx2::decode_e5m2(source, target);
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
        unsafe { cells_avx512::look_up(codes, high_first, (table, scales), cells) }
    }

    #[inline(always)]
    fn encode_e2m1(cells: &[[f32; 16]], divisors: &[f32], codes: &mut [[u8; 8]]) {
        quotients::encode_e2m1(cells, divisors, codes, |cells, divisors, codes| {
            // SAFETY: the features were detected; see the type's documentation.
            unsafe { cells_avx512::encode_e2m1(cells, divisors, codes) }
        });
    }

    #[inline(always)]
    fn greatest_each<const N: usize>(cells: &[[f32; N]], targets: &mut [f32]) -> bool {
        // SAFETY: the features were detected; see the type's documentation.
        unsafe { cells_avx512::greatest_each(cells, targets) }
    }

    #[inline(always)]
    fn scale_e4m3(codes: &[u8; 32], factor: f32, target: &mut [f32; 32]) -> bool {
        // SAFETY: the features were detected; see the type's documentation.
        unsafe { cells_avx512::scale_e4m3(codes, factor, target) }
    }

    #[inline(always)]
    fn rotate_sixteens(groups: &mut [[f32; 16]]) {
        // SAFETY: the features were detected; see the type's documentation.
        unsafe { rotation_x86::by_avx512(groups) }
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
    fn combine_bf16<F: Formula<N, S>, const N: usize, const S: usize>(
        arguments: [&[u8]; N],
        scalars: [f32; S],
        target: &mut [u8],
        past: bool,
    ) -> u16 {
        // SAFETY: the features were detected; see the type's documentation.
        unsafe { combine_bf16::<F, N, S>(arguments, scalars, target, past) }
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

    #[inline(always)]
    fn uniforms(counters: [Words; 4], key: [u32; 2], target: &mut Numbers) {
        // SAFETY: the features were detected; see the type's documentation.
        unsafe { uniforms(counters, key, target) }
    }

    #[inline(always)]
    fn divide(bracket: Bracket, inside: &mut Vec<u32>, values: &[f32]) -> u64 {
        // SAFETY: the features were detected; see the type's documentation.
        unsafe { divide(bracket, inside, values) }
    }
}

/// Sixteen halves as they are stored.
#[inline(always)]
pub(super) fn halves(bytes: [u8; 32]) -> __m256i {
    // SAFETY: both are plain vectors of 32 bytes; every bit pattern is valid.
    unsafe { transmute::<[u8; 32], __m256i>(bytes) }
}

#[inline(always)]
fn stored(halves: __m256i) -> [u8; 32] {
    // SAFETY: both are plain vectors of 32 bytes; every bit pattern is valid.
    unsafe { transmute::<__m256i, [u8; 32]>(halves) }
}

#[inline(always)]
pub(super) fn wide(floats: [f32; 16]) -> __m512 {
    // SAFETY: both are plain vectors of 64 bytes; every bit pattern is valid.
    unsafe { transmute::<[f32; 16], __m512>(floats) }
}

#[inline(always)]
pub(super) fn narrow(floats: __m512) -> [f32; 16] {
    // SAFETY: both are plain vectors of 64 bytes; every bit pattern is valid.
    unsafe { transmute::<__m512, [f32; 16]>(floats) }
}

#[target_feature(enable = "avx2,f16c,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
fn decode(source: &[u8], target: &mut [f32]) {
    let (floats, rest) = target.as_chunks_mut::<16>();
    let whole = floats.len();
    for (floats, bytes) in floats.iter_mut().zip(source.as_chunks::<32>().0) {
        *floats = narrow(_mm512_cvtph_ps(halves(*bytes)));
    }
    Portable::decode_f16(&source[whole * 32..], rest);
}

#[target_feature(enable = "avx2,f16c,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
fn decode_e4m3(source: &[u8], target: &mut [f32]) {
    let (floats, rest) = target.as_chunks_mut::<32>();
    let whole = floats.len();
    for (floats, bytes) in floats.iter_mut().zip(source.as_chunks::<32>().0) {
        let (sixteen, _) = floats.as_chunks_mut::<16>();
        for (sixteen, half) in sixteen.iter_mut().zip(from_e4m3(halves(*bytes)).0) {
            *sixteen = narrow(half);
        }
    }
    Avx2::decode_e4m3(&source[whole * 32..], rest);
}

/// The steps of AVX2, thirty-two at a time; and whether none is a NaN.
#[target_feature(enable = "avx2,f16c,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
pub(super) fn from_e4m3(bytes: __m256i) -> ([__m512; 2], bool) {
    let (magnitudes, signs) = (_mm512_set1_epi16(0x7f), _mm512_set1_epi16(i16::MIN));
    let words = _mm512_cvtepu8_epi16(bytes);
    let magnitude = _mm512_and_si512(words, magnitudes);
    let finite = _mm512_slli_epi16::<7>(magnitude);
    let is_nan = _mm512_cmpeq_epi16_mask(magnitude, magnitudes);
    let half = _mm512_mask_mov_epi16(finite, is_nan, _mm512_set1_epi16(0x7e00));
    // Bits of the second where the first has ones, of the third elsewhere.
    let half = _mm512_ternarylogic_epi32::<0xca>(signs, _mm512_slli_epi16::<8>(words), half);
    let (low, high) = (_mm512_castsi512_si256(half), _mm512_extracti64x4_epi64::<1>(half));
    let scale = _mm512_set1_ps(256.0);
    let numbers = [low, high].map(|half| _mm512_mul_ps(_mm512_cvtph_ps(half), scale));
    (numbers, is_nan == 0)
}

#[target_feature(enable = "avx2,f16c,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
fn encode(values: &[f32], target: &mut [u8]) {
    let (floats, rest) = values.as_chunks::<16>();
    let (bytes, tail) = target.split_at_mut(floats.len() * 32);
    for (floats, bytes) in floats.iter().zip(bytes.as_chunks_mut::<32>().0) {
        *bytes = stored(_mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(wide(*floats)));
    }
    Portable::encode_f16(rest, tail);
}

/// Sixteen nibbles at a time, each a place in the table by its lower four bits.
#[target_feature(enable = "avx2,f16c,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
fn look_up(bytes: &[u8], high_first: bool, table: &[f32; 16], target: &mut [f32]) {
    let (floats, rest) = target.as_chunks_mut::<16>();
    let whole = floats.len();
    for (floats, bytes) in floats.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *floats = narrow(_mm512_permutexvar_ps(places(*bytes, high_first), wide(*table)));
    }
    Avx2::look_up(&bytes[8 * whole..], high_first, table, rest);
}

/// Sixteen nibbles in the lower four bits of numbers, which are all that a look-up goes by.
#[target_feature(enable = "avx2,f16c,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
pub(super) fn places(bytes: [u8; 8], high_first: bool) -> __m512i {
    let words = _mm512_castsi128_si512(_mm_cvtsi64_si128(i64::from_le_bytes(bytes)));
    let which = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
    let shifts = if high_first {
        _mm512_setr_epi32(4, 0, 12, 8, 20, 16, 28, 24, 4, 0, 12, 8, 20, 16, 28, 24)
    } else {
        _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28)
    };
    _mm512_srlv_epi32(_mm512_permutexvar_epi32(which, words), shifts)
}

/// Sixteen numbers in a vector.
#[derive(Clone, Copy)]
pub(crate) struct Vector(__m512);

impl Lanes for Vector {
    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: made only where the feature is.
        Self(unsafe { _mm512_set1_ps(value) })
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn subtract(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_sub_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn multiply(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_mul_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn root(self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_sqrt_ps(self.0) })
    }

    #[inline(always)]
    fn signed(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { signed(self.0, other.0) })
    }

    #[inline(always)]
    fn trimmed(self, least: Self, factor: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { trimmed(self.0, least.0, factor.0) })
    }

    #[inline(always)]
    fn vote<const COUNTED: bool>([x, y]: [Self; 2], [s, t]: [Self; 2]) -> Self {
        // SAFETY: as above.
        Self(unsafe { vote::<COUNTED>([x.0, y.0], [s.0, t.0]) })
    }
}

impl Sixteen for Vector {
    type Sums = [__m512d; 2];

    #[inline(always)]
    fn from_f16(bytes: &[u8; 32]) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_cvtph_ps(halves(*bytes)) })
    }

    #[inline(always)]
    fn to_f16(self) -> [u8; 32] {
        // SAFETY: as above.
        stored(unsafe { _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self.0) })
    }

    #[inline(always)]
    fn from_bf16(bytes: &[u8; 32]) -> Self {
        // SAFETY: as above.
        let words = unsafe { _mm512_cvtepu16_epi32(halves(*bytes)) };
        // SAFETY: as above.
        let bits = unsafe { _mm512_slli_epi32::<16>(words) };
        // SAFETY: as above.
        Self(unsafe { _mm512_castsi512_ps(bits) })
    }

    #[inline(always)]
    fn from_f32(bytes: &[u8; 64]) -> Self {
        // SAFETY: both are plain vectors of 64 bytes; every bit pattern is valid.
        Self(unsafe { transmute::<[u8; 64], __m512>(*bytes) })
    }

    #[inline(always)]
    fn from_numbers(numbers: [f32; SIXTEEN]) -> Self {
        Self(wide(numbers))
    }

    #[inline(always)]
    fn add_exact(self, x: Self, y: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_fmadd_ps(x.0, y.0, self.0) })
    }

    #[inline(always)]
    fn numbers(self) -> [f32; SIXTEEN] {
        narrow(self.0)
    }

    #[inline(always)]
    fn nothing() -> Self::Sums {
        // SAFETY: as above.
        [unsafe { _mm512_setzero_pd() }; 2]
    }

    #[inline(always)]
    fn add_products(self, other: Self, sums: &mut Self::Sums) {
        // SAFETY: as above.
        let [x, y] = [self, other].map(|lanes| unsafe { doubles(lanes.0) });
        for ((sum, x), y) in sums.iter_mut().zip(x).zip(y) {
            // SAFETY: as above. The product is exact, so that it is rounded once with or without it.
            *sum = unsafe { _mm512_fmadd_pd(x, y, *sum) };
        }
    }

    #[inline(always)]
    fn each(sums: Self::Sums) -> [f64; SIXTEEN] {
        // SAFETY: both are plain vectors of 128 bytes; every bit pattern is valid.
        unsafe { transmute::<[__m512d; 2], [f64; SIXTEEN]>(sums) }
    }
}

/// The magnitudes of one with the signs of the other.
#[target_feature(enable = "avx2,f16c,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
fn signed(magnitudes: __m512, signs: __m512) -> __m512 {
    let [x, y] = [magnitudes, signs].map(|floats| _mm512_castps_si512(floats));
    // Bits of the second where the first has ones, of the third elsewhere.
    let sign = _mm512_set1_epi32(i32::MIN);
    _mm512_castsi512_ps(_mm512_ternarylogic_epi32::<0xca>(sign, y, x))
}

/// [`crate::codec::voting::trimmed`].
#[target_feature(enable = "avx2,f16c,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
fn trimmed(d: __m512, least: __m512, factor: __m512) -> __m512 {
    let large = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(_mm512_abs_ps(d), least);
    _mm512_mul_ps(_mm512_maskz_mov_ps(large, d), factor)
}

/// The steps of [`crate::codec::voting`], signs as masks.
#[target_feature(enable = "avx2,f16c,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
fn vote<const COUNTED: bool>([x, y]: [__m512; 2], [s, t]: [__m512; 2]) -> __m512 {
    let zero = _mm512_setzero_ps();
    let above = [x, y].map(|lane| _mm512_cmp_ps_mask::<_CMP_GT_OQ>(lane, zero));
    let below = [x, y].map(|lane| _mm512_cmp_ps_mask::<_CMP_LT_OQ>(lane, zero));
    let (up, down) = if COUNTED {
        let up = above[0] & !below[1] | above[1] & !below[0];
        (up, below[0] & !above[1] | below[1] & !above[0])
    } else {
        let up = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(_mm512_add_ps(x, y), zero);
        (up, !up)
    };
    let agree = [above[0] & up | below[0] & down, above[1] & up | below[1] & down];
    let sum =
        |x, y| _mm512_add_ps(_mm512_maskz_mov_ps(agree[0], x), _mm512_maskz_mov_ps(agree[1], y));
    let weights = sum(s, t);
    let least = _mm512_set1_ps(LEAST_WEIGHT as f32);
    let none = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(_mm512_abs_ps(weights), least);
    _mm512_div_ps(sum(x, y), _mm512_mask_mov_ps(weights, none, _mm512_set1_ps(1.0)))
}

/// The lower eight numbers as float64, and the upper eight.
#[target_feature(enable = "avx2,f16c,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
fn doubles(floats: __m512) -> [__m512d; 2] {
    let upper = _mm512_extractf32x8_ps::<1>(floats);
    [_mm512_cvtps_pd(_mm512_castps512_ps256(floats)), _mm512_cvtps_pd(upper)]
}

#[target_feature(enable = "avx2,f16c,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
fn combine<F: Formula<N, S>, const N: usize, const S: usize>(
    arguments: [&[u8]; N],
    scalars: [f32; S],
    target: &mut [u8],
    past: bool,
) -> u16 {
    let load = Vector::from_f16;
    let (greatest, tails, rest) = if past && is_aligned(target) {
        let store = |lanes: Vector, target: &mut [u8; 32]| stream(lanes.to_f16(), target);
        combine_sixteen::<Vector, F, N, S>(arguments, scalars, target, load, store)
    } else {
        let store = |lanes: Vector, target: &mut [u8; 32]| {
            *target = lanes.to_f16();
            *target
        };
        combine_sixteen::<Vector, F, N, S>(arguments, scalars, target, load, store)
    };
    greatest.max(Portable::combine_f16::<F, N, S>(tails, scalars, rest, false))
}

#[target_feature(enable = "avx2,f16c,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
fn combine_bf16<F: Formula<N, S>, const N: usize, const S: usize>(
    arguments: [&[u8]; N],
    scalars: [f32; S],
    target: &mut [u8],
    past: bool,
) -> u16 {
    let load = Vector::from_bf16;
    let (greatest, tails, rest) = if past && is_aligned(target) {
        let store =
            |lanes: Vector, target: &mut [u8; 32]| stream(stored(shortened(lanes.0)), target);
        combine_sixteen::<Vector, F, N, S>(arguments, scalars, target, load, store)
    } else {
        let store = |lanes: Vector, target: &mut [u8; 32]| {
            *target = stored(shortened(lanes.0));
            *target
        };
        combine_sixteen::<Vector, F, N, S>(arguments, scalars, target, load, store)
    };
    greatest.max(Portable::combine_bf16::<F, N, S>(tails, scalars, rest, false))
}

/// [`crate::codec::half::finite_to_bf16`]; the instruction of AVX512-BF16 makes subnormals zero.
#[target_feature(enable = "avx2,f16c,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
fn shortened(floats: __m512) -> __m256i {
    let bits = _mm512_castps_si512(floats);
    let last = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
    let rounding = _mm512_add_epi32(last, _mm512_set1_epi32(0x7fff));
    _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(_mm512_add_epi32(bits, rounding)))
}

#[target_feature(enable = "avx2,f16c,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
fn products<P: Products<N, S>, const N: usize, const S: usize>(
    dtype: Dtype,
    arguments: [&[u8]; N],
    scalars: [f32; S],
) -> Summed {
    products_with::<Vector, P, N, S>(dtype, arguments, scalars)
}

#[target_feature(enable = "avx2,f16c,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
fn change(dtype: Dtype, arguments: [&[u8]; 2], target: &mut [f32]) {
    change_with::<Vector>(dtype, arguments, target);
}

#[target_feature(enable = "avx2,f16c,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
fn philox(counters: [Words; 4], key: [u32; 2]) -> [Words; 4] {
    let words = rounds(counters, key);
    // SAFETY: both are plain vectors of 64 bytes; every bit pattern is valid.
    words.map(|word| unsafe { transmute::<__m512i, Words>(word) })
}

/// The rounds of [`crate::rng::philox`]; what is above 32 bits of a word is no part of a product.
#[target_feature(enable = "avx2,f16c,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
fn rounds(counters: [Words; 4], key: [u32; 2]) -> [__m512i; 4] {
    // SAFETY: both are plain vectors of 64 bytes; every bit pattern is valid.
    let wide = |words| unsafe { transmute::<Words, __m512i>(words) };
    let splat = |word| _mm512_set1_epi64(i64::from(word));
    let [mut c0, mut c1, mut c2, mut c3] = counters.map(wide);
    for [k0, k1] in round_keys(key) {
        let p0 = _mm512_mul_epu32(c0, splat(MULTIPLIERS[0]));
        let p1 = _mm512_mul_epu32(c2, splat(MULTIPLIERS[1]));
        // The exclusive or of three.
        c0 = _mm512_ternarylogic_epi64::<0x96>(_mm512_srli_epi64::<32>(p1), c1, splat(k0));
        c2 = _mm512_ternarylogic_epi64::<0x96>(_mm512_srli_epi64::<32>(p0), c3, splat(k1));
        (c1, c3) = (p1, p0);
    }
    [c0, c1, c2, c3]
}

#[target_feature(enable = "avx2,f16c,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
fn uniforms(counters: [Words; 4], key: [u32; 2], target: &mut Numbers) {
    let [w0, w1, w2, w3] = rounds(counters, key);
    let pair = |x, y| _mm512_mask_blend_epi32(0xaaaa, x, _mm512_slli_epi64::<32>(y));
    let (first, second) = (pair(w0, w1), pair(w2, w3));
    let front = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
    let back = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
    let scale = _mm512_set1_ps(SCALE as f32);
    let (halves, _) = target.as_chunks_mut::<16>();
    for (half, places) in halves.iter_mut().zip([front, back]) {
        let words = _mm512_permutex2var_epi64(first, places, second);
        // 24 bits, which are exact in a float32.
        let bits = _mm512_srli_epi32::<8>(words);
        *half = narrow(_mm512_mul_ps(_mm512_cvtepi32_ps(bits), scale));
    }
}

#[target_feature(enable = "avx2,f16c,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
fn divide(bracket: Bracket, inside: &mut Vec<u32>, values: &[f32]) -> u64 {
    let magnitude = _mm512_set1_epi32(0x7fff_ffff);
    let first = _mm512_set1_epi32(bracket.first as i32);
    let length = _mm512_set1_epi32(bracket.length as i32);
    let (chunks, rest) = values.as_chunks::<16>();
    let (mut filled, mut below) = (inside.len(), 0);
    inside.resize(filled + values.len() + 16, 0);
    for chunk in chunks {
        // SAFETY: both are plain vectors of 64 bytes; every bit pattern is valid.
        let bits = unsafe { transmute::<[f32; 16], __m512i>(*chunk) };
        let bits = _mm512_and_si512(bits, magnitude);
        below += u64::from(_mm512_cmplt_epu32_mask(bits, first).count_ones());
        let places = _mm512_sub_epi32(bits, first);
        let within = _mm512_cmplt_epu32_mask(places, length);
        let kept = _mm512_maskz_compress_epi32(within, places);
        // SAFETY: both are plain vectors of 64 bytes; every bit pattern is valid.
        let kept = unsafe { transmute::<__m512i, [u32; 16]>(kept) };
        inside[filled..filled + 16].copy_from_slice(&kept);
        filled += within.count_ones() as usize;
    }
    inside.truncate(filled);
    below + reduce::divide(bracket, inside, rest)
}
