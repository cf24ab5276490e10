//! Instruction sets: the few things that have code of their own for each.

use super::lanes::{combine_with, Formula};
use super::{decode_with, eight, encode_with, half};
use crate::reduce::{self, Bracket};
use crate::rng::{self, Numbers, Words};

/// What differs between instruction sets; the results do not.
pub(crate) trait Isa {
    /// Decode half floats.
    fn decode_f16(source: &[u8], target: &mut [f32]);
    /// Decode `F8_E4M3`.
    fn decode_e4m3(source: &[u8], target: &mut [f32]);
    /// Decode `F8_E5M2`.
    fn decode_e5m2(source: &[u8], target: &mut [f32]);
    /// Look up nibbles, the first of a byte in its upper half or in its lower one.
    fn look_up(bytes: &[u8], high_first: bool, table: &[f32; 16], target: &mut [f32]);
    /// Divide numbers and round them to E2M1, the first of two in the upper half of a byte.
    fn encode_e2m1(values: &[f32; 16], divisor: f32, codes: &mut [u8; 8]);
    /// Encode half floats, rounding to nearest even.
    fn encode_f16(values: &[f32], target: &mut [u8]);
    /// A formula of half floats.
    fn combine_f16<const N: usize>(
        arguments: [&[u8]; N],
        formula: &impl Formula<N>,
        target: &mut [u8],
    );
    /// Philox4x32-10 of eight counters; words of 32 bits, and whatever is above them.
    fn philox(counters: [Words; 4], key: [u32; 2]) -> [Words; 4];

    /// Numbers of [0, 1) from the same, those of one counter after another.
    #[inline(always)]
    fn uniforms(counters: [Words; 4], key: [u32; 2], target: &mut Numbers) {
        rng::uniforms(&Self::philox(counters, key), target);
    }

    /// The number of values below a bracket; the places of those within it are added to `inside`.
    #[inline(always)]
    fn divide(bracket: Bracket, inside: &mut Vec<u32>, values: &[f32]) -> u64 {
        reduce::divide(bracket, inside, values)
    }
}

/// What the compiler makes of plain code.
pub(crate) struct Portable;

impl Isa for Portable {
    #[inline(always)]
    fn decode_f16(source: &[u8], target: &mut [f32]) {
        decode_with(source, target, |bytes| half::from_f16(u16::from_le_bytes(bytes)));
    }

    #[inline(always)]
    fn decode_e4m3(source: &[u8], target: &mut [f32]) {
        decode_with(source, target, |[byte]: [u8; 1]| eight::from_e4m3(byte));
    }

    #[inline(always)]
    fn decode_e5m2(source: &[u8], target: &mut [f32]) {
        decode_with(source, target, |[byte]: [u8; 1]| eight::from_e5m2(byte));
    }

    #[inline(always)]
    fn look_up(bytes: &[u8], high_first: bool, table: &[f32; 16], target: &mut [f32]) {
        for (index, target) in target.iter_mut().enumerate() {
            let high = (index % 2 == 0) == high_first;
            *target = table[usize::from(bytes[index / 2] >> if high { 4 } else { 0 } & 15)];
        }
    }

    #[inline(always)]
    fn encode_e2m1(values: &[f32; 16], divisor: f32, codes: &mut [u8; 8]) {
        let mut apart = [0_u8; 16];
        for (code, value) in apart.iter_mut().zip(values) {
            *code = eight::to_e2m1(*value / divisor);
        }
        // All of it in the same steps, without a branch.
        for (four, eight) in codes.as_chunks_mut::<4>().0.iter_mut().zip(apart.as_chunks().0) {
            let eight = u64::from_le_bytes(*eight);
            let pairs = (eight << 4 | eight >> 8) & 0x00ff_00ff_00ff_00ff;
            let fours = (pairs | pairs >> 8) & 0x0000_ffff_0000_ffff;
            *four = ((fours | fours >> 16) as u32).to_le_bytes();
        }
    }

    #[inline(always)]
    fn encode_f16(values: &[f32], target: &mut [u8]) {
        encode_with(values, target, |x| half::to_f16(x).to_le_bytes());
    }

    #[inline(always)]
    fn combine_f16<const N: usize>(
        arguments: [&[u8]; N],
        formula: &impl Formula<N>,
        target: &mut [u8],
    ) {
        let decode = |bytes| half::from_f16(u16::from_le_bytes(bytes));
        combine_with(arguments, formula, target, decode, |x| half::to_f16(x).to_le_bytes());
    }

    #[inline(always)]
    fn philox(counters: [Words; 4], key: [u32; 2]) -> [Words; 4] {
        rng::philox(counters, key)
    }
}

/// AVX2 and F16C. Used only where AVX2 and F16C were detected (`vm/simd.rs`).
#[cfg(target_arch = "x86_64")]
pub(crate) struct Avx2;

#[cfg(target_arch = "x86_64")]
impl Isa for Avx2 {
    #[inline(always)]
    fn decode_f16(source: &[u8], target: &mut [f32]) {
        // SAFETY: the features were detected; see the type's documentation.
        unsafe { x86::decode(source, target) }
    }

    #[inline(always)]
    fn decode_e4m3(source: &[u8], target: &mut [f32]) {
        // SAFETY: the features were detected; see the type's documentation.
        unsafe { x86::decode_e4m3(source, target) }
    }

    #[inline(always)]
    fn decode_e5m2(source: &[u8], target: &mut [f32]) {
        // SAFETY: the features were detected; see the type's documentation.
        unsafe { x86::decode_e5m2(source, target) }
    }

    #[inline(always)]
    fn look_up(bytes: &[u8], high_first: bool, table: &[f32; 16], target: &mut [f32]) {
        // SAFETY: the features were detected; see the type's documentation.
        unsafe { x86::look_up(bytes, high_first, table, target) }
    }

    #[inline(always)]
    fn encode_e2m1(values: &[f32; 16], divisor: f32, codes: &mut [u8; 8]) {
        Portable::encode_e2m1(values, divisor, codes);
    }

    #[inline(always)]
    fn encode_f16(values: &[f32], target: &mut [u8]) {
        // SAFETY: the features were detected; see the type's documentation.
        unsafe { x86::encode(values, target) }
    }

    #[inline(always)]
    fn combine_f16<const N: usize>(
        arguments: [&[u8]; N],
        formula: &impl Formula<N>,
        target: &mut [u8],
    ) {
        // SAFETY: the features were detected; see the type's documentation.
        unsafe { x86::combine(arguments, formula, target) }
    }

    #[inline(always)]
    fn philox(counters: [Words; 4], key: [u32; 2]) -> [Words; 4] {
        // SAFETY: the features were detected; see the type's documentation.
        unsafe { x86::philox(counters, key) }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! Eight halves at a time, the rest one by one.

    use std::arch::x86_64::{
        __m128i, __m256, __m256i, _mm256_add_ps, _mm256_blendv_ps, _mm256_castsi256_ps,
        _mm256_cvtph_ps, _mm256_cvtps_ph, _mm256_mul_epu32, _mm256_mul_ps,
        _mm256_permutevar8x32_ps, _mm256_set1_epi32, _mm256_set1_epi64x, _mm256_set1_ps,
        _mm256_setr_epi32, _mm256_slli_epi32, _mm256_srli_epi64, _mm256_srlv_epi32, _mm256_sub_ps,
        _mm256_xor_si256, _mm_and_si128, _mm_andnot_si128, _mm_blendv_epi8, _mm_cmpeq_epi16,
        _mm_cvtepu8_epi16, _mm_cvtsi64_si128, _mm_or_si128, _mm_set1_epi16, _mm_slli_epi16,
        _MM_FROUND_TO_NEAREST_INT,
    };

    use super::{Formula, Isa, Portable, Words};
    use crate::codec::lanes::Lanes;
    use crate::rng::{round_keys, MULTIPLIERS};

    #[target_feature(enable = "avx2,f16c")]
    #[inline]
    pub(super) fn decode(source: &[u8], target: &mut [f32]) {
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

    /// Shifted by 7 bits, a magnitude is the half float 2^-8 times its size, subnormals too.
    #[target_feature(enable = "avx2,f16c")]
    #[inline]
    pub(super) fn decode_e4m3(source: &[u8], target: &mut [f32]) {
        let (nan, bits) = (_mm_set1_epi16(0x7f), _mm_set1_epi16(0x7e00));
        let scale = _mm256_set1_ps(256.0);
        let rest = eights(source, target, |words| {
            let magnitude = _mm_and_si128(words, nan);
            let sign = _mm_slli_epi16::<8>(_mm_andnot_si128(nan, words));
            let finite = _mm_slli_epi16::<7>(magnitude);
            let half = _mm_blendv_epi8(finite, bits, _mm_cmpeq_epi16(magnitude, nan));
            _mm256_mul_ps(_mm256_cvtph_ps(_mm_or_si128(half, sign)), scale)
        });
        Portable::decode_e4m3(&source[rest..], &mut target[rest..]);
    }

    /// The upper half of a half float.
    #[target_feature(enable = "avx2,f16c")]
    #[inline]
    pub(super) fn decode_e5m2(source: &[u8], target: &mut [f32]) {
        let rest = eights(source, target, |words| _mm256_cvtph_ps(_mm_slli_epi16::<8>(words)));
        Portable::decode_e5m2(&source[rest..], &mut target[rest..]);
    }

    /// Decode eight bytes at a time, each widened to a word; the number that was decoded.
    #[target_feature(enable = "avx2,f16c")]
    #[inline]
    fn eights(source: &[u8], target: &mut [f32], decode: impl Fn(__m128i) -> __m256) -> usize {
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
    pub(super) fn look_up(bytes: &[u8], high_first: bool, table: &[f32; 16], target: &mut [f32]) {
        // SAFETY: both are plain vectors of 64 bytes; every bit pattern is valid.
        let [low, high] = unsafe { std::mem::transmute::<[f32; 16], [__m256; 2]>(*table) };
        let shifts = if high_first {
            _mm256_setr_epi32(4, 0, 12, 8, 20, 16, 28, 24)
        } else {
            _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28)
        };
        let (eights, rest) = target.as_chunks_mut::<8>();
        for (eight, word) in eights.iter_mut().zip(bytes.as_chunks::<4>().0) {
            let places = _mm256_srlv_epi32(_mm256_set1_epi32(i32::from_le_bytes(*word)), shifts);
            let first = _mm256_permutevar8x32_ps(low, places);
            let second = _mm256_permutevar8x32_ps(high, places);
            let which = _mm256_castsi256_ps(_mm256_slli_epi32::<28>(places));
            let found = _mm256_blendv_ps(first, second, which);
            // SAFETY: both are plain vectors of 32 bytes; every bit pattern is valid.
            *eight = unsafe { std::mem::transmute::<__m256, [f32; 8]>(found) };
        }
        Portable::look_up(&bytes[4 * eights.len()..], high_first, table, rest);
    }

    #[target_feature(enable = "avx2,f16c")]
    #[inline]
    pub(super) fn encode(values: &[f32], target: &mut [u8]) {
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

    /// Eight numbers.
    #[derive(Clone, Copy)]
    struct Eight(__m256);

    impl Lanes for Eight {
        #[inline(always)]
        fn splat(value: f32) -> Self {
            // SAFETY: made only in `combine`, where the feature is.
            Self(unsafe { _mm256_set1_ps(value) })
        }

        #[inline(always)]
        fn add(self, other: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { _mm256_add_ps(self.0, other.0) })
        }

        #[inline(always)]
        fn subtract(self, other: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { _mm256_sub_ps(self.0, other.0) })
        }

        #[inline(always)]
        fn multiply(self, other: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { _mm256_mul_ps(self.0, other.0) })
        }
    }

    #[target_feature(enable = "avx2,f16c")]
    #[inline]
    pub(super) fn combine<const N: usize>(
        arguments: [&[u8]; N],
        formula: &impl Formula<N>,
        target: &mut [u8],
    ) {
        let (eights, rest) = target.as_chunks_mut::<16>();
        let whole = eights.len();
        let mut halves: [&[[u8; 16]]; N] = [&[]; N];
        let mut tails: [&[u8]; N] = [&[]; N];
        for ((halves, tail), bytes) in halves.iter_mut().zip(&mut tails).zip(arguments) {
            *halves = &bytes.as_chunks::<16>().0[..whole];
            *tail = &bytes[whole * 16..];
        }
        for (index, target) in eights.iter_mut().enumerate() {
            let mut lanes = [Eight::splat(0.0); N];
            for (lane, halves) in lanes.iter_mut().zip(halves) {
                // SAFETY: both are plain vectors of 16 bytes; every bit pattern is valid.
                let half = unsafe { std::mem::transmute::<[u8; 16], __m128i>(halves[index]) };
                *lane = Eight(_mm256_cvtph_ps(half));
            }
            let result = formula.apply(lanes).0;
            let packed = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(result);
            // SAFETY: both are plain vectors of 16 bytes; every bit pattern is valid.
            *target = unsafe { std::mem::transmute::<__m128i, [u8; 16]>(packed) };
        }
        Portable::combine_f16(tails, formula, rest);
    }

    /// Eight words in two vectors.
    type Wide = [__m256i; 2];

    /// The rounds of [`crate::rng::philox`] in vectors, which the compiler does not find itself.
    #[target_feature(enable = "avx2,f16c")]
    #[inline]
    pub(super) fn philox(counters: [Words; 4], key: [u32; 2]) -> [Words; 4] {
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
        let mix = |product, word, key| {
            _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64::<32>(product), word), splat(key))
        };
        // What is above 32 bits is no part of the next product, nor of the result.
        (mix(p1, c1, k0), p1, mix(p0, c3, k1), p0)
    }
}
