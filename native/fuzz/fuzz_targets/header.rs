//! No bytes make the parser panic, and what it accepts fills the file.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u64, &[u8])| {
    let (size, json) = input;
    if let Ok(header) = bmerge_core::parse_header(json, size) {
        let mut position = 8 + json.len() as u64;
        for tensor in header.tensors.iter() {
            assert_eq!(tensor.begin, position);
            position = tensor.end;
        }
        assert_eq!(position, size);
    }
});
