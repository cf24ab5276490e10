//! Arithmetic of numbers that stay in the processor's registers.

use super::{all_finite_bytes, half, quiet, Isa};
use crate::dtype::Dtype;

/// One number, or several that go the same way.
pub(crate) trait Lanes: Copy {
    fn splat(value: f32) -> Self;
    fn add(self, other: Self) -> Self;
    fn subtract(self, other: Self) -> Self;
    fn multiply(self, other: Self) -> Self;
}

impl Lanes for f32 {
    #[inline(always)]
    fn splat(value: f32) -> Self {
        value
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self + other
    }

    #[inline(always)]
    fn subtract(self, other: Self) -> Self {
        self - other
    }

    #[inline(always)]
    fn multiply(self, other: Self) -> Self {
        self * other
    }
}

/// What is computed of `N` numbers, each step of it rounded.
pub(crate) trait Formula<const N: usize> {
    fn apply<L: Lanes>(&self, arguments: [L; N]) -> L;
}

/// `x * s + y * t`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sum(pub(crate) [f32; 2]);

impl Formula<2> for Sum {
    #[inline(always)]
    fn apply<L: Lanes>(&self, [x, y]: [L; 2]) -> L {
        let [s, t] = self.0.map(L::splat);
        x.multiply(s).add(y.multiply(t))
    }
}

/// `x + (y - z) * s`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SumOfDifference(pub(crate) f32);

impl Formula<3> for SumOfDifference {
    #[inline(always)]
    fn apply<L: Lanes>(&self, [x, y, z]: [L; 3]) -> L {
        x.add(y.subtract(z).multiply(L::splat(self.0)))
    }
}

/// Compute numbers of a 16-bit type from as many of the same type; whether all of each argument are
/// finite, and all of the result.
#[inline(always)]
pub(crate) fn combine<I: Isa, const N: usize>(
    dtype: Dtype,
    arguments: [&[u8]; N],
    formula: &impl Formula<N>,
    target: &mut [u8],
) -> ([bool; N], bool) {
    let mut finite = [false; N];
    for (finite, bytes) in finite.iter_mut().zip(arguments) {
        *finite = all_finite_bytes(dtype, bytes);
    }
    if dtype == Dtype::F16 {
        I::combine_f16(arguments, formula, target);
        return (finite, all_finite_bytes(dtype, target));
    }
    let decode = |bytes| u32::from(u16::from_le_bytes(bytes)) << 16;
    if finite == [true; N] {
        // What is not finite comes of arithmetic then, and shows in the result.
        let plain = |bytes| f32::from_bits(decode(bytes));
        let encode = |x| half::finite_to_bf16(x).to_le_bytes();
        combine_with(arguments, formula, target, plain, encode);
        if all_finite_bytes(dtype, target) {
            return (finite, true);
        }
    }
    let careful = |bytes| f32::from_bits(quiet(decode(bytes)));
    combine_with(arguments, formula, target, careful, |x| half::to_bf16(x).to_le_bytes());
    (finite, all_finite_bytes(dtype, target))
}

/// A formula of 16-bit numbers, one by one.
///
/// Arrays are filled by loops: their own functions may stay functions, without the instruction set.
#[inline(always)]
pub(super) fn combine_with<const N: usize>(
    arguments: [&[u8]; N],
    formula: &impl Formula<N>,
    target: &mut [u8],
    decode: impl Fn([u8; 2]) -> f32,
    encode: impl Fn(f32) -> [u8; 2],
) {
    let (target, _) = target.as_chunks_mut::<2>();
    let mut halves: [&[[u8; 2]]; N] = [&[]; N];
    for (halves, bytes) in halves.iter_mut().zip(arguments) {
        *halves = &bytes.as_chunks::<2>().0[..target.len()];
    }
    for (index, target) in target.iter_mut().enumerate() {
        let mut lanes = [0.0; N];
        for (lane, halves) in lanes.iter_mut().zip(halves) {
            *lane = decode(halves[index]);
        }
        *target = encode(formula.apply(lanes));
    }
}
