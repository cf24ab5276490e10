"""Our reader of headers against the reference reader: what one opens, the other opens equally."""

from __future__ import annotations

import json
import struct
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError, deserialize, safe_open

from bmerge.errors import FormatError
from bmerge.formats import open_checkpoint

DATA = bytes(range(8))


def write(path, header, data):
    text = header.encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def ours(path):
    """Return key → (dtype, shape, bytes) and the metadata, or None if the file is refused."""
    try:
        found = open_checkpoint(path)
    except FormatError:
        return None
    data = path.read_bytes()
    return {
        key: (info.dtype, list(info.shape), data[info.offset : info.offset + info.nbytes])
        for key, info in found.tensors.items()
    }, dict(found.metadata)


def theirs(path):
    try:
        with safe_open(path, "np") as file:
            metadata = file.metadata() or {}
    except SafetensorError:
        return None
    found = deserialize(path.read_bytes())
    return {key: (v["dtype"], v["shape"], bytes(v["data"])) for key, v in found}, metadata


A = '"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'
ALIKE = {
    "null metadata": f'{{"__metadata__":null,{A}}}',
    "null metadata last": f'{{{A},"__metadata__":null}}',
    "empty metadata": f'{{"__metadata__":{{}},{A}}}',
    "metadata": f'{{"__metadata__":{{"x":"\\u0000 é"}},{A}}}',
    "null in metadata": f'{{"__metadata__":{{"x":null}},{A}}}',
    "number in metadata": f'{{"__metadata__":{{"x":1}},{A}}}',
    "list as metadata": f'{{"__metadata__":[],{A}}}',
    "false as metadata": f'{{"__metadata__":false,{A}}}',
    "metadata twice": f'{{"__metadata__":null,"__metadata__":{{}},{A}}}',
    "further field": f'{{{A[:-1]},"x":{{"y":[1,null]}}}}}}',
    "field twice": f'{{{A[:-1]},"dtype":"F32"}}}}',
    "spaces after": f"{{{A}}} \n\t ",
    "zeros after": f"{{{A}}}\0\0",
    "text after": f"{{{A}}}x",
    "mark before": f"\ufeff{{{A}}}",
    "escaped key": f"{{{A}}}".replace('"a"', '"\\u0061"'),
    "half a character": f"{{{A}}}".replace('"a"', '"\\ud800"'),
    "no name": f"{{{A}}}".replace('"a"', '""'),
    "list": "[]",
    "null": "null",
    "nothing": "",
    "null tensor": f'{{"b":null,{A}}}',
    "tensor as list": '{"a":["F32",[2],[0,8]]}',
    "small dtype": f"{{{A}}}".replace("F32", "f32"),
    "unknown dtype": f"{{{A}}}".replace("F32", "I128"),
    "null shape": f"{{{A}}}".replace("[2]", "null"),
    "fraction": f"{{{A}}}".replace("[2]", "[2.0]"),
    "exponent": f"{{{A}}}".replace("[2]", "[2e0]"),
    "minus zero": f"{{{A}}}".replace("[2]", "[-0]").replace("8", "0"),
    "leading zero": f"{{{A}}}".replace("[2]", "[02]"),
    "three offsets": f"{{{A}}}".replace("[0,8]", "[0,8,8]"),
    "one offset": f"{{{A}}}".replace("[0,8]", "[8]"),
    "swapped offsets": f"{{{A}}}".replace("[0,8]", "[8,0]"),
    "too large": f"{{{A}}}".replace("[2]", "[18446744073709551615]"),
    "empty inside": f'{{"b":{{"dtype":"F32","shape":[0],"data_offsets":[4,4]}},{A}}}',
    "empty at the end": f'{{"b":{{"dtype":"F32","shape":[0],"data_offsets":[8,8]}},{A}}}',
    "a gap": f"{{{A}}}".replace("[2]", "[1]").replace("[0,8]", "[4,8]"),
    "too short": f"{{{A}}}".replace("[2]", "[3]").replace("[0,8]", "[0,12]"),
    "too long": f"{{{A}}}".replace("[2]", "[1]").replace("[0,8]", "[0,4]"),
}


@pytest.mark.parametrize("header", ALIKE.values(), ids=ALIKE)
def test_headers_are_read_as_the_reference_reader_does(tmp_path, header):
    path = write(tmp_path / "a.safetensors", header, DATA)
    assert ours(path) == theirs(path)


STRICTER = {
    "key twice": (f"{{{A},{A}}}", "duplicate key"),
    "metadata key twice": (f'{{"__metadata__":{{"x":"1","x":"2"}},{A}}}', "duplicate metadata key"),
    "space before": (f" {{{A}}}", "does not start with '{'"),
}


@pytest.mark.parametrize(("header", "message"), STRICTER.values(), ids=STRICTER)
def test_what_the_format_forbids_is_refused_though_the_reference_reader_takes_it(
    tmp_path, header, message
):
    path = write(tmp_path / "a.safetensors", header, DATA)
    assert theirs(path) is not None
    with pytest.raises(FormatError, match=message):
        open_checkpoint(path)


SCALARS = st.none() | st.booleans() | st.integers(-1, 9) | st.floats(0, 2) | st.text(max_size=2)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=4,
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F32", "F16", "U8", "I64", "BOOL", "F31"]) | SCALARS,
        "shape": st.lists(st.integers(0, 8), max_size=2) | JSON,
        "data_offsets": st.lists(st.integers(0, 8), min_size=2, max_size=2) | JSON,
        "more": JSON,
    },
)
HALVES = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F16"]),
        "shape": st.sampled_from([[1], [2], [1, 2], []]),
        "data_offsets": st.sampled_from([[0, 4], [4, 8], [0, 8]]),
    },
    optional={"more": JSON},
)
METADATA = st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=3) | JSON


@given(
    st.dictionaries(st.sampled_from("abc"), HALVES | FIELDS, max_size=3),
    st.just({}) | st.fixed_dictionaries({"__metadata__": METADATA}),
    st.sampled_from([DATA, DATA[:4], b""]),
)
def test_any_header_is_read_as_the_reference_reader_does(tensors, metadata, data):
    with tempfile.TemporaryDirectory() as folder:
        header = json.dumps({**metadata, **tensors})
        path = write(Path(folder) / "a.safetensors", header, data)
        assert ours(path) == theirs(path), header
