//! Numbers divided by those of cells, rounded to E2M1: by reciprocals where these give what a division
//! gives.

use super::isa::{Isa, Portable};

/// Divisors of which quotients are exact in the steps of those that take reciprocals, with room.
const LEAST: f32 = 1e-30;
const MOST: f32 = 1e30;

/// Cells whose reciprocals are made together.
const CELLS: usize = 32;

/// See [`Isa::encode_e2m1`]; `multiply` gets the divisors of some cells, and their reciprocals.
#[inline(always)]
pub(super) fn encode_e2m1(
    cells: &[[f32; 16]],
    divisors: &[f32],
    codes: &mut [[u8; 8]],
    multiply: impl Fn(&[[f32; 16]], [&[f32]; 2], &mut [[u8; 8]]),
) {
    let several = cells.chunks(CELLS).zip(divisors.chunks(CELLS));
    for ((cells, divisors), codes) in several.zip(codes.chunks_mut(CELLS)) {
        let divisors = &divisors[..cells.len()];
        let (mut reciprocals, mut outside) = ([0.0; CELLS], 0);
        for (reciprocal, divisor) in reciprocals.iter_mut().zip(divisors) {
            *reciprocal = 1.0 / divisor;
            outside |= i32::from(*divisor < LEAST) | i32::from(*divisor > MOST);
        }
        if outside == 0 {
            multiply(cells, [divisors, &reciprocals[..cells.len()]], codes);
        } else {
            Portable::encode_e2m1(cells, divisors, codes);
        }
    }
}
