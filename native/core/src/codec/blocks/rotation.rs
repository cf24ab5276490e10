//! The rotation of `ConvRot`: groups of columns are multiplied by a symmetric orthogonal matrix.
//!
//! Of a group of 4^n columns it is the n-th Kronecker power of
//! ½ · [[1, 1, 1, −1], [1, 1, −1, 1], [1, −1, 1, 1], [−1, 1, 1, 1]], its own inverse.

/// Whether groups may have so many columns.
pub(crate) fn is_group(size: u64) -> bool {
    size >= 4 && size.is_power_of_two() && size.trailing_zeros().is_multiple_of(2)
}

/// Rotate one group in place: the butterfly of the Kronecker power, ¼ of whose steps are each scaled.
#[inline(always)]
pub(crate) fn rotate(group: &mut [f32]) {
    let mut stride = 1;
    while stride < group.len() {
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
        stride *= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_the_matrix_have_the_signs_of_their_digits() {
        for size in [4_usize, 16, 64] {
            for column in 0..size {
                let mut group = vec![0.0; size];
                group[column] = 1.0;
                rotate(&mut group);
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
