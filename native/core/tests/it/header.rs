//! Headers: what must be refused, what must survive a round trip, and that nothing panics.

use std::collections::BTreeMap;

use bmerge_core::{
    encode_header, parse_header, read_header, Dtype, Error, HeaderError, TensorFault,
};
use proptest::prelude::*;

fn refusal(json: &str, data: u64) -> String {
    match parse_header(json.as_bytes(), 8 + json.len() as u64 + data) {
        Err(Error::Header { source, .. }) => source.to_string(),
        other => panic!("expected a header error, got {other:?}"),
    }
}

/// One tensor of 4 bytes of which one part is given.
fn tensor(dtype: &str, shape: &str, offsets: &str) -> String {
    format!("{{\"a\":{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":{offsets}}}}}")
}

#[test]
fn valid_headers_are_read() {
    let json = tensor("F32", "[1]", "[0,4]") + "   ";
    let header = parse_header(json.as_bytes(), 8 + json.len() as u64 + 4).unwrap();
    assert_eq!(header.tensors.get(0).dtype, Dtype::F32);
    assert_eq!(header.tensors.get(0).end, header.file_size);
    for json in ["{}", "{\"__metadata__\":{}}", "{\"__metadata__\":null}"] {
        let empty = parse_header(json.as_bytes(), 8 + json.len() as u64).unwrap();
        assert!(empty.tensors.is_empty() && empty.metadata.is_empty());
    }
    let json = tensor("F32", "[1]", "[0,4]").replace("}}", ",\"x\":[null,{\"dtype\":1}]}}");
    let header = parse_header(json.as_bytes(), 8 + json.len() as u64 + 4).unwrap();
    assert_eq!((header.tensors.len(), header.tensors.get(0).dtype), (1, Dtype::F32));
}

#[test]
fn attacks_are_refused() {
    let two = |first: &str, second: &str| {
        let tensor =
            |offsets| format!("{{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":{offsets}}}");
        format!("{{\"a\":{},\"b\":{}}}", tensor(first), tensor(second))
    };
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let cases = [
        (String::from(" {}"), 0, "does not start with '{'"),
        (String::from("[]"), 0, "does not start with '{'"),
        (String::from("{"), 0, "invalid header"),
        (String::from("{} {}"), 0, "invalid header"),
        (String::from("{\"a\":1}"), 0, "invalid header"),
        (deep, 0, "invalid header"),
        (tensor("F32", "[1]", "[0,4]").replace("}}", ",\"shape\":[1]}}"), 4, "duplicate field"),
        (tensor("F32", "[1]", "[0,4]").replace("\"shape\":[1],", ""), 4, "missing field"),
        (tensor("F31", "[1]", "[0,4]"), 4, "unknown dtype"),
        (tensor("F32", "[-1]", "[0,4]"), 4, "invalid header"),
        (tensor("F32", "[1.0]", "[0,4]"), 4, "invalid header"),
        (tensor("F32", "[18446744073709551616]", "[0,4]"), 4, "invalid header"),
        (tensor("F32", "[4611686018427387905,4]", "[0,4]"), 4, "no valid size"),
        (tensor("F32", "[0,18446744073709551615,2]", "[0,0]"), 0, "no valid size"),
        (tensor("F4", "[1]", "[0,1]"), 1, "no valid size"),
        (tensor("F32", "[1]", "[0,5]"), 5, "needs 4 bytes"),
        (tensor("F32", "[1]", "[4,0]"), 4, "invalid data_offsets"),
        (tensor("U8", "[1]", "[18446744073709551614,18446744073709551615]"), 1, "invalid data_off"),
        (tensor("F32", "[1]", "[4,8]"), 8, "gap"),
        (two("[0,2]", "[1,3]"), 3, "overlap"),
        (two("[0,2]", "[3,5]"), 5, "gap"),
        (tensor("F32", "[1]", "[0,4]"), 3, "truncated"),
        (tensor("F32", "[1]", "[0,4]"), 5, "describes only"),
        (two("[0,2]", "[2,4]").replace("\"b\"", "\"a\""), 4, "duplicate key"),
        (two("[0,2]", "[2,4]").replace("\"b\"", "\"\\u0061\""), 4, "duplicate key"),
        (String::from("{\"__metadata__\":{},\"__metadata__\":{}}"), 0, "duplicate key"),
        (String::from("{\"__metadata__\":{\"x\":\"1\",\"x\":\"2\"}}"), 0, "duplicate metadata"),
        (String::from("{\"__metadata__\":{\"x\":1}}"), 0, "invalid header"),
        (String::from("{\"__metadata__\":{\"x\":{}}}"), 0, "invalid header"),
    ];
    for (json, data, expected) in cases {
        let message = refusal(&json, data);
        let shown: String = json.chars().take(80).collect();
        assert!(message.contains(expected), "{shown}: {message}");
        assert!(!message.contains('\n'), "{message}");
    }
    let not_utf8 = parse_header(b"{\"\xff\":1}", 16);
    assert!(not_utf8.unwrap_err().to_string().contains("UTF-8"));
}

#[test]
fn files_are_refused_by_their_first_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    let cases: [(&[u8], &str); 5] = [
        (b"", "has 0 bytes"),
        (b"1234567", "has 7 bytes"),
        (&[0xff; 16], "is over 100000000"),
        (&[9, 0, 0, 0, 0, 0, 0, 0, b'{', b'}'], "truncated: it has 10 bytes"),
        (&[0, 0, 0, 0, 0, 0, 0, 0], "does not start"),
    ];
    for (bytes, expected) in cases {
        std::fs::write(&path, bytes).unwrap();
        let message = read_header(&path).unwrap_err().to_string();
        assert!(message.contains(expected) && message.contains("x.safetensors"), "{message}");
    }
    assert!(matches!(read_header(folder.path()), Err(Error::Io { .. })));
    assert!(matches!(read_header(&folder.path().join("none")), Err(Error::Io { .. })));
}

#[test]
fn a_caller_can_tell_one_fault_from_another() {
    let fault =
        |json: &str, data: u64| match parse_header(json.as_bytes(), 8 + json.len() as u64 + data) {
            Err(Error::Header { path: None, source }) => source,
            other => panic!("expected a header error, got {other:?}"),
        };
    let sound = tensor("F32", "[1]", "[0,4]");
    let size = 8 + sound.len() as u64;
    let part = "header asks for";
    let (needed, cut) = (size + 4, size + 3);
    assert_eq!(fault("[]", 0), HeaderError::NoObject);
    assert_eq!(fault(&sound, 3), HeaderError::Truncated { size: cut, part, needed });
    assert_eq!(fault(&sound, 5), HeaderError::Surplus { size: size + 5, described: needed });
    let name = String::from("a");
    let unknown = TensorFault::Dtype { dtype: String::from("F31") };
    assert_eq!(
        fault(&tensor("F31", "[1]", "[0,4]"), 4),
        HeaderError::Tensor { name: name.clone(), fault: unknown }
    );
    assert_eq!(fault(&tensor("F32", "[1]", "[4,8]"), 8), HeaderError::Gap { name });
}

fn dtypes() -> impl Strategy<Value = Dtype> {
    let names = ["BOOL", "U8", "F16", "BF16", "F32", "F64", "I64", "F8_E4M3", "C64"];
    proptest::sample::select(names.map(|name| Dtype::parse(name).unwrap()).to_vec())
}

fn layouts() -> impl Strategy<Value = BTreeMap<String, (Dtype, Vec<u64>)>> {
    let shape = proptest::collection::vec(0..5_u64, 0..4);
    proptest::collection::btree_map(".{0,12}", (dtypes(), shape), 0..8)
}

proptest! {
    #[test]
    fn encoded_headers_are_read_back(
        tensors in layouts(),
        metadata in proptest::collection::btree_map(".{0,8}", ".{0,20}", 0..4),
    ) {
        let rows: Vec<_> = tensors
            .into_iter()
            .filter(|(name, _)| name != "__metadata__")
            .map(|(name, (dtype, shape))| (name, dtype, shape))
            .collect();
        let layout = encode_header(&rows, &metadata).unwrap();
        prop_assert_eq!(layout.header.len() % 8, 0);
        let header = parse_header(&layout.header[8..], layout.file_size).unwrap();
        prop_assert_eq!(&header.metadata, &metadata);
        prop_assert_eq!(header.tensors.len(), rows.len());
        for ((name, dtype, shape), begin) in rows.iter().zip(&layout.begins) {
            let found = header.tensors.get(header.tensors.find(name).unwrap());
            prop_assert_eq!((found.dtype, found.shape, &found.begin), (*dtype, shape.as_slice(), begin));
        }
    }

    #[test]
    fn no_bytes_panic(json in proptest::collection::vec(any::<u8>(), 0..200), size: u64) {
        let _ = parse_header(&json, size);
    }

    #[test]
    fn no_damage_panics(
        tensors in layouts(), place: prop::sample::Index, byte: u8, size in 0..4096_u64,
    ) {
        let rows: Vec<_> = tensors.into_iter().map(|(name, (d, s))| (name, d, s)).collect();
        if let Ok(layout) = encode_header(&rows, &BTreeMap::new()) {
            let mut json = layout.header[8..].to_vec();
            let place = place.index(json.len());
            json[place] = byte;
            let _ = parse_header(&json, layout.file_size);
            let _ = parse_header(&json, size);
        }
    }
}
