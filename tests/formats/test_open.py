from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from bmerge.errors import FormatError
from bmerge.formats import open_checkpoint
from bmerge.testing.checkpoints import read_checkpoint, tiny_sd1, write_checkpoint


@pytest.fixture
def model(tmp_path):
    arrays = {
        "b.weight": np.arange(6.0).reshape(2, 3),
        "a.bias": np.float64(4),
        "ids": np.arange(3),
    }
    return write_checkpoint(
        tmp_path / "m.safetensors", arrays, dtype={"a.bias": "F16"}, metadata={"x": "y"}
    )


def bytes_of(info):
    with info.file.open("rb") as file:
        file.seek(info.offset)
        return file.read(info.nbytes)


def test_open_safetensors_says_where_every_tensor_lies(model):
    checkpoint = open_checkpoint(model)
    assert list(checkpoint.tensors) == ["b.weight", "a.bias", "ids"]
    assert {k: (i.dtype, i.shape, i.numel) for k, i in checkpoint.tensors.items()} == {
        "b.weight": ("F32", (2, 3), 6),
        "a.bias": ("F16", (), 1),
        "ids": ("I64", (3,), 3),
    }
    assert checkpoint.metadata == {"x": "y"}
    assert bytes_of(checkpoint.tensors["a.bias"]) == np.float16(4).tobytes()
    assert checkpoint.nbytes == 24 + 2 + 24


def test_open_reads_what_the_safetensors_package_writes(tmp_path):
    from safetensors.numpy import save_file

    arrays = {f"t{i}": np.full((i, 2), i, dtype="f4") for i in range(4)}
    save_file(arrays, tmp_path / "x.safetensors", metadata={"format": "np"})
    checkpoint = open_checkpoint(str(tmp_path / "x.safetensors"))
    for key, info in checkpoint.tensors.items():
        assert bytes_of(info) == arrays[key].tobytes()


def test_written_test_checkpoints_are_read_by_the_safetensors_package(tmp_path):
    from safetensors.numpy import load_file

    path = tiny_sd1(tmp_path / "a.safetensors", 1)
    ours, theirs = read_checkpoint(path), load_file(path)
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[key], theirs[key]) for key in ours)


def test_open_folder_takes_its_only_checkpoint(model):
    (model.parent / "config.json").write_text("{}")
    checkpoint = open_checkpoint(model.parent)
    assert checkpoint.path == model.parent
    assert checkpoint.files == (model,)


def shard(folder, weight_map=None):
    write_checkpoint(folder / "m-1.safetensors", {"a": [1.0], "b": [2.0]})
    write_checkpoint(folder / "m-2.safetensors", {"c": [3.0]})
    index = folder / "m.safetensors.index.json"
    places = {"c": "m-2.safetensors", "a": "m-1.safetensors", "b": "m-1.safetensors"}
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map or places}))
    return index


@pytest.mark.parametrize("as_folder", [False, True], ids=["index", "folder"])
def test_open_shards_as_one_checkpoint(tmp_path, as_folder):
    index = shard(tmp_path)
    checkpoint = open_checkpoint(tmp_path if as_folder else index)
    assert list(checkpoint.tensors) == ["c", "a", "b"]
    assert bytes_of(checkpoint.tensors["b"]) == np.float32(2).tobytes()
    assert [file.name for file in checkpoint.files] == ["m-2.safetensors", "m-1.safetensors"]


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        ({"a": "m-2.safetensors"}, "tensor 'a' is not in m-2.safetensors"),
        ({"a": "gone.safetensors"}, "shard gone.safetensors is missing"),
        ({"a": "folder.safetensors"}, "shard folder.safetensors cannot be read: it is a folder"),
        ({"a": "../m-1.safetensors"}, "not a plain file name"),
        ({"a": "/etc/passwd"}, "not a plain file name"),
        ({"a": "m.safetensors.index.json"}, "would be an index of its own"),
        ({"a": 3}, "must map keys to file names"),
        ([], "no 'weight_map'"),
    ],
    ids=["wrong shard", "missing shard", "folder", "up", "absolute", "itself", "number", "list"],
)
def test_broken_index_is_refused(tmp_path, weight_map, message):
    index = shard(tmp_path)
    (tmp_path / "folder.safetensors").mkdir()
    index.write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(FormatError, match=message) as caught:
        open_checkpoint(index)
    assert caught.value.path == index


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\xff"], ids=["0", "{", "deep", "ff"])
def test_index_that_is_no_json_is_refused(tmp_path, text):
    index = tmp_path / "m.safetensors.index.json"
    index.write_bytes(text.encode("latin1"))
    with pytest.raises(FormatError, match="not a JSON index"):
        open_checkpoint(index)


def test_missing_file_hints_at_what_is_there(model):
    with pytest.raises(FormatError, match="no such file") as caught:
        open_checkpoint(model.with_name("x.safetensors"))
    assert caught.value.hint == f"{model.parent} has m.safetensors"


def test_link_to_nothing_says_where_it_leads(model):
    link = model.with_name("link.safetensors")
    link.symlink_to("gone.safetensors")
    with pytest.raises(FormatError, match="is a link to gone.safetensors, which leads nowhere"):
        open_checkpoint(link)


def test_folder_without_checkpoint_is_refused(tmp_path):
    with pytest.raises(FormatError, match="no checkpoint in folder"):
        open_checkpoint(tmp_path)


def test_folder_with_two_checkpoints_is_refused(model):
    write_checkpoint(model.with_name("n.safetensors"), {"a": [1.0]})
    with pytest.raises(FormatError, match=r"holds 2 checkpoints \(m.safetensors, n.safetensors"):
        open_checkpoint(model.parent)


def test_truncated_file_is_refused_with_both_sizes(model):
    size = model.stat().st_size
    os.truncate(model, size - 10)
    with pytest.raises(FormatError) as caught:
        open_checkpoint(model)
    message = str(caught.value)
    assert str(model) in message
    assert str(size - 10) in message
    assert str(size) in message


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b"", None),
        (b"hello", None),
        (b"\xff" * 64, None),
        ((1 << 62).to_bytes(8, "little") + b"{}", None),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n" + b" " * 80,
            "git lfs pull",
        ),
        (b"<!DOCTYPE html><html><body>log in</body></html>" + b" " * 80, "web page"),
        (b"PK\x03\x04" + b"\0" * 100, "pickled"),
    ],
    ids=["empty", "short", "ff", "huge header", "lfs pointer", "web page", "zip"],
)
def test_what_is_not_safetensors_is_refused(tmp_path, content, hint):
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(FormatError) as caught:
        open_checkpoint(path)
    assert caught.value.path == path
    assert str(path) in str(caught.value)
    assert hint is None or hint in caught.value.hint


@pytest.mark.parametrize(
    "header",
    [
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}},
        {"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [1 << 62, 8], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F7", "shape": [1], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 1 << 60]}},
    ],
    ids=["size", "gap", "negative", "overflow", "dtype", "beyond"],
)
def test_hostile_header_is_refused(tmp_path, header):
    text = json.dumps(header).encode()
    path = tmp_path / "m.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"\0" * 4)
    with pytest.raises(FormatError) as caught:
        open_checkpoint(path)
    assert str(path) in str(caught.value)


def test_unreadable_file_is_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    path.mkdir()
    (path / "inner.safetensors").mkdir()
    with pytest.raises(FormatError):
        open_checkpoint(path)


@pytest.mark.parametrize("name", ["m-00001-of-00002", "m-00001-of-00002.12-ab.bmerge-tmp"])
def test_one_shard_alone_in_a_folder_is_no_model(tmp_path, name):
    write_checkpoint(tmp_path / f"{name}.safetensors", {"a": np.zeros(2)})
    with pytest.raises(FormatError, match="one of 2 shards, and no index"):
        open_checkpoint(tmp_path)
    (tmp_path / f"{name}.safetensors").rename(tmp_path / "m-00001-of-00001.safetensors")
    assert list(open_checkpoint(tmp_path).tensors) == ["a"]


@pytest.mark.parametrize("suffix", ["safetensors", "ckpt", "safetensors.index.json", "pt"])
def test_what_is_no_file_is_not_waited_for(tmp_path, suffix):
    path = tmp_path / f"m.{suffix}"
    os.mkfifo(path)
    with pytest.raises(FormatError, match="cannot be read as a checkpoint: it is a pipe or a dev"):
        open_checkpoint(path)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(FormatError, match="it is a pipe or a device, not a file"):
        open_checkpoint(path)
    path.unlink()
    path.touch()
    with pytest.raises(FormatError):
        open_checkpoint(path)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs Linux")
def test_file_whose_first_bytes_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "a.safetensors").symlink_to("/proc/self/mem")
    with pytest.raises(FormatError, match=r"a.safetensors"):
        open_checkpoint(tmp_path / "a.safetensors")


def test_a_download_of_aria2_is_no_model_before_it_has_ended(model):
    longest = model.rename(model.with_name(f"{'m' * 240}.safetensors"))
    assert open_checkpoint(longest).tensors
    model = longest.rename(model)
    control = model.with_name(f"{model.name}.aria2")
    control.touch()
    with pytest.raises(FormatError, match="aria2 has not finished its download") as caught:
        open_checkpoint(model)
    assert str(control) in caught.value.hint
    control.unlink()
    assert open_checkpoint(model).tensors
