//! Numbers that stay in the processor's registers.

use super::formula::{Formula, Products, PRODUCTS};
use super::{all_finite_bytes, greatest_half, half, infinity, quiet, voting, Isa};
use crate::dtype::Dtype;

/// Numbers that [`Sixteen`] has.
pub(crate) const SIXTEEN: usize = 16;

/// One number, or several that go the same way; each step is rounded.
pub(crate) trait Lanes: Copy {
    fn splat(value: f32) -> Self;
    fn add(self, other: Self) -> Self;
    fn subtract(self, other: Self) -> Self;
    fn multiply(self, other: Self) -> Self;
    fn root(self) -> Self;
    /// With the sign of another.
    fn signed(self, other: Self) -> Self;
    /// [`voting::trimmed`].
    fn trimmed(self, least: Self, factor: Self) -> Self;
    /// The sum of what has the sign that most have, or else that is [`voting::strongest`], divided by
    /// the weights that took part.
    fn vote<const COUNTED: bool>(values: [Self; 2], weights: [Self; 2]) -> Self;
}

/// Sixteen numbers, of which products are summed in float64: a sum for each lane.
pub(crate) trait Sixteen: Lanes {
    type Sums: Copy;
    fn from_f16(bytes: &[u8; 32]) -> Self;
    /// Rounded to nearest even.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))] // as `combine_sixteen`
    fn to_f16(self) -> [u8; 32];
    fn from_bf16(bytes: &[u8; 32]) -> Self;
    fn from_f32(bytes: &[u8; 64]) -> Self;
    fn from_numbers(numbers: [f32; SIXTEEN]) -> Self;
    /// Plus the products of two, which are exact.
    fn add_exact(self, x: Self, y: Self) -> Self;
    fn numbers(self) -> [f32; SIXTEEN];
    fn nothing() -> Self::Sums;
    /// Add the product of each lane, which float64 has exactly, to its sum.
    fn add_products(self, other: Self, sums: &mut Self::Sums);
    fn each(sums: Self::Sums) -> [f64; SIXTEEN];
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

    #[inline(always)]
    fn root(self) -> Self {
        self.sqrt()
    }

    #[inline(always)]
    fn signed(self, other: Self) -> Self {
        self.copysign(other)
    }

    #[inline(always)]
    fn trimmed(self, least: Self, factor: Self) -> Self {
        voting::trimmed(self, least, factor)
    }

    #[inline(always)]
    fn vote<const COUNTED: bool>(values: [Self; 2], weights: [Self; 2]) -> Self {
        let elected = if COUNTED { voting::most(values) } else { voting::strongest(values) };
        let (sum, agree) = voting::mixed(values, elected);
        sum / voting::divisor(&weights, agree)
    }
}

/// Sixteen numbers as the compiler likes to lay them.
#[derive(Clone, Copy)]
pub(crate) struct Plain([f32; SIXTEEN]);

impl Plain {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        let mut result = self;
        for (x, y) in result.0.iter_mut().zip(other.0) {
            *x = f(*x, y);
        }
        result
    }

    #[inline(always)]
    fn decoded<const N: usize>(bytes: &[u8], decode: impl Fn([u8; N]) -> f32) -> Self {
        let mut result = [0.0; SIXTEEN];
        for (x, bytes) in result.iter_mut().zip(bytes.as_chunks::<N>().0) {
            *x = decode(*bytes);
        }
        Self(result)
    }
}

impl Lanes for Plain {
    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self([value; SIXTEEN])
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, |x, y| x + y)
    }

    #[inline(always)]
    fn subtract(self, other: Self) -> Self {
        self.zip(other, |x, y| x - y)
    }

    #[inline(always)]
    fn multiply(self, other: Self) -> Self {
        self.zip(other, |x, y| x * y)
    }

    #[inline(always)]
    fn root(self) -> Self {
        self.zip(self, |x, _| x.sqrt())
    }

    #[inline(always)]
    fn signed(self, other: Self) -> Self {
        self.zip(other, f32::copysign)
    }

    #[inline(always)]
    fn trimmed(self, least: Self, factor: Self) -> Self {
        let mut result = self;
        for ((d, least), factor) in result.0.iter_mut().zip(least.0).zip(factor.0) {
            *d = voting::trimmed(*d, least, factor);
        }
        result
    }

    #[inline(always)]
    fn vote<const COUNTED: bool>([x, y]: [Self; 2], [s, t]: [Self; 2]) -> Self {
        let mut result = x;
        for (index, result) in result.0.iter_mut().enumerate() {
            let (values, weights) = ([x.0[index], y.0[index]], [s.0[index], t.0[index]]);
            *result = f32::vote::<COUNTED>(values, weights);
        }
        result
    }
}

impl Sixteen for Plain {
    type Sums = [f64; SIXTEEN];

    #[inline(always)]
    fn from_f16(bytes: &[u8; 32]) -> Self {
        Self::decoded(bytes, decode_f16)
    }

    #[inline(always)]
    fn to_f16(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (bytes, x) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(self.0) {
            *bytes = half::to_f16(x).to_le_bytes();
        }
        bytes
    }

    #[inline(always)]
    fn from_bf16(bytes: &[u8; 32]) -> Self {
        Self::decoded(bytes, decode_bf16)
    }

    #[inline(always)]
    fn from_f32(bytes: &[u8; 64]) -> Self {
        Self::decoded(bytes, f32::from_le_bytes)
    }

    #[inline(always)]
    fn from_numbers(numbers: [f32; SIXTEEN]) -> Self {
        Self(numbers)
    }

    #[inline(always)]
    fn add_exact(self, x: Self, y: Self) -> Self {
        if cfg!(target_arch = "aarch64") {
            let mut sums = self;
            for ((sum, x), y) in sums.0.iter_mut().zip(x.0).zip(y.0) {
                *sum = x.mul_add(y, *sum);
            }
            return sums;
        }
        self.add(x.multiply(y))
    }

    #[inline(always)]
    fn numbers(self) -> [f32; SIXTEEN] {
        self.0
    }

    #[inline(always)]
    fn nothing() -> Self::Sums {
        [0.0; SIXTEEN]
    }

    #[inline(always)]
    fn add_products(self, other: Self, sums: &mut Self::Sums) {
        for ((sum, x), y) in sums.iter_mut().zip(self.0).zip(other.0) {
            *sum += f64::from(x) * f64::from(y);
        }
    }

    #[inline(always)]
    fn each(sums: Self::Sums) -> [f64; SIXTEEN] {
        sums
    }
}

#[inline(always)]
fn decode_f16(bytes: [u8; 2]) -> f32 {
    half::from_f16(u16::from_le_bytes(bytes))
}

#[inline(always)]
pub(super) fn decode_bf16(bytes: [u8; 2]) -> f32 {
    f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16)
}

/// Compute numbers of a 16-bit type from as many of the same type; whether all of each argument are
/// finite, and all of the result. `past` asks for stores past the caches, where the instruction set
/// has them.
#[inline(always)]
pub(crate) fn combine<I: Isa, F: Formula<N, S>, const N: usize, const S: usize>(
    dtype: Dtype,
    arguments: [&[u8]; N],
    scalars: [f32; S],
    target: &mut [u8],
    past: bool,
) -> ([bool; N], bool) {
    // This loop comes first: the processor fetches what several streams take side by side, but not
    // what is looked through in turns of a block.
    let greatest = if dtype == Dtype::F16 {
        I::combine_f16::<F, N, S>(arguments, scalars, target, past)
    } else {
        I::combine_bf16::<F, N, S>(arguments, scalars, target, past)
    };
    let result = greatest < infinity(dtype);
    if result && F::SHOWN == (1 << N) - 1 {
        return ([true; N], true);
    }
    let finite = all_finite(dtype, arguments);
    if dtype == Dtype::F16 || result && finite == [true; N] {
        return (finite, result);
    }
    // A NaN may have become another one, or none.
    let careful = |bytes| f32::from_bits(quiet(decode_bf16(bytes).to_bits()));
    let encode = |x| half::to_bf16(x).to_le_bytes();
    let greatest = combine_with::<F, N, S>(arguments, scalars, target, careful, encode);
    (finite, greatest < infinity(dtype))
}

/// Whether all numbers of each argument are finite.
#[inline(always)]
fn all_finite<const N: usize>(dtype: Dtype, arguments: [&[u8]; N]) -> [bool; N] {
    let mut finite = [false; N];
    for (finite, bytes) in finite.iter_mut().zip(arguments) {
        *finite = all_finite_bytes(dtype, bytes);
    }
    finite
}

/// A formula of 16-bit numbers, one by one; the bits of the greatest magnitude.
///
/// Arrays are filled by loops: their own functions may stay functions, without the instruction set.
#[inline(always)]
pub(super) fn combine_with<F: Formula<N, S>, const N: usize, const S: usize>(
    arguments: [&[u8]; N],
    scalars: [f32; S],
    target: &mut [u8],
    decode: impl Fn([u8; 2]) -> f32,
    encode: impl Fn(f32) -> [u8; 2],
) -> u16 {
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
        *target = encode(F::apply(&lanes, &scalars));
    }
    greatest_half(target.as_flattened())
}

/// A formula of 16-bit numbers, sixteen at a time; the bits of the greatest magnitude, and what is left
/// over.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))] // elsewhere nothing gains by it
#[inline(always)]
pub(super) fn combine_sixteen<'a, L: Sixteen, F: Formula<N, S>, const N: usize, const S: usize>(
    arguments: [&'a [u8]; N],
    scalars: [f32; S],
    target: &'a mut [u8],
    load: impl Fn(&[u8; 32]) -> L,
    store: impl Fn(L, &mut [u8; 32]) -> [u8; 32],
) -> (u16, [&'a [u8]; N], &'a mut [u8]) {
    let (target, rest) = target.as_chunks_mut::<32>();
    let (chunks, tails) = chunks_of::<N, 32>(arguments, target.len());
    let scalars = splats::<L, S>(scalars);
    let mut greatest = [0_u16; SIXTEEN];
    for (index, target) in target.iter_mut().enumerate() {
        let lanes = loaded(&chunks, index, &load);
        let stored = store(F::apply(&lanes, &scalars), target);
        for (greatest, half) in greatest.iter_mut().zip(stored.as_chunks::<2>().0) {
            *greatest = (*greatest).max(u16::from_le_bytes(*half) & 0x7fff);
        }
    }
    let mut all = 0;
    for lane in greatest {
        all = all.max(lane);
    }
    (all, tails, rest)
}

/// Sums of products of sixteen elements after sixteen: one for each lane, and for each of the elements
/// that are left over, fewer than sixteen.
pub(crate) struct Summed {
    pub(crate) lanes: [[f64; SIXTEEN]; PRODUCTS],
    pub(crate) rest: [[f64; SIXTEEN]; PRODUCTS],
}

impl Summed {
    #[inline(always)]
    fn is_finite(&self) -> bool {
        let mut greatest = 0;
        for sums in [&self.lanes, &self.rest] {
            for sum in sums.as_flattened() {
                greatest = greatest.max(sum.to_bits() & (u64::MAX >> 1));
            }
        }
        greatest < f64::INFINITY.to_bits()
    }
}

/// Sum the products of numbers of F16, BF16 or F32; and whether all of each argument are finite.
#[inline(always)]
pub(crate) fn products<I: Isa, P: Products<N, S>, const N: usize, const S: usize>(
    dtype: Dtype,
    arguments: [&[u8]; N],
    scalars: [f32; S],
) -> (Summed, [bool; N]) {
    let summed = I::products::<P, N, S>(dtype, arguments, scalars);
    if P::SHOWN == (1 << N) - 1 && summed.is_finite() {
        return (summed, [true; N]);
    }
    (summed, all_finite(dtype, arguments))
}

/// The same for lanes of a kind.
#[inline(always)]
pub(super) fn products_with<L: Sixteen, P: Products<N, S>, const N: usize, const S: usize>(
    dtype: Dtype,
    arguments: [&[u8]; N],
    scalars: [f32; S],
) -> Summed {
    match dtype {
        Dtype::F16 => sum::<L, P, N, S, 32>(arguments, scalars, L::from_f16),
        Dtype::BF16 => sum::<L, P, N, S, 32>(arguments, scalars, L::from_bf16),
        _ => sum::<L, P, N, S, 64>(arguments, scalars, L::from_f32),
    }
}

#[inline(always)]
fn sum<L: Sixteen, P: Products<N, S>, const N: usize, const S: usize, const B: usize>(
    arguments: [&[u8]; N],
    scalars: [f32; S],
    load: impl Fn(&[u8; B]) -> L,
) -> Summed {
    let scalars = splats::<L, S>(scalars);
    let whole = arguments[0].len() / B;
    let (chunks, tails) = chunks_of::<N, B>(arguments, whole);
    let mut lanes = [L::nothing(); PRODUCTS];
    for index in 0..whole {
        let factors = P::factors(&loaded(&chunks, index, &load), &scalars);
        add_each(&mut lanes, factors);
    }
    let mut rest = [L::nothing(); PRODUCTS];
    add_each(&mut rest, P::factors(&last(tails, load), &scalars));
    let mut summed = Summed { lanes: Default::default(), rest: Default::default() };
    for (target, sums) in summed.lanes.iter_mut().zip(lanes) {
        *target = L::each(sums);
    }
    for (target, sums) in summed.rest.iter_mut().zip(rest) {
        *target = L::each(sums);
    }
    summed
}

#[inline(always)]
fn add_each<L: Sixteen>(sums: &mut [L::Sums; PRODUCTS], factors: [[L; 2]; PRODUCTS]) {
    for (sums, [x, y]) in sums.iter_mut().zip(factors) {
        x.add_products(y, sums);
    }
}

#[inline(always)]
fn splats<L: Lanes, const S: usize>(scalars: [f32; S]) -> [L; S] {
    let mut splats = [L::splat(0.0); S];
    for (splat, scalar) in splats.iter_mut().zip(scalars) {
        *splat = L::splat(scalar);
    }
    splats
}

/// So many whole chunks of each argument, and what is left over.
#[inline(always)]
fn chunks_of<const N: usize, const B: usize>(
    arguments: [&[u8]; N],
    whole: usize,
) -> ([&[[u8; B]]; N], [&[u8]; N]) {
    let mut chunks: [&[[u8; B]]; N] = [&[]; N];
    let mut tails: [&[u8]; N] = [&[]; N];
    for ((chunks, tail), bytes) in chunks.iter_mut().zip(&mut tails).zip(arguments) {
        *chunks = &bytes.as_chunks::<B>().0[..whole];
        *tail = &bytes[whole * B..];
    }
    (chunks, tails)
}

/// The numbers of a place.
#[inline(always)]
fn loaded<L: Lanes, const N: usize, const B: usize>(
    chunks: &[&[[u8; B]]; N],
    index: usize,
    load: impl Fn(&[u8; B]) -> L,
) -> [L; N] {
    let mut lanes = [L::splat(0.0); N];
    for (lane, chunks) in lanes.iter_mut().zip(chunks) {
        *lane = load(&chunks[index]);
    }
    lanes
}

/// `x - y` of numbers of F16, BF16 or F32; whether all of each are finite.
#[inline(always)]
pub(crate) fn change<I: Isa>(dtype: Dtype, arguments: [&[u8]; 2], target: &mut [f32]) -> [bool; 2] {
    I::change(dtype, arguments, target);
    all_finite(dtype, arguments)
}

/// The same for lanes of a kind.
#[inline(always)]
pub(super) fn change_with<L: Sixteen>(dtype: Dtype, arguments: [&[u8]; 2], target: &mut [f32]) {
    match dtype {
        Dtype::F16 => subtract::<L, 32>(arguments, target, L::from_f16),
        Dtype::BF16 => subtract::<L, 32>(arguments, target, L::from_bf16),
        _ => subtract::<L, 64>(arguments, target, L::from_f32),
    }
}

#[inline(always)]
fn subtract<L: Sixteen, const B: usize>(
    arguments: [&[u8]; 2],
    target: &mut [f32],
    load: impl Fn(&[u8; B]) -> L,
) {
    let (target, rest) = target.as_chunks_mut::<SIXTEEN>();
    let (chunks, tails) = chunks_of::<2, B>(arguments, target.len());
    for (index, target) in target.iter_mut().enumerate() {
        let [x, y] = loaded(&chunks, index, &load);
        *target = x.subtract(y).numbers();
    }
    let [x, y] = last(tails, load);
    rest.copy_from_slice(&x.subtract(y).numbers()[..rest.len()]);
}

/// Fewer numbers than sixteen, and zeros after them.
#[inline(always)]
fn last<L: Sixteen, const N: usize, const B: usize>(
    tails: [&[u8]; N],
    load: impl Fn(&[u8; B]) -> L,
) -> [L; N] {
    let mut last = [L::splat(0.0); N];
    for (last, tail) in last.iter_mut().zip(tails) {
        let mut padded = [0; B];
        padded[..tail.len()].copy_from_slice(tail);
        *last = load(&padded);
    }
    last
}
