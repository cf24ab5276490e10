//! Transcendental functions: computed in float64 and rounded once to float32.
//!
//! The result is that of the exact value for all but about one in 10^8 arguments.

#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    libm::exp(f64::from(x)) as f32
}

#[inline(always)]
pub(super) fn log(x: f32) -> f32 {
    libm::log(f64::from(x)) as f32
}

#[inline(always)]
pub(super) fn sin(x: f32) -> f32 {
    libm::sin(f64::from(x)) as f32
}

#[inline(always)]
pub(super) fn cos(x: f32) -> f32 {
    libm::cos(f64::from(x)) as f32
}

#[inline(always)]
pub(super) fn acos(x: f32) -> f32 {
    libm::acos(f64::from(x)) as f32
}

#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    libm::tanh(f64::from(x)) as f32
}

#[inline(always)]
pub(super) fn pow(x: f32, y: f32) -> f32 {
    libm::pow(f64::from(x), f64::from(y)) as f32
}
