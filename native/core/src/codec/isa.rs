//! Instruction sets: the few things that have code of their own for each.

use super::blocks::{self, Column, Sums};
use super::formula::{Formula, Products};
use super::lanes::{change_with, combine_with, decode_bf16, products_with, Plain, Sixteen, Summed};
use super::{all_finite, decode_with, eight, encode_with, half};
use crate::dtype::Dtype;
use crate::reduce::{self, Bracket};
use crate::rng::{self, Numbers, Words};

/// What differs between instruction sets; the results do not.
pub(crate) trait Isa {
    /// Numbers in registers.
    type Sixteen: Sixteen;
    /// How many of these are summed at once, beside what is added to them; at most 8.
    const TALL: usize;

    /// Decode half floats.
    fn decode_f16(source: &[u8], target: &mut [f32]);
    /// Decode `F8_E4M3`.
    fn decode_e4m3(source: &[u8], target: &mut [f32]);
    /// Decode `F8_E5M2`.
    fn decode_e5m2(source: &[u8], target: &mut [f32]);
    /// Look up nibbles, the first of a byte in its upper half or in its lower one.
    fn look_up(bytes: &[u8], high_first: bool, table: &[f32; 16], target: &mut [f32]);
    /// Look up nibbles in a table, whose second half is the first one with the other sign, and multiply
    /// those of each cell by its scale.
    #[inline(always)]
    fn look_up_cells(
        codes: &[[u8; 8]],
        high_first: bool,
        (table, scales): (&[f32; 16], &[f32]),
        cells: &mut [[f32; 16]],
    ) {
        for ((cell, codes), scale) in cells.iter_mut().zip(codes).zip(scales) {
            let mut scaled = *table;
            for number in &mut scaled {
                *number *= *scale;
            }
            Self::look_up(codes, high_first, &scaled, cell);
        }
    }
    /// Numbers of E4M3 times a factor; whether all are finite, where the factor is small.
    #[inline(always)]
    fn scale_e4m3(codes: &[u8; 32], factor: f32, target: &mut [f32; 32]) -> bool {
        Self::decode_e4m3(codes, target);
        for number in &mut *target {
            *number *= factor;
        }
        all_finite(target)
    }
    /// The greatest magnitude of each cell, of its finite numbers; whether all numbers are.
    #[inline(always)]
    fn greatest_each<const N: usize>(cells: &[[f32; N]], targets: &mut [f32]) -> bool {
        blocks::greatest_each(cells, targets)
    }
    /// Divide the numbers of each cell, which are finite, and round them to E2M1, the first of two in
    /// the upper half of a byte.
    fn encode_e2m1(cells: &[[f32; 16]], divisors: &[f32], codes: &mut [[u8; 8]]);
    /// The first steps of `ConvRot`'s rotation, those within sixteen numbers.
    #[inline(always)]
    fn rotate_sixteens(groups: &mut [[f32; 16]]) {
        blocks::rotate_sixteens(groups);
    }
    /// Encode half floats, rounding to nearest even.
    fn encode_f16(values: &[f32], target: &mut [u8]);

    /// Codes from 0 to `most` of eight sub-blocks side by side, for a factor and a minimum of each;
    /// and their weighted sums, which ggml's search goes by.
    #[inline(always)]
    fn search_codes(
        values: &[Column; 32],
        weights: &[Column; 32],
        factor: &Column,
        minimum: &Column,
        most: f32,
        codes: &mut [Column; 32],
    ) -> Sums {
        blocks::search_codes(values, weights, factor, minimum, most, codes)
    }

    /// The weighted squares of what is wrong with codes, for a scale and a minimum of each of them.
    #[inline(always)]
    fn search_error(
        values: &[Column; 32],
        weights: &[Column; 32],
        codes: &[Column; 32],
        scale: &Column,
        minimum: &Column,
    ) -> Column {
        blocks::search_error(values, weights, codes, scale, minimum)
    }

    /// A formula of half floats; the bits of the result's greatest magnitude. With `past` it is written
    /// past the caches, if this set does that.
    fn combine_f16<F: Formula<N, S>, const N: usize, const S: usize>(
        arguments: [&[u8]; N],
        scalars: [f32; S],
        target: &mut [u8],
        past: bool,
    ) -> u16;
    /// The same of BF16, for arguments and results that are finite.
    #[inline(always)]
    fn combine_bf16<F: Formula<N, S>, const N: usize, const S: usize>(
        arguments: [&[u8]; N],
        scalars: [f32; S],
        target: &mut [u8],
        _past: bool,
    ) -> u16 {
        let encode = |x| half::finite_to_bf16(x).to_le_bytes();
        combine_with::<F, N, S>(arguments, scalars, target, decode_bf16, encode)
    }
    /// Sums of products of numbers of F16, BF16 or F32.
    fn products<P: Products<N, S>, const N: usize, const S: usize>(
        dtype: Dtype,
        arguments: [&[u8]; N],
        scalars: [f32; S],
    ) -> Summed;
    /// `x - y` of numbers of F16, BF16 or F32.
    fn change(dtype: Dtype, arguments: [&[u8]; 2], target: &mut [f32]);
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
    type Sixteen = Plain;
    const TALL: usize = 4;

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
        let places = |byte: u8| {
            let [low, high] = [byte & 15, byte >> 4];
            if high_first {
                [high, low]
            } else {
                [low, high]
            }
        };
        let (pairs, last) = target.as_chunks_mut::<2>();
        let whole = pairs.len();
        for (pair, byte) in pairs.iter_mut().zip(bytes) {
            *pair = places(*byte).map(|place| table[usize::from(place)]);
        }
        for number in last {
            *number = table[usize::from(places(bytes[whole])[0])];
        }
    }

    #[inline(always)]
    fn encode_e2m1(cells: &[[f32; 16]], divisors: &[f32], codes: &mut [[u8; 8]]) {
        for ((cell, divisor), codes) in cells.iter().zip(divisors).zip(codes) {
            let mut apart = [0_u8; 16];
            for (code, value) in apart.iter_mut().zip(cell) {
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
    }

    #[inline(always)]
    fn encode_f16(values: &[f32], target: &mut [u8]) {
        encode_with(values, target, |x| half::to_f16(x).to_le_bytes());
    }

    #[inline(always)]
    fn combine_f16<F: Formula<N, S>, const N: usize, const S: usize>(
        arguments: [&[u8]; N],
        scalars: [f32; S],
        target: &mut [u8],
        _past: bool,
    ) -> u16 {
        let decode = |bytes| half::from_f16(u16::from_le_bytes(bytes));
        let encode = |x| half::to_f16(x).to_le_bytes();
        combine_with::<F, N, S>(arguments, scalars, target, decode, encode)
    }

    #[inline(always)]
    fn products<P: Products<N, S>, const N: usize, const S: usize>(
        dtype: Dtype,
        arguments: [&[u8]; N],
        scalars: [f32; S],
    ) -> Summed {
        products_with::<Plain, P, N, S>(dtype, arguments, scalars)
    }

    #[inline(always)]
    fn change(dtype: Dtype, arguments: [&[u8]; 2], target: &mut [f32]) {
        change_with::<Plain>(dtype, arguments, target);
    }

    #[inline(always)]
    fn philox(counters: [Words; 4], key: [u32; 2]) -> [Words; 4] {
        rng::philox(counters, key)
    }
}
