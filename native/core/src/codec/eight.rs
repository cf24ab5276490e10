//! The 8-bit formats, by the same arithmetic as half floats.

use super::half;

/// Four exponent bits, bias 7, three mantissa bits; no infinities, 0x7f is the NaN.
#[inline(always)]
pub(super) fn from_e4m3(byte: u8) -> f32 {
    let sign = u32::from(byte & 0x80) << 24;
    let magnitude = u32::from(byte & 0x7f);
    let finite = half::widened::<3, 7>(magnitude);
    let bits = if magnitude == 0x7f { 0x7fc0_0000 } else { finite };
    f32::from_bits(bits | sign)
}

/// The upper half of a half float.
#[inline(always)]
pub(super) fn from_e5m2(byte: u8) -> f32 {
    half::from_f16(u16::from(byte) << 8)
}

#[inline(always)]
pub(super) fn to_e4m3(value: f32) -> u8 {
    to_eight::<3, 7>(value, 448.0, 0x7f)
}

#[inline(always)]
pub(super) fn to_e5m2(value: f32) -> u8 {
    to_eight::<2, 15>(value, 57344.0, 0x7f)
}

/// The largest number of E2M1.
pub(super) const E2M1_LARGEST: f32 = 6.0;

/// Numbers of E2M1 are halves up to 2, then whole ones, then twos. Of a sum with the first of a pair
/// the last bits are a number's nearest of these, if they are counted from the second on; the least
/// of the three is its code.
const E2M1_ALIGNERS: [(f32, u32); 3] = [(4_194_304.0, 0), (8_388_608.0, 2), (16_777_216.0, 4)];

/// What is added to a magnitude up to 6 with an exponent of these last bits, three at least, so that
/// the last bits of the sum are its code.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn e2m1_aligner(exponent: u32) -> f32 {
    // That of 2 is 128, of which the last bits are zero.
    let (aligner, first) = E2M1_ALIGNERS[if exponent < 2 { 1 + exponent as usize } else { 0 }];
    f32::from_bits(aligner.to_bits() + first)
}

/// Sign, two exponent bits, bias 1, one mantissa bit; a NaN becomes zero.
#[inline(always)]
pub(super) fn to_e2m1(value: f32) -> u8 {
    let absolute = value.abs();
    let limited = if absolute < E2M1_LARGEST { absolute } else { E2M1_LARGEST };
    let mut code = i32::MAX;
    for (aligner, first) in E2M1_ALIGNERS {
        let sum = (limited + aligner).to_bits();
        code = code.min((sum - aligner.to_bits() + first) as i32); // signed: more processors have it
    }
    let sign = (value.to_bits() >> 28) as u8 & 8;
    sign | if value.is_nan() { 0 } else { code as u8 }
}

#[inline(always)]
fn to_eight<const MANTISSA: u32, const BIAS: u32>(value: f32, largest: f32, nan: u8) -> u8 {
    let sign = (value.to_bits() >> 24) as u8 & 0x80;
    sign | if value.is_nan() { nan } else { magnitude::<MANTISSA, BIAS>(value, largest) as u8 }
}

/// Limit, then round to nearest even; a subnormal's last bit is aligned with that of a sum.
#[inline(always)]
fn magnitude<const MANTISSA: u32, const BIAS: u32>(value: f32, largest: f32) -> u32 {
    let absolute = value.abs();
    let limited = if absolute > largest { largest } else { absolute };
    let bits = limited.to_bits();
    let shift = 23 - MANTISSA;
    let rebiased = bits.wrapping_sub((127 - BIAS) << 23);
    let half_less_one = (1 << (shift - 1)) - 1;
    let normal = rebiased.wrapping_add(half_less_one + ((rebiased >> shift) & 1)) >> shift;
    // Twice to the power (23 - the least subnormal's exponent): its last bit is that subnormal.
    let aligner = (127 + 23 + 1 - BIAS - MANTISSA) << 23;
    let sum = limited + f32::from_bits(aligner);
    let subnormal = sum.to_bits().wrapping_sub(aligner);
    let least_normal = (128 - BIAS) << 23;
    if bits < least_normal {
        subnormal
    } else {
        normal
    }
}
