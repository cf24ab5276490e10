//! sin, cos and acos, with the coefficients of FreeBSD's msun (Sun Microsystems, 1993).

use std::f64::consts::{FRAC_2_PI, FRAC_PI_2, PI};

use super::{polynomial, ROUNDER};

/// π/2 with so few bits that its product with a whole number below 2^20 is exact, and the rest.
const HALF_PI_HIGH: f64 = 1.570_796_326_734_125_6;
const HALF_PI_LOW: f64 = 6.077_100_506_506_192e-11;

/// Beyond this the reduction to a quarter turn is not exact enough.
const LARGE: f32 = 1_048_576.0;

const SIN: [f64; 6] = [
    1.589_690_995_211_55e-10,
    -2.505_076_025_340_686_3e-8,
    2.755_731_370_707_006_8e-6,
    -1.984_126_982_985_795e-4,
    8.333_333_333_322_49e-3,
    -1.666_666_666_666_663_2e-1,
];

const COS: [f64; 6] = [
    -1.135_964_755_778_819_5e-11,
    2.087_572_321_298_175e-9,
    -2.755_731_435_139_066_3e-7,
    2.480_158_728_947_673e-5,
    -1.388_888_888_887_411e-3,
    4.166_666_666_666_66e-2,
];

const ACOS_P: [f64; 6] = [
    3.479_331_075_960_212e-5,
    7.915_349_942_898_145e-4,
    -4.005_553_450_067_941e-2,
    2.012_125_321_348_629_3e-1,
    -3.255_658_186_224_009e-1,
    1.666_666_666_666_666_6e-1,
];

const ACOS_Q: [f64; 5] = [
    7.703_815_055_590_194e-2,
    -6.882_839_716_054_533e-1,
    2.020_945_760_233_505_7,
    -2.403_394_911_734_414,
    1.0,
];

/// Whether an argument is left to [`large_sin`] and [`large_cos`].
#[inline(always)]
pub(in crate::vm) fn is_large(x: f32) -> bool {
    x.abs() > LARGE
}

/// The sine of an argument of any size.
pub(in crate::vm) fn large_sin(x: f32) -> f32 {
    libm::sin(f64::from(x)) as f32
}

/// The cosine of an argument of any size.
pub(in crate::vm) fn large_cos(x: f32) -> f32 {
    libm::cos(f64::from(x)) as f32
}

/// The sine of an argument that is not large.
#[inline(always)]
pub(in crate::vm) fn sin(x: f32) -> f32 {
    let result = turned(f64::from(x), 0) as f32;
    // The way there loses the sign of zero.
    if x == 0.0 {
        x
    } else {
        result
    }
}

/// The cosine of an argument that is not large.
#[inline(always)]
pub(in crate::vm) fn cos(x: f32) -> f32 {
    turned(f64::from(x), 1) as f32
}

/// The sine, that many quarter turns further on.
#[inline(always)]
fn turned(x: f64, quarters: u64) -> f64 {
    let shifted = x * FRAC_2_PI + ROUNDER;
    let k = shifted - ROUNDER;
    let r = (x - k * HALF_PI_HIGH) - k * HALF_PI_LOW;
    let z = r * r;
    let sine = r + r * z * polynomial(z, SIN);
    let cosine = (1.0 - 0.5 * z) + z * z * polynomial(z, COS);
    let quadrant = shifted.to_bits().wrapping_add(quarters);
    let value = if quadrant & 1 == 0 { sine } else { cosine };
    f64::from_bits(value.to_bits() ^ ((quadrant & 2) << 62))
}

/// By the arc sine of x, or of √((1 - |x|) / 2) for |x| from one half on.
#[inline(always)]
pub(in crate::vm) fn acos(x: f32) -> f32 {
    let x = f64::from(x);
    let inner = x.abs() < 0.5;
    let z = if inner { x * x } else { 0.5 * (1.0 - x.abs()) };
    let root = if inner { x } else { z.sqrt() };
    let ratio = z * polynomial(z, ACOS_P) / polynomial(z, ACOS_Q);
    let asin = root + root * ratio;
    let outer = if x < 0.0 { PI - 2.0 * asin } else { 2.0 * asin };
    (if inner { FRAC_PI_2 - asin } else { outer }) as f32
}
