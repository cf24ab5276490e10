//! Whether products of numbers are exact in float32: then it makes no difference whether each is
//! rounded before it is added, and both can be done at once.

use crate::codec::Isa;
use crate::vm::simd::{Level, Task};

/// Bits that float32 has of a number, the first one included.
const BITS: u32 = f32::MANTISSA_DIGITS;

/// What is stored as the exponent of 1.
const BIAS: u32 = 127;

/// How fine the numbers of a matrix are, zeros apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grain {
    /// Bits of the longest, from its first one to its last.
    bits: u32,
    /// Exponents of the smallest and of the greatest, as they are stored.
    exponents: (u32, u32),
}

impl Grain {
    pub(super) fn of(numbers: &[f32]) -> Self {
        Level::detect().run(Look(numbers))
    }

    /// Whether each product of one of these numbers and one of others is exact, and no subnormal.
    pub(super) fn is_exact_with(self, other: Self) -> bool {
        let (least, most) =
            (self.exponents.0 + other.exponents.0, self.exponents.1 + other.exponents.1);
        let normal = [self, other].iter().all(|grain| grain.exponents.0 > 0);
        normal && self.bits + other.bits <= BITS && least > BIAS && most < 3 * BIAS
    }
}

/// Look at numbers.
struct Look<'a>(&'a [f32]);

impl Task for Look<'_> {
    type Output = Grain;

    #[inline(always)]
    fn run<I: Isa>(self) -> Grain {
        let (mut ones, mut least, mut most) = (1 << (BITS - 1), u32::MAX, 0);
        for number in self.0 {
            let magnitude = number.to_bits() & (u32::MAX >> 1);
            ones |= magnitude;
            least = least.min(magnitude.wrapping_sub(1)); // zero becomes the greatest
            most = most.max(magnitude);
        }
        let exponents = (least.wrapping_add(1) >> (BITS - 1), most >> (BITS - 1));
        Grain { bits: BITS - ones.trailing_zeros(), exponents }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_exact(one: &[f32], other: &[f32]) -> bool {
        let exact = Grain::of(one).is_exact_with(Grain::of(other));
        assert_eq!(exact, Grain::of(other).is_exact_with(Grain::of(one)));
        if exact {
            for (x, y) in one.iter().flat_map(|x| other.iter().map(move |y| (*x, *y))) {
                assert_eq!(f64::from(x * y), f64::from(x) * f64::from(y), "{x} times {y}");
            }
        }
        exact
    }

    #[test]
    fn products_of_half_floats_are_exact() {
        let least = 2.0_f32.powi(-24);
        let halves = [65504.0, -1.0, 0.0, -0.0, 0.333_251_95, least, 1023.0 * least];
        assert!(is_exact(&halves, &halves));
        assert!(is_exact(&halves, &[1.0, 1.5, -384.0]));
    }

    #[test]
    fn products_with_more_bits_than_there_are_are_not() {
        let fine = 1.0 + 2.0_f32.powi(-12);
        assert!(is_exact(&[fine], &[1.0 + 2.0_f32.powi(-10)]));
        assert!(!is_exact(&[fine], &[1.0 + 2.0_f32.powi(-11)]));
        assert!(!is_exact(&[1.0 / 3.0], &[0.75]));
    }

    #[test]
    fn products_beyond_the_range_are_not() {
        let power = |exponent: i32| [2.0_f32.powi(exponent)];
        assert!(is_exact(&power(-100), &power(-26)));
        assert!(!is_exact(&power(-100), &power(-27)));
        assert!(is_exact(&power(100), &power(26)));
        assert!(!is_exact(&power(100), &power(28)));
        assert!(!is_exact(&power(-127), &power(3)));
        assert!(!is_exact(&[f32::INFINITY], &[1.0]));
        assert!(!is_exact(&[f32::NAN], &[1.0]));
    }
}
