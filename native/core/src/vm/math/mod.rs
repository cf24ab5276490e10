//! Transcendental functions of float32: computed in float64 and rounded once.
//!
//! Written without branches and with exactly rounded operations only, so that the compiler can
//! turn a loop into vector code and every processor gives the same bits. The float64 results are
//! right to about 2^-50 (powers: 2^-45), so that the float32 results are those of the exact value
//! but for very rare ties.

mod exponential;
mod trigonometric;

pub(super) use exponential::{exp, log, pow_magnitude, pow_special, tanh};
pub(super) use trigonometric::{acos, cos, is_large, large_cos, large_sin, sin};

/// Evaluate a polynomial; coefficients from the highest power down.
#[inline(always)]
fn polynomial<const N: usize>(x: f64, coefficients: [f64; N]) -> f64 {
    coefficients.into_iter().fold(0.0, |sum, coefficient| sum * x + coefficient)
}

/// Adding it rounds to a whole number, whose low bits are then those of the sum.
const ROUNDER: f64 = 6_755_399_441_055_744.0; // 1.5 * 2^52

#[cfg(test)]
mod tests {
    use super::*;

    /// Distance in units of the last place.
    fn distance(x: f32, y: f32) -> u64 {
        if x == y || (x.is_nan() && y.is_nan()) {
            return 0;
        }
        let order = |x: f32| {
            let bits = i64::from(x.to_bits() as i32);
            if bits < 0 {
                i64::from(i32::MIN) - bits
            } else {
                bits
            }
        };
        if x.is_nan() || y.is_nan() {
            return u64::MAX;
        }
        order(x).abs_diff(order(y))
    }

    /// All kinds of numbers, and every exponent.
    fn samples() -> impl Iterator<Item = f32> {
        let special = [0.0, 1.0, 0.5, 2.0, 88.0, 104.0, f32::INFINITY, f32::MAX, f32::MIN_POSITIVE];
        let spread = (0..u32::MAX / 9973).map(|index| f32::from_bits(index * 9973));
        special.into_iter().flat_map(|x| [x, -x]).chain([f32::NAN]).chain(spread)
    }

    fn check(name: &str, ours: impl Fn(f32) -> f32, reference: impl Fn(f64) -> f64) {
        let mut different = 0_u32;
        for x in samples() {
            let expected = reference(f64::from(x)) as f32;
            let got = ours(x);
            let apart = distance(got, expected);
            assert!(apart <= 1, "{name}({x:e}) is {got:e}, expected {expected:e}");
            different += u32::from(apart > 0);
        }
        assert!(different <= 4, "{name} is off by one {different} times");
    }

    #[test]
    fn functions_of_one_argument_are_rounded_once() {
        check("exp", exp, libm::exp);
        check("log", log, libm::log);
        check("tanh", tanh, libm::tanh);
        check("acos", acos, libm::acos);
        check("sin", |x| if is_large(x) { large_sin(x) } else { sin(x) }, libm::sin);
        check("cos", |x| if is_large(x) { large_cos(x) } else { cos(x) }, libm::cos);
    }

    #[test]
    fn pow_is_rounded_once_and_has_the_special_cases() {
        let exponents = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            2.0,
            3.0,
            -3.0,
            0.5,
            0.3,
            -0.7,
            1.5,
            12.75,
            1e10,
            16_777_217.0,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
        ];
        for y in exponents {
            let reference = |x: f64| libm::pow(x, f64::from(y));
            for x in samples().step_by(7) {
                let got = pow_special(pow_magnitude(x, y), x, y);
                let expected = reference(f64::from(x)) as f32;
                let apart = distance(got, expected);
                assert!(apart <= 1, "pow({x:e}, {y:e}) is {got:e}, expected {expected:e}");
                let signs = got.is_nan() || got.is_sign_negative() == expected.is_sign_negative();
                assert!(signs, "pow({x:e}, {y:e}) is {got:e}, expected {expected:e}");
            }
        }
    }
}
