//! Scaled values to codes, and what scales come of.

use super::scaled::Code;
use crate::codec::eight;

/// The largest number of a code.
pub(super) fn largest(code: Code) -> f32 {
    match code {
        Code::E4M3 => 448.0,
        Code::E5M2 => 57344.0,
        Code::I8 => 127.0,
        Code::E2M1 => 6.0,
        Code::I4 => 7.0,
    }
}

/// The greatest magnitude of those that are finite, and whether all are.
#[inline(always)]
pub(super) fn greatest(values: &[f32]) -> (f32, bool) {
    let mut greatest = 0;
    for value in values {
        greatest = greatest.max(value.to_bits() & 0x7fff_ffff);
    }
    if greatest < 0x7f80_0000 {
        return (f32::from_bits(greatest), true);
    }
    let magnitudes = values.iter().map(|value| value.to_bits() & 0x7fff_ffff);
    let greatest = magnitudes.filter(|magnitude| *magnitude < 0x7f80_0000).max();
    (f32::from_bits(greatest.unwrap_or(0)), false)
}

/// Cells whose greatest magnitudes are looked for side by side, one in each lane of a vector.
const SIDE: usize = 8;

/// [`greatest`] of each cell; whether all values of all are finite.
#[inline(always)]
pub(in crate::codec) fn greatest_each<const N: usize>(
    cells: &[[f32; N]],
    targets: &mut [f32],
) -> bool {
    let mut most = [0_i32; SIDE];
    let (groups, last) = cells.as_chunks::<SIDE>();
    for (cells, targets) in groups.iter().zip(targets.as_chunks_mut::<SIDE>().0) {
        // Magnitudes fit signed numbers, which more processors compare.
        let mut found = [0_i32; SIDE];
        for index in 0..N {
            for (found, cell) in found.iter_mut().zip(cells) {
                *found = (*found).max((cell[index].to_bits() & 0x7fff_ffff) as i32);
            }
        }
        for ((target, most), found) in targets.iter_mut().zip(&mut most).zip(found) {
            (*target, *most) = (f32::from_bits(found as u32), (*most).max(found));
        }
    }
    let mut finite = most.iter().all(|most| *most < 0x7f80_0000);
    let alone = if finite { cells.len() - last.len() } else { 0 };
    for (target, cell) in targets[alone..].iter_mut().zip(&cells[alone..]) {
        let (greatest, all) = greatest(cell);
        (*target, finite) = (greatest, finite & all);
    }
    finite
}

/// Round scaled values to codes.
#[inline(always)]
pub(super) fn store(code: Code, values: &[f32], codes: &mut [u8]) {
    match code {
        Code::E4M3 => each(values, codes, eight::to_e4m3),
        Code::E5M2 => each(values, codes, eight::to_e5m2),
        Code::I8 => each(values, codes, |x| whole(x, 127.0) as u8),
        Code::E2M1 => {
            let (pairs, _) = values.as_chunks::<2>();
            for (code, [even, odd]) in codes.iter_mut().zip(pairs) {
                *code = eight::to_e2m1(*even) << 4 | eight::to_e2m1(*odd);
            }
        }
        Code::I4 => {
            let nibble = |x: f32| whole(x, 7.0) as u8 & 15;
            let (pairs, _) = values.as_chunks::<2>();
            for (code, [even, odd]) in codes.iter_mut().zip(pairs) {
                *code = nibble(*even) | nibble(*odd) << 4;
            }
        }
    }
}

#[inline(always)]
fn each(values: &[f32], codes: &mut [u8], round: impl Fn(f32) -> u8) {
    for (code, value) in codes.iter_mut().zip(values) {
        *code = round(*value);
    }
}

/// Limit a number and round it to the nearest whole one, halves to even; the bits of that.
#[inline(always)]
pub(super) fn whole(value: f32, largest: f32) -> u32 {
    // The sum is between 2^23 and 2^24: its last bits are the whole number.
    const ALIGNER: f32 = 12_582_912.0;
    let above = if value > largest { largest } else { value };
    let limited = if above < -largest { -largest } else { above };
    (limited + ALIGNER).to_bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_side_by_side_have_the_magnitudes_that_each_has_alone() {
        let value = |place: usize| ((place * 7919) % 1009) as f32 - 500.0;
        let mut cells: [[f32; 16]; 21] =
            std::array::from_fn(|cell| std::array::from_fn(|at| value(16 * cell + at)));
        let all = |cells: &[[f32; 16]]| {
            let mut found = [0.0; 21];
            (greatest_each(cells, &mut found), found)
        };
        let alone = |cells: &[[f32; 16]; 21]| cells.map(|cell| greatest(&cell).0);
        assert_eq!(all(&cells), (true, alone(&cells)));
        (cells[3][5], cells[20][15]) = (f32::NAN, f32::NEG_INFINITY);
        assert_eq!(all(&cells), (false, alone(&cells)));
        cells[3][5] = 0.0;
        assert_eq!(all(&cells), (false, alone(&cells)));
    }
}
