"""Files of torch that bmerge writes: torch, zip tools and bmerge itself read them to the bit."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmerge import _native
from bmerge.dtypes import BITS, SIZES, TAGS
from bmerge.errors import FormatError
from bmerge.formats import open_checkpoint
from bmerge.formats.registry import lay_out
from bmerge.formats.torch_file import TorchLayout
from bmerge.formats.torch_pickle import METADATA

torch = pytest.importorskip("torch")
NAMES = {tag: name for name, tag in TAGS.items()}
WEB_UI = re.compile(r"^([^/]+)/((data/\d+)|version|(data\.pkl))$")
"""Members that the AUTOMATIC1111 web UI allows in a checkpoint."""


def write(path, rows, metadata=None):
    """Write tensors whose bytes count up; return these."""
    layout = lay_out(path, rows, metadata or {})
    file = _native.OutputFile(path, layout.size)
    contents = []
    for (_, dtype, shape), offset in zip(rows, layout.offsets, strict=True):
        size = SIZES[dtype]
        for extent in shape:
            size *= extent
        contents.append(bytes(i % 2 if dtype == "BOOL" else i % 251 for i in range(size)))
        file.write_at(offset, contents[-1])
    layout.finish(file)
    file.commit(sync=False)
    return contents


ROWS = [
    *((f"of.{tag}", tag, (3, 2)) for tag in SIZES),
    ("scalar", "F32", ()),
    ("empty", "BF16", (0, 4)),
    ("köln", "F16", (1, 5, 1)),
]


def test_torch_loads_every_dtype_without_running_code(tmp_path):
    contents = write(tmp_path / "a.ckpt", ROWS, {"format": "pt"})
    loaded = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert list(loaded) == [key for key, _, _ in ROWS]
    for (key, dtype, shape), content in zip(ROWS, contents, strict=True):
        tensor = loaded[key]
        assert tensor.dtype == getattr(torch, NAMES[dtype]), key
        assert tuple(tensor.shape) == shape
        assert tensor.is_contiguous()
        assert bytes(tensor.reshape(-1).view(torch.uint8).numpy()) == content


def test_bmerge_reads_back_tensors_and_metadata(tmp_path):
    metadata = {"format": "pt", "ä": 'a "quoted" word', "empty": ""}
    contents = write(tmp_path / "a.pt", ROWS, metadata)
    opened = open_checkpoint(tmp_path / "a.pt")
    assert opened.metadata == metadata
    assert [(i.key, i.dtype, i.shape) for i in opened.tensors.values()] == ROWS
    data = (tmp_path / "a.pt").read_bytes()
    for info, content in zip(opened.tensors.values(), contents, strict=True):
        assert data[info.offset : info.offset + info.nbytes] == content
        assert info.offset % 64 == 0


def test_archive_is_sound_and_has_what_the_web_ui_allows(tmp_path):
    write(tmp_path / "a.ckpt", ROWS)
    with zipfile.ZipFile(tmp_path / "a.ckpt") as archive:
        assert archive.testzip() is None
        assert all(WEB_UI.match(name) for name in archive.namelist())
        assert {member.compress_type for member in archive.infolist()} == {zipfile.ZIP_STORED}


def test_checksums_are_those_of_large_tensors_too(tmp_path):
    write(tmp_path / "a.ckpt", [("large", "F32", (300, 1000)), ("larger", "U8", (2_500_001,))])
    with zipfile.ZipFile(tmp_path / "a.ckpt") as archive:
        assert archive.testzip() is None


def test_keys_are_the_tensors_alone(tmp_path):
    write(tmp_path / "a.bin", ROWS[:2], {"a": "b"})
    loaded = torch.load(tmp_path / "a.bin", weights_only=True)
    assert list(loaded) == ["of.BOOL", "of.U8"]
    assert getattr(loaded, METADATA) == {"a": "b"}


@pytest.mark.parametrize("tag", sorted(BITS.keys() - SIZES.keys()))
def test_a_dtype_that_torch_has_not_is_refused(tmp_path, tag):
    with pytest.raises(FormatError, match=f"torch has no {tag}, which 'a' is of") as caught:
        lay_out(tmp_path / "m.ckpt", [("a", tag, (8,))], {})
    assert caught.value.key == "a"


@pytest.mark.parametrize("count", [1, pytest.param(65_534, marks=pytest.mark.slow)])
def test_archive_of_many_members(tmp_path, count):
    write(tmp_path / "a.ckpt", [(f"k{i}", "U8", (1,)) for i in range(count)])
    loaded = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert len(loaded) == count
    with zipfile.ZipFile(tmp_path / "a.ckpt") as archive:
        assert len(archive.namelist()) == count + 2


def test_members_and_places_beyond_4_gb(tmp_path):
    """Of a sparse file: a tensor of more than 4 GiB, and one whose header lies beyond that."""
    rows = [("large", "U8", (1 << 32,)), ("after", "U8", (3,))]
    layout = TorchLayout(Path("m.ckpt"), rows, {})
    assert layout.offsets[1] > 1 << 32
    path = tmp_path / "a.ckpt"
    headers = [member.local(7) for member in layout._members]
    with path.open("wb") as file:
        for member, header in zip(layout._members, headers, strict=True):
            file.seek(member.header)
            file.write(header)
        file.seek(layout.offsets[1])
        file.write(b"abc")
        file.seek(layout._directory)
        file.write(layout._tail([7] * 4))
    assert path.stat().st_size == layout.size
    with zipfile.ZipFile(path) as archive:
        sizes = {member.filename: member.file_size for member in archive.infolist()}
        assert sizes["archive/data/0"] == 1 << 32
        assert archive.getinfo("archive/data/1").header_offset > 1 << 32
    assert headers[1][4:6] == b"\x2d\x00"
    assert headers[1][18:26] == b"\xff" * 8


KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@settings(max_examples=40)
@given(
    rows=st.lists(
        st.tuples(
            KEYS,
            st.sampled_from(sorted(SIZES)),
            st.lists(st.integers(0, 5), max_size=4).map(tuple),
        ),
        max_size=6,
        unique_by=lambda row: row[0],
    ),
    metadata=st.dictionaries(KEYS, KEYS, max_size=4),
)
def test_any_layout_is_read_back(tmp_path_factory, rows, metadata):
    path = tmp_path_factory.mktemp("any") / "a.ckpt"
    write(path, rows, metadata)
    loaded = torch.load(path, weights_only=True)
    assert [(key, tuple(tensor.shape)) for key, tensor in loaded.items()] == [
        (key, shape) for key, _, shape in rows
    ]
    assert getattr(loaded, METADATA) == metadata
