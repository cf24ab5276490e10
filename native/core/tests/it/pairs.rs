//! Merges of 8-bit codes with one scale each, by a table of all pairs, and the usual way.

use crate::common::{job, lerp, options, run_jobs};
use bmerge_core::blocks::{Code, Codec, Scaled, Scales};
use bmerge_core::merge::{Coded, Encoding, Input, Job, Place, Report, Segment, Source, Stored};
use bmerge_core::Dtype;

const ROWS: u64 = 1100;
const COLUMNS: u64 = 1001;
const COUNT: usize = (ROWS * COLUMNS) as usize;

fn codec(code: Code) -> Scaled {
    Scaled {
        code,
        rows: ROWS,
        columns: COLUMNS,
        stride: COLUMNS,
        scales: Scales::Grid { rows: ROWS, columns: COLUMNS, across: 1 },
        scale: Dtype::F32,
        tensor_scale: false,
        column_factors: false,
        factor: 1.0,
        rotation: None,
    }
}

/// Codes, then a scale; `nan` is where a code is no number.
fn stored(factor: usize, scale: f32, nan: Option<usize>) -> Vec<u8> {
    let finite = |byte: u8| if byte & 0x7c == 0x7c { 0x31 } else { byte };
    let mut bytes: Vec<u8> = (0..COUNT).map(|i| finite(((i * factor) >> 3) as u8)).collect();
    if let Some(place) = nan {
        bytes[place] = 0x7f;
    }
    bytes.extend(scale.to_le_bytes());
    bytes
}

fn merged(
    codes: [Code; 3],
    sources: &[Vec<u8>; 2],
    direct: bool,
    threads: usize,
) -> (Report, Vec<u8>) {
    let program = lerp();
    let input = |source: usize| {
        let parts = [0, COUNT as u64].map(|offset| Place { source, offset }).to_vec();
        let coded = Coded { codec: Codec::Scaled(codec(codes[source])), parts };
        let stored = Stored::Coded(Box::new(coded));
        if direct {
            return Input::One(stored);
        }
        Input::Segments(vec![Segment { stored, first: 0, count: COUNT as u64 }])
    };
    let companions = vec![(0, COUNT as u64)];
    let encoding = Encoding { codec: Codec::Scaled(codec(codes[2])), rows: ROWS, companions };
    let job = Job {
        inputs: vec![input(0), input(1)],
        encoding: Some(Box::new(encoding)),
        ..job(&program, &[ROWS, COLUMNS])
    };
    let mut output = vec![0; COUNT + 4];
    let bytes = sources.iter().map(|source| Source::Bytes(source)).collect();
    let options = options(threads, 1 << 22);
    let report = run_jobs(&[&program], bytes, &mut output, vec![job], options).unwrap();
    (report, output)
}

#[test]
fn a_table_of_pairs_gives_the_same_codes_scale_and_findings() {
    use Code::{E4M3, E5M2, I8};
    for (codes, nan) in [
        ([E4M3, E4M3, E4M3], None),
        ([E5M2, I8, E4M3], Some(777_777)),
        ([I8, I8, I8], None),
        ([E4M3, E5M2, E5M2], Some(3)),
    ] {
        let sources = [stored(7, 0.01, None), stored(11, 0.3, nan)];
        let (usual, expected) = merged(codes, &sources, false, 2);
        for threads in [1, 3] {
            let (report, output) = merged(codes, &sources, true, threads);
            assert!(output == expected, "{codes:?} {threads}");
            let report = Report { threads: usual.threads, ..report };
            assert_eq!(report, usual, "{codes:?} {threads}");
        }
        assert_eq!(usual.nonfinite.is_empty(), nan.is_none() || codes[1] == I8);
    }
}
