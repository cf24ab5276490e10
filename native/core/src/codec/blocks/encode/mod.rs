//! Float32 to codes, some rows or blocks of a tensor at a time.
//!
//! Where the scales of several rows depend on each other, the greatest magnitudes are looked for in
//! a pass of its own. A maximum does not depend on the order, so any number of threads gives the
//! same codes. Values that are not finite have no part in scales; NaN becomes a NaN where there is
//! one, else zero, and infinity the largest number.

mod companions;
mod measure;
mod rows;
mod scales;

pub(crate) use companions::Companions;

use super::Codec;
use crate::codec::Isa;
use crate::vm::simd::Task;
use crate::vm::Level;
use rows::Rows;

impl Codec {
    /// Elements that are encoded without others, but for what was measured: a row, or a block.
    pub(crate) fn unit(&self) -> u64 {
        match self {
            Self::Scaled(scaled) => scaled.columns.max(1),
            Self::Levels(levels) => levels.elements.max(1),
            Self::Ggml(ggml) => ggml.kind.block().0,
            Self::Packed(packed) => packed.columns.max(1),
        }
    }

    /// Bytes of codes of such a unit.
    pub(crate) fn unit_bytes(&self) -> u64 {
        match self {
            Self::Scaled(scaled) => scaled.code_bytes(scaled.stride) as u64,
            Self::Levels(levels) => levels.elements.div_ceil(2),
            Self::Ggml(ggml) => ggml.kind.block().1,
            Self::Packed(packed) => packed.columns * u64::from(packed.bits) / 8,
        }
    }

    /// Rows whose scales lie in the same tiles; 1 if there are no tiles.
    pub(crate) fn tile_rows(&self) -> u64 {
        if self.has_tiles() {
            128
        } else {
            1
        }
    }

    /// Whether the greatest magnitudes must be known before anything is encoded.
    pub(crate) fn is_measured(&self) -> bool {
        let Self::Scaled(scaled) = self else {
            return false;
        };
        scaled.tensor_scale || scaled.shares_cells()
    }
}

/// How a tensor is encoded, and what its units share.
#[derive(Clone, Copy)]
pub(crate) struct Encoder<'a> {
    pub(crate) codec: &'a Codec,
    pub(crate) companions: &'a Companions,
}

impl Encoder<'_> {
    /// Note the greatest magnitudes of elements from number `begin` on; whether all are finite.
    pub(crate) fn measure(self, begin: u64, values: &[f32]) -> bool {
        Level::detect().run(Measure { encoder: self, begin, values })
    }

    /// Encode whole units, the first of which is number `unit`; whether all values were finite, where
    /// nothing was measured before.
    pub(crate) fn encode(self, unit: u64, values: &mut [f32], codes: &mut [u8]) -> bool {
        self.encode_at(Level::detect(), unit, values, codes)
    }

    fn encode_at(self, level: Level, unit: u64, values: &mut [f32], codes: &mut [u8]) -> bool {
        level.run(Encode { encoder: self, unit, values, codes })
    }
}

/// See [`Encoder::measure`].
struct Measure<'a> {
    encoder: Encoder<'a>,
    begin: u64,
    values: &'a [f32],
}

impl Task for Measure<'_> {
    type Output = bool;

    #[inline(always)]
    fn run<I: Isa>(self) -> bool {
        let Encoder { codec, companions } = self.encoder;
        match codec {
            Codec::Scaled(scaled) => Rows { scaled, companions }.measure(self.begin, self.values),
            Codec::Levels(_) | Codec::Ggml(_) | Codec::Packed(_) => true, // nothing is shared
        }
    }
}

/// See [`Encoder::encode`].
struct Encode<'a> {
    encoder: Encoder<'a>,
    unit: u64,
    values: &'a mut [f32],
    codes: &'a mut [u8],
}

impl Task for Encode<'_> {
    type Output = bool;

    #[inline(always)]
    fn run<I: Isa>(self) -> bool {
        let Encoder { codec, companions } = self.encoder;
        match codec {
            Codec::Scaled(scaled) => {
                Rows { scaled, companions }.encode::<I>(self.unit, self.values, self.codes)
            }
            Codec::Levels(_) | Codec::Packed(_) => false, // jobs are refused these before a run starts
            Codec::Ggml(ggml) => ggml.encode::<I>(self.values, self.codes),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a panic is a failed test

    use super::super::round::whole;
    use super::super::{Code, Ggml, Kind, Scaled, Scales};
    use super::scales::power_above;
    use super::*;
    use crate::codec::eight::to_e2m1 as e2m1;
    use crate::dtype::Dtype;

    /// Numbers of many sizes, with halves and what is not finite among them.
    fn values(count: usize) -> Vec<f32> {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from_bits((0x3800_0000 + (state >> 4 & 0x0a00_0000)) | (state & 0x8070_0000))
        };
        let mut all: Vec<f32> = (0..count).map(|_| next()).collect();
        (all[7], all[100], all[200]) = (f32::NAN, f32::INFINITY, f32::NEG_INFINITY);
        all[300..440].fill(0.0);
        all
    }

    /// Codes of all sorts, for 13 rows of so many columns or as many blocks.
    fn codecs(columns: u64) -> Vec<Codec> {
        let rows = Scales::Grid { rows: 1, columns, across: 1 };
        let cells = Scales::Grid { rows: 5, columns: 32, across: columns.div_ceil(32) };
        let tiles = |cell: u64| Scales::Tiled { columns: cell, tiles: columns.div_ceil(4 * cell) };
        let scaled = |(code, scales, scale)| {
            Codec::Scaled(Scaled {
                code,
                rows: 13,
                columns,
                stride: columns.next_multiple_of(16),
                scales,
                scale,
                tensor_scale: scale == Dtype::F8_E4M3,
                column_factors: false,
                factor: 1.0,
                rotation: None,
            })
        };
        let mut all: Vec<Codec> = [
            (Code::E4M3, cells, Dtype::F32),
            (Code::E5M2, rows, Dtype::BF16),
            (Code::I8, rows, Dtype::F16),
            (Code::I4, rows, Dtype::F32),
            (Code::E4M3, tiles(32), Dtype::F8_E8M0),
            (Code::E2M1, tiles(16), Dtype::F8_E4M3),
        ]
        .map(scaled)
        .into();
        let kinds = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"];
        all.extend(
            kinds.map(|name| Codec::Ggml(Ggml { kind: Kind::parse(name).unwrap(), blocks: 13 })),
        );
        all
    }

    #[test]
    fn every_processor_gives_the_same_codes_and_scales() {
        for codec in [70, 870].into_iter().flat_map(codecs) {
            let (sizes, unit) = (codec.sizes().unwrap(), codec.unit() as usize);
            let encoded = |level| {
                let companions = Companions::new(&codec, sizes.get(1).copied().unwrap_or(0));
                let encoder = Encoder { codec: &codec, companions: &companions };
                let mut values = values(13 * unit.max(70));
                values.truncate(13 * unit);
                if codec.is_measured() {
                    encoder.measure(0, &values);
                }
                let mut codes = vec![0; sizes[0] as usize];
                let (first, last) = values.split_at_mut(6 * unit);
                let (upper, lower) = codes.split_at_mut(sizes[0] as usize / 13 * 6);
                encoder.encode_at(level, 0, first, upper);
                encoder.encode_at(level, 6, last, lower);
                (codes, companions.scales(), companions.tensor_scale().to_bits())
            };
            let expected = encoded(Level::Portable);
            for level in Level::all() {
                assert_eq!(expected, encoded(level), "{codec:?} {level:?}");
            }
        }
    }

    #[test]
    fn halves_are_rounded_to_the_even_code() {
        assert_eq!(e2m1(f32::NAN) & 7, 0);
        let middles = [0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0, 9.0];
        assert_eq!(middles.map(e2m1), [0, 2, 2, 4, 4, 6, 6, 7]);
        assert_eq!(middles.map(|x| e2m1(-x)), [8, 10, 10, 12, 12, 14, 14, 15]);
        assert_eq!([0.0, 1.0, 1.5, 1e-45].map(power_above), [0, 127, 128, 1]);
        let rounded = [0.5, 1.5, -2.5, 126.7, -300.0].map(|x| whole(x, 127.0) as i8);
        assert_eq!(rounded, [0, 2, -2, 127, -127]);
    }

    /// See [`Isa::encode_e2m1`].
    struct Quotients<'a>(&'a [[f32; 16]], &'a [f32], &'a mut [[u8; 8]]);

    impl Task for Quotients<'_> {
        type Output = ();

        #[inline(always)]
        fn run<I: Isa>(self) {
            I::encode_e2m1(self.0, self.1, self.2);
        }
    }

    #[test]
    fn quotients_are_rounded_as_divisions_have_them() {
        let middles = [0.25_f32, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0, 0.0];
        let sizes = [1e-42, 1e-31, 1e-20, 1.0, 1e20, 1e31];
        for (mantissa, size) in (0..1 << 23).step_by(4099).zip(sizes.into_iter().cycle()) {
            let divisor = f32::from_bits(1.0_f32.to_bits() | mantissa) * size;
            let near = |at: usize| {
                let value = f32::from_bits((middles[at / 8] * divisor).to_bits() + at as u32 % 8);
                f32::from_bits(value.to_bits().saturating_sub(4) | (at as u32 & 1) << 31)
            };
            let cells: [[f32; 16]; 4] =
                std::array::from_fn(|cell| std::array::from_fn(|at| near(16 * cell + at)));
            let expected = cells.as_flattened().iter().map(|value| e2m1(value / divisor));
            let expected: Vec<u8> = expected.collect();
            for level in Level::all() {
                let mut codes = [[0; 8]; 4];
                level.run(Quotients(&cells, &[divisor; 4], &mut codes));
                let codes = codes.as_flattened().iter().flat_map(|code| [code >> 4, code & 15]);
                assert!(codes.eq(expected.iter().copied()), "{divisor:e} {level:?}");
            }
        }
    }

    #[test]
    fn any_number_of_cells_has_the_codes_of_divisions() {
        let cells: Vec<[f32; 16]> = values(71 * 16).as_chunks().0.to_vec();
        let finite = |value: f32| if value.is_finite() { value } else { 1.5 };
        let cells: Vec<_> = cells.iter().map(|cell| cell.map(finite)).collect();
        // One of those of a size of which reciprocals are of no use is among the second thirty-two.
        let mut divisors: Vec<_> = (0..71).map(|cell| 0.01 + 0.07 * cell as f32).collect();
        divisors[40] = 1e-41;
        for count in [71, 66, 64, 33, 7, 1] {
            let expected = cells[..count].iter().zip(&divisors).map(|(cell, divisor)| {
                let codes = cell.map(|value| e2m1(value / divisor));
                std::array::from_fn(|at| codes[2 * at] << 4 | codes[2 * at + 1])
            });
            let expected: Vec<[u8; 8]> = expected.collect();
            for level in Level::all() {
                let mut codes = vec![[0; 8]; count];
                level.run(Quotients(&cells[..count], &divisors, &mut codes));
                assert_eq!(codes, expected, "{level:?}");
            }
        }
    }

    #[test]
    fn what_is_next_to_a_middle_is_rounded_to_the_nearer_code_on_every_processor() {
        let middles = [0.25_f32, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0];
        let near = |middle: f32, by: i32| f32::from_bits((middle.to_bits() as i32 + by) as u32);
        let scales = Scales::Tiled { columns: 16, tiles: 1 };
        let codec = Codec::Scaled(Scaled {
            code: Code::E2M1,
            rows: 1,
            columns: 64,
            stride: 64,
            scales,
            scale: Dtype::F8_E4M3,
            tensor_scale: true,
            column_factors: false,
            factor: 1.0,
            rotation: None,
        });
        for level in Level::all() {
            // The first cell makes the scale of the tensor 1, a six that of each other cell.
            let mut values = [0.0_f32; 64];
            values[0] = 6.0 * 448.0;
            let mut expected = vec![7];
            expected.resize(64, 0);
            for (at, (lower, middle)) in (16..).step_by(2).zip((0..).zip(middles)) {
                values[at] = near(middle, -1);
                values[at + 1] = -near(middle, 1);
                expected[at] = lower;
                expected[at + 1] = 9 + lower;
            }
            (values[31], values[47], values[63]) = (6.0, -6.0, 6.0);
            (expected[31], expected[47], expected[63]) = (7, 15, 7);
            let companions = Companions::new(&codec, 512);
            let encoder = Encoder { codec: &codec, companions: &companions };
            encoder.measure(0, &values);
            let mut codes = [0; 32];
            encoder.encode_at(level, 0, &mut values, &mut codes);
            let apart: Vec<u8> = codes.iter().flat_map(|code| [code >> 4, code & 15]).collect();
            assert_eq!(apart, expected, "{level:?}");
        }
    }
}
