//! Merges of nibbles whose scales bound the results, and the usual way.

use crate::common::{job, lerp, options, run_jobs};
use bmerge_core::blocks::{Code, Codec, Scaled, Scales};
use bmerge_core::merge::{Coded, Encoding, Input, Job, Place, Report, Segment, Source, Stored};
use bmerge_core::Dtype;

const ROWS: u64 = 2001;
const COLUMNS: u64 = 208;
const COUNT: u64 = ROWS * COLUMNS;
const TILES: u64 = COLUMNS.div_ceil(64);
const CODES: u64 = COUNT / 2;
const SCALES: u64 = ROWS.div_ceil(128) * TILES * 512;
const SIZE: usize = (CODES + SCALES + 4) as usize;

fn codec() -> Codec {
    Codec::Scaled(Scaled {
        code: Code::E2M1,
        rows: ROWS,
        columns: COLUMNS,
        stride: COLUMNS,
        scales: Scales::Tiled { columns: 16, tiles: TILES },
        scale: Dtype::F8_E4M3,
        tensor_scale: true,
        column_factors: false,
        factor: 1.0,
        rotation: None,
    })
}

/// Codes, scales and the scale of the whole, of bytes without order.
fn stored(seed: u32, scale_of: impl Fn(u8) -> u8) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let mut bytes: Vec<u8> = (0..CODES).map(|_| next()).collect();
    bytes.extend((0..SCALES).map(|_| scale_of(next())));
    bytes.extend(0.3_f32.to_le_bytes());
    bytes
}

fn merged(sources: &[Vec<u8>; 2], direct: bool, threads: usize, memory: u64) -> (Report, Vec<u8>) {
    let program = lerp();
    let input = |source: usize| {
        let parts = [0, CODES, CODES + SCALES].map(|offset| Place { source, offset }).to_vec();
        let stored = Stored::Coded(Box::new(Coded { codec: codec(), parts }));
        if direct {
            return Input::One(stored);
        }
        Input::Segments(vec![Segment { stored, first: 0, count: COUNT }])
    };
    let companions = vec![(0, CODES), (0, CODES + SCALES)];
    let encoding = Encoding { codec: codec(), rows: ROWS, companions };
    let job = Job {
        inputs: vec![input(0), input(1)],
        encoding: Some(Box::new(encoding)),
        ..job(&program, &[ROWS, COLUMNS])
    };
    let mut output = vec![0; SIZE];
    let bytes = sources.iter().map(|source| Source::Bytes(source)).collect();
    let options = options(threads, memory);
    let report = run_jobs(&[&program], bytes, &mut output, vec![job], options).unwrap();
    (report, output)
}

#[test]
fn what_bounds_leave_out_changes_neither_codes_nor_scales_nor_findings() {
    let usual = |byte| 0x20 | byte & 0x1f;
    let flat = |_| 0x38;
    let rare = |byte| if byte == 77 { 0x48 } else { 0x20 };
    for (first, second, finite) in [
        (stored(1, usual), stored(2, usual), true),
        (stored(3, flat), stored(3, flat), true),
        (stored(4, rare), stored(5, |byte| rare(byte) | 0x80), true),
        (stored(6, usual), stored(7, |byte| if byte == 3 { 0x7f } else { 0x30 }), false),
    ] {
        let sources = [first, second];
        let (report, expected) = merged(&sources, false, 2, 1 << 22);
        // With little memory a unit has fewer rows than tiles of scales.
        for (threads, memory) in [(1, 1 << 22), (3, 1 << 22), (1, 1 << 16), (2, 1 << 16)] {
            let (found, output) = merged(&sources, true, threads, memory);
            assert!(output == expected, "{threads} {memory}");
            let found = Report { threads: report.threads, ..found };
            assert_eq!(found, report, "{threads} {memory}");
        }
        assert_eq!(report.nonfinite.is_empty(), finite);
    }
}
