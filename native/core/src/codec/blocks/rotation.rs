//! The rotation of `ConvRot`: groups of columns are multiplied by a symmetric orthogonal matrix.
//!
//! Of a group of 4^n columns it is the n-th Kronecker power of
//! ½ · [[1, 1, 1, −1], [1, 1, −1, 1], [1, −1, 1, 1], [−1, 1, 1, 1]], its own inverse.

use crate::codec::Isa;

/// Whether groups may have so many columns.
pub(crate) fn is_group(size: u64) -> bool {
    size >= 4 && size.is_power_of_two() && size.trailing_zeros().is_multiple_of(2)
}

/// Rotate one group in place: the butterfly of the Kronecker power, ¼ of whose steps are each scaled.
#[inline(always)]
pub(crate) fn rotate<I: Isa>(group: &mut [f32]) {
    let mut stride = 1;
    if group.len() >= 16 {
        I::rotate_sixteens(group.as_chunks_mut().0);
        stride = 16;
    }
    while stride < group.len() {
        step(group, stride);
        stride *= 4;
    }
}

/// The first two steps, of strides 1 and 4.
#[inline(always)]
pub(in crate::codec) fn rotate_sixteens(groups: &mut [[f32; 16]]) {
    let groups = groups.as_flattened_mut();
    step(groups, 1);
    step(groups, 4);
}

#[inline(always)]
fn step(group: &mut [f32], stride: usize) {
    for block in group.chunks_exact_mut(4 * stride) {
        let (low, high) = block.split_at_mut(2 * stride);
        let (first, second) = low.split_at_mut(stride);
        let (third, fourth) = high.split_at_mut(stride);
        let numbers = first.iter_mut().zip(second).zip(third).zip(fourth);
        for (((a, b), c), d) in numbers {
            let (sum, difference) = (*a + *b, *a - *b);
            let (others, apart) = (*c + *d, *c - *d);
            *a = 0.5 * (sum + apart);
            *b = 0.5 * (sum - apart);
            *c = 0.5 * (difference + others);
            *d = 0.5 * (others - difference);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Portable;
    use crate::vm::simd::Task;
    use crate::vm::Level;

    /// See [`rotate`].
    struct Rotate<'a>(&'a mut [f32]);

    impl Task for Rotate<'_> {
        type Output = ();

        #[inline(always)]
        fn run<I: Isa>(self) {
            rotate::<I>(self.0);
        }
    }

    #[test]
    fn every_level_gives_the_same_bits() {
        let number = |at: usize| ((at * 7919) % 1009) as f32 * 0.37 - 180.0;
        for size in [4, 16, 64, 256] {
            let group: Vec<f32> = (0..size).map(number).collect();
            let rotated = |level: Level| {
                let mut group = group.clone();
                level.run(Rotate(&mut group));
                group.into_iter().map(f32::to_bits).collect::<Vec<_>>()
            };
            let expected = rotated(Level::Portable);
            assert!(Level::all().into_iter().all(|level| rotated(level) == expected), "{size}");
        }
    }

    #[test]
    fn columns_of_the_matrix_have_the_signs_of_their_digits() {
        for size in [4_usize, 16, 64] {
            for column in 0..size {
                let mut group = vec![0.0; size];
                group[column] = 1.0;
                rotate::<Portable>(&mut group);
                for (row, value) in group.iter().enumerate() {
                    let threes = (0..3).filter(|digit| {
                        let at = |index: usize| (index >> (2 * digit)) & 3;
                        at(row) + at(column) == 3
                    });
                    // Digits beyond the size are zero and never add up to three.
                    let sign = if threes.count() % 2 == 0 { 1.0 } else { -1.0 };
                    let expected = sign / (size as f32).sqrt();
                    assert!((value - expected).abs() < 1e-7, "{size} {row} {column}: {value}");
                }
            }
        }
    }
}
