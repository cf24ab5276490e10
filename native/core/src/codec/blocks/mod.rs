//! Weights that are stored as codes with scales, decoded to float32.
//!
//! A [`Codec`] says how the elements of one tensor lie in its *parts*: the codes first, then what
//! else it takes to know their values, each part a range of bytes. A [`Window`] has the bytes that
//! [`Codec::runs`] names of some elements; any run of these is decoded from it. Arithmetic is float32
//! in the order of each format's reference, without fusing, so that its values come out to the bit.

pub(crate) mod encode;
mod ggml;
mod levels;
mod packed;
mod rotation;
mod round;
mod scaled;
mod window;

#[cfg(target_arch = "x86_64")]
pub(super) use ggml::ALIGNER;
pub(super) use ggml::{search_codes, search_error, Column, Sums};
pub use ggml::{Ggml, Kind};
pub use levels::{Absmax, Levels};
pub use packed::{Groups, Packed, Words};
pub(super) use rotation::rotate_sixteens;
pub(super) use round::greatest_each;
pub(crate) use scaled::Bounds;
pub use scaled::{Code, Scaled, Scales};
use window::Parts;
pub(crate) use window::Window;

use super::Isa;

/// How a tensor's elements are stored in parts.
#[derive(Debug, Clone, PartialEq)]
pub enum Codec {
    /// Small numbers times scales.
    Scaled(Scaled),
    /// Places in a short list of levels, times the greatest magnitude of each block: bitsandbytes.
    Levels(Levels),
    /// Blocks of GGUF files.
    Ggml(Ggml),
    /// Whole numbers in words, rows and columns exchanged: GPTQ and AWQ.
    Packed(Packed),
}

/// Bytes of a part: so many runs of one length, `stride` apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Runs {
    pub(crate) begin: u64,
    pub(crate) length: u64,
    pub(crate) count: u64,
    pub(crate) stride: u64,
}

impl Runs {
    /// One run.
    pub(crate) fn one(begin: u64, end: u64) -> Self {
        Self { begin, length: end - begin, count: 1, stride: 0 }
    }

    /// Bytes of all of them.
    pub(crate) fn bytes(&self) -> usize {
        (self.length * self.count) as usize
    }
}

impl Codec {
    /// The number of bytes of each part; the error says what does not fit.
    pub(crate) fn sizes(&self) -> Result<Vec<u64>, String> {
        match self {
            Self::Scaled(scaled) => scaled.sizes(),
            Self::Levels(levels) => levels.sizes(),
            Self::Ggml(ggml) => ggml.sizes(),
            Self::Packed(packed) => packed.sizes(),
        }
    }

    /// The number of elements, of a codec whose sizes were asked for.
    pub(crate) fn elements(&self) -> u64 {
        match self {
            Self::Scaled(scaled) => scaled.rows * scaled.columns,
            Self::Levels(levels) => levels.elements,
            Self::Ggml(ggml) => ggml.elements(),
            Self::Packed(packed) => packed.rows * packed.columns,
        }
    }

    /// Bytes of a part that elements from `begin` up to `end` take.
    pub(crate) fn runs(&self, part: usize, begin: u64, end: u64) -> Runs {
        let (first, last) = match self {
            Self::Scaled(scaled) => scaled.span(part, begin, end),
            Self::Levels(levels) => levels.span(part, begin, end),
            Self::Ggml(ggml) => ggml.span(begin, end),
            Self::Packed(packed) => return packed.runs(part, begin, end),
        };
        Runs::one(first, last)
    }

    /// Whether its scales lie in tiles.
    pub(crate) fn has_tiles(&self) -> bool {
        matches!(self, Self::Scaled(scaled) if scaled.tiles().is_some())
    }

    /// Lay the scales of some elements row by row, as a [`Window`] takes those that are stored in tiles,
    /// given what is stored of them.
    pub(crate) fn untile(&self, elements: (u64, u64), tiles: &[u8], rows: &mut Vec<u8>) {
        if let Self::Scaled(scaled) = self {
            scaled.untile(elements, tiles, rows);
        }
    }

    /// Whether its bytes are many short runs, which cost less the more elements are decoded at once.
    pub(crate) fn is_scattered(&self) -> bool {
        matches!(self, Self::Packed(_))
    }
}

/// A product of sizes, or what to say about it.
fn product(sizes: &[u64]) -> Result<u64, String> {
    let product = sizes.iter().try_fold(1_u64, |all, size| all.checked_mul(*size));
    product.filter(|all| *all < 1 << 60).ok_or_else(|| format!("sizes {sizes:?} overflow"))
}

/// A list of sixteen numbers that nibbles are places in.
#[derive(Debug, Clone, Copy)]
struct Nibbles {
    numbers: [f32; 16],
    /// Whether the first of a byte is in its upper half.
    high_first: bool,
}

impl Nibbles {
    /// Look up nibbles from number `begin` on, and multiply them by a scale.
    #[inline(always)]
    fn decode<I: Isa>(&self, bytes: &[u8], begin: u64, scale: f32, target: &mut [f32]) {
        let mut table = self.numbers;
        for number in &mut table {
            *number *= scale;
        }
        // An odd one is the second of its byte.
        let (odd, rest) = target.split_at_mut(target.len().min((begin % 2) as usize));
        for number in odd {
            let shift = if self.high_first { 0 } else { 4 };
            *number = table[usize::from(bytes[(begin / 2) as usize] >> shift & 15)];
        }
        let bytes = &bytes[begin.div_ceil(2) as usize..];
        I::look_up(bytes, self.high_first, &table, rest);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a panic is a failed test

    use super::*;
    use crate::dtype::Dtype;
    use crate::vm::Level;

    /// Bytes without any order; as scales of F16 and F32 they may be infinite or no number.
    fn noise(count: u64, seed: u32) -> Vec<u8> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..count).map(|_| next()).collect()
    }

    fn scaled(code: Code, scales: Scales, scale: Dtype, rotation: Option<u64>) -> Codec {
        let tiled = matches!(scales, Scales::Tiled { .. });
        Codec::Scaled(Scaled {
            code,
            rows: 131,
            columns: 96,
            stride: 98,
            scales,
            scale,
            tensor_scale: tiled,
            column_factors: tiled,
            factor: 0.3,
            rotation,
        })
    }

    /// The same with rows of many cells, whose scales are all that they are multiplied by.
    fn wide(codec: Codec) -> Codec {
        match codec {
            Codec::Scaled(codec) => Codec::Scaled(Scaled {
                columns: 1056,
                stride: 1056,
                column_factors: false,
                factor: 1.0,
                ..codec
            }),
            codec => codec,
        }
    }

    fn codecs() -> Vec<Codec> {
        let rows = Scales::Grid { rows: 1, columns: 96, across: 1 };
        let cells = Scales::Grid { rows: 50, columns: 40, across: 3 };
        let tiles = |columns| Scales::Tiled { columns, tiles: 2 };
        let kinds = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"];
        let ggml = kinds.map(|name| Ggml { kind: Kind::parse(name).unwrap(), blocks: 25 });
        let levels = |absmax| Codec::Levels(Levels { elements: 1111, block: 64, absmax });
        let packed = |words, bits, groups| {
            let (rows, columns, scale, zero) = (32, 96, Dtype::F16, 1);
            Codec::Packed(Packed { bits, rows, columns, words, groups, scale, zero })
        };
        let mut all = vec![
            scaled(Code::E4M3, cells, Dtype::F16, None),
            scaled(Code::E5M2, rows, Dtype::BF16, None),
            scaled(Code::I8, rows, Dtype::F32, Some(16)),
            scaled(Code::I4, cells, Dtype::F8_E8M0, Some(4)),
            scaled(Code::E4M3, tiles(32), Dtype::F8_E8M0, None),
            scaled(Code::E2M1, tiles(16), Dtype::F8_E4M3, None),
            wide(scaled(
                Code::E2M1,
                Scales::Tiled { columns: 16, tiles: 17 },
                Dtype::F8_E4M3,
                None,
            )),
            wide(scaled(Code::E4M3, Scales::Tiled { columns: 32, tiles: 9 }, Dtype::F8_E8M0, None)),
            levels(Absmax::Plain),
            levels(Absmax::Nested { block: 5, offset: 0.5 }),
            packed(Words::Columns, 4, Groups::Of(40)),
            packed(Words::Columns, 2, Groups::Listed(3)),
            packed(Words::Rows, 8, Groups::Of(32)),
        ];
        all.extend(ggml.map(Codec::Ggml));
        all
    }

    #[test]
    fn every_processor_and_every_window_gives_the_same_bits() {
        for codec in codecs() {
            let sizes = codec.sizes().unwrap();
            let parts: Vec<_> = sizes.iter().zip(1..).map(|(size, i)| noise(*size, i)).collect();
            // Elements of a window of others: (begin, end) of both.
            let decoded = |level, (begin, end): (u64, u64), (first, last): (u64, u64)| {
                let spans = parts.iter().enumerate().map(|(index, part)| {
                    let runs = codec.runs(index, begin, end);
                    let starts =
                        (0..runs.count).map(|run| (runs.begin + run * runs.stride) as usize);
                    starts.flat_map(|at| part[at..at + runs.length as usize].to_vec()).collect()
                });
                let mut spans: Vec<Vec<u8>> = spans.collect();
                if codec.has_tiles() {
                    let tiles = std::mem::take(&mut spans[1]);
                    codec.untile((begin, end), &tiles, &mut spans[1]);
                }
                let views = spans.iter().map(Vec::as_slice);
                let mut target = vec![0.0; (last - first) as usize];
                Window::new(&codec, views, (begin, end)).read_at(level, first, &mut target);
                target
                    .iter()
                    .map(|value| if value.is_nan() { 1 } else { value.to_bits() })
                    .collect()
            };
            let all = (0, codec.elements());
            let whole: Vec<u32> = decoded(Level::Portable, all, all);
            for level in Level::all() {
                assert!(whole == decoded(level, all, all), "{codec:?} {level:?}");
            }
            let runs = [(1, 2), (0, 95), (31, 97), (95, 700), (255, 514), (64, 64), (576, 1100)];
            for run in runs.into_iter().filter(|run| run.1 <= codec.elements()) {
                let expected = &whole[run.0 as usize..run.1 as usize];
                for window in [run, all, (run.0 / 2, codec.elements().min(1101))] {
                    let found: Vec<u32> = decoded(Level::detect(), window, run);
                    assert!(found == expected, "{codec:?} {window:?} {run:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_finite_is_found_whatever_scales_tell() {
        let tiles = Scales::Tiled { columns: 16, tiles: 2 };
        let plain = match scaled(Code::E2M1, tiles, Dtype::F8_E4M3, None) {
            Codec::Scaled(codec) => Scaled { column_factors: false, factor: 1.0, ..codec },
            codec => panic!("{codec:?}"),
        };
        let doubled = Scaled { factor: 2.0, ..plain.clone() };
        // All codes are 6, and 1 all scales but that of the whole.
        for (codec, most) in
            [(plain, 6.0), (doubled, 12.0)].map(|(s, most)| (Codec::Scaled(s), most))
        {
            let sizes = codec.sizes().unwrap();
            for whole in [1.0, 1e37, f32::MAX / 8.0, f32::MAX / 5.0, f32::INFINITY, f32::NAN] {
                let scales = vec![0x38; sizes[1] as usize];
                let codes = vec![0x77; sizes[0] as usize];
                let window = [&codes[..], &scales, &whole.to_le_bytes()];
                let window = Window::new(&codec, window, (0, codec.elements()));
                for level in Level::all() {
                    let mut target = vec![0.0; codec.elements() as usize];
                    let finite = window.read_at(level, 0, &mut target);
                    assert_eq!(finite, (whole * most).is_finite(), "{whole} {level:?}");
                }
            }
        }
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        let wide = Scales::Grid { rows: 1, columns: 48, across: 1 };
        assert!(scaled(Code::I8, wide, Dtype::F32, None).sizes().is_err());
        let rows = Scales::Grid { rows: 1, columns: 96, across: 1 };
        assert!(scaled(Code::I8, rows, Dtype::F64, None).sizes().is_err());
        assert!(scaled(Code::I8, rows, Dtype::F32, Some(64)).sizes().is_err());
        assert!(scaled(Code::I8, rows, Dtype::F32, Some(8)).sizes().is_err());
        let tiles = Scales::Tiled { columns: 16, tiles: 1 };
        assert!(scaled(Code::E2M1, tiles, Dtype::F8_E4M3, None).sizes().is_err());
        let none = Levels { elements: 8, block: 0, absmax: Absmax::Plain };
        assert!(Codec::Levels(none).sizes().is_err());
        let packed = |bits, rows| Packed {
            bits,
            rows,
            columns: 64,
            words: Words::Rows,
            groups: Groups::Of(64),
            scale: Dtype::F16,
            zero: 0,
        };
        assert_eq!(packed(4, 16).sizes(), Ok(vec![512, 8, 32]));
        assert!(packed(3, 16).sizes().is_err());
        assert!(packed(4, 12).sizes().is_err());
        assert!(Packed { groups: Groups::Listed(0), ..packed(4, 16) }.sizes().is_err());
        let huge = Ggml { kind: Kind::Q8_0, blocks: u64::MAX / 32 };
        assert!(Codec::Ggml(huge).sizes().is_err());
    }
}
