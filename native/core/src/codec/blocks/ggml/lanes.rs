//! Eight numbers side by side, one of each of eight sub-blocks: sums go along a sub-block, in the
//! order of ggml's loops, and the compiler makes vectors of the eight.
//!
//! Arrays are filled by loops: their own functions may stay functions, without the instruction set.

pub(super) const LANES: usize = 8;

/// Between 2^23 and 2^24: the last bits of sums with it are whole numbers.
pub(in crate::codec) const ALIGNER: f32 = 12_582_912.0;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Eight(pub(super) [f32; LANES]);

/// What a comparison says of each.
pub(super) type Mask = [bool; LANES];

impl Eight {
    #[inline(always)]
    pub(super) fn splat(value: f32) -> Self {
        Self([value; LANES])
    }

    /// One number of every sub-block of so many.
    #[inline(always)]
    pub(super) fn gather(values: &[f32], first: usize, apart: usize) -> Self {
        let mut all = [0.0; LANES];
        for (lane, value) in all.iter_mut().enumerate() {
            *value = values[first + lane * apart];
        }
        Self(all)
    }

    #[inline(always)]
    pub(super) fn abs(mut self) -> Self {
        for value in &mut self.0 {
            *value = value.abs();
        }
        self
    }

    #[inline(always)]
    pub(super) fn sqrt(mut self) -> Self {
        for value in &mut self.0 {
            *value = value.sqrt();
        }
        self
    }

    /// The less of both.
    #[inline(always)]
    pub(super) fn least(mut self, other: Self) -> Self {
        for (x, y) in self.0.iter_mut().zip(other.0) {
            *x = if y < *x { y } else { *x };
        }
        self
    }

    /// The greater of both.
    #[inline(always)]
    pub(super) fn greatest(mut self, other: Self) -> Self {
        for (x, y) in self.0.iter_mut().zip(other.0) {
            *x = if y > *x { y } else { *x };
        }
        self
    }

    /// Rounded to whole numbers within a range, halves to even.
    #[inline(always)]
    pub(super) fn whole(mut self, least: f32, most: f32) -> Self {
        for value in &mut self.0 {
            *value = whole(*value, least, most);
        }
        self
    }

    #[inline(always)]
    pub(super) fn exceeds(self, other: Self) -> Mask {
        let mut mask = [false; LANES];
        for (mask, (x, y)) in mask.iter_mut().zip(self.0.iter().zip(other.0)) {
            *mask = *x > y;
        }
        mask
    }

    /// These where the mask is true, else the others.
    #[inline(always)]
    pub(super) fn or(mut self, mask: Mask, other: Self) -> Self {
        for (x, (mask, y)) in self.0.iter_mut().zip(mask.iter().zip(other.0)) {
            *x = if *mask { *x } else { y };
        }
        self
    }
}

/// Both.
#[inline(always)]
pub(super) fn both(mut one: Mask, other: Mask) -> Mask {
    for (x, y) in one.iter_mut().zip(other) {
        *x &= y;
    }
    one
}

/// Operators number by number.
macro_rules! operators {
    ($($operator:ident $name:ident $assign:tt)*) => {$(
        impl std::ops::$operator for Eight {
            type Output = Self;

            #[inline(always)]
            fn $name(mut self, other: Self) -> Self {
                for (x, y) in self.0.iter_mut().zip(other.0) {
                    *x $assign y;
                }
                self
            }
        }
    )*};
}

operators! { Add add += Sub sub -= Mul mul *= Div div /= }

/// Round to the nearest whole number, halves to even, and limit it.
#[inline(always)]
pub(super) fn whole(value: f32, least: f32, most: f32) -> f32 {
    f32::from_bits(bits(value, least, most)) - ALIGNER
}

/// The same, in the last bits of a word.
#[inline(always)]
pub(super) fn bits(value: f32, least: f32, most: f32) -> u32 {
    let above = if value > most { most } else { value };
    let limited = if above > least { above } else { least };
    (limited + ALIGNER).to_bits()
}
