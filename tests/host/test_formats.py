"""A format of a plugin: files of its suffix are read, merged with others, and written."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bmerge import load_registry, open_checkpoint
from bmerge.errors import FormatError
from bmerge.testing import read_checkpoint, write_checkpoint

PLUGIN = '''
    """Files of one line of JSON that says where each tensor lies, and the tensors after it."""

    import json
    import math

    import bmerge
    from bmerge import hookimpl

    SIZES = {"F32": 4, "F16": 2, "BF16": 2, "I64": 8}


    def open_toy(path, named):
        with path.open("rb") as file:
            try:
                rows = json.loads(file.readline())
            except ValueError as error:
                raise bmerge.FormatError(f"{path}: no line of JSON", path=path) from error
        tensors = {}
        for key, (dtype, shape, offset) in rows.items():
            nbytes = math.prod(shape) * SIZES[dtype]
            tensors[key] = bmerge.TensorInfo(key, dtype, tuple(shape), path, offset, nbytes)
        return bmerge.Checkpoint(named, tensors)


    class ToyLayout:
        def __init__(self, path, tensors, metadata):
            self.offsets, at = [], 1024
            for _, dtype, shape in tensors:
                self.offsets.append(at)
                at += math.prod(shape) * SIZES[dtype]
            self.size = at
            rows = zip(tensors, self.offsets, strict=True)
            table = {key: (dtype, shape, offset) for (key, dtype, shape), offset in rows}
            self.header = json.dumps(table).encode().ljust(1023) + b"\\n"

        def finish(self, file):
            file.write_at(0, self.header)


    @hookimpl
    def bmerge_formats():
        return [bmerge.Format("toy", frozenset({".toy"}), open_toy, ToyLayout)]
'''


@pytest.fixture
def toy(write_plugin):
    return write_plugin("toy.py", PLUGIN)


def test_files_of_a_plugin_are_read_merged_and_written(bmerge, tmp_path, toy):
    arrays = {"a.weight": np.arange(6.0).reshape(2, 3), "a.bias": np.ones(2)}
    first = write_checkpoint(tmp_path / "a.safetensors", arrays)
    table = {"a.weight": ("F32", (2, 3), 200), "a.bias": ("F32", (2,), 224)}
    values = np.full(6, 2, "f4").tobytes() + np.full(2, 3, "f4").tobytes()
    line = json.dumps(table).encode().ljust(199) + b"\n"
    (tmp_path / "b.toy").write_bytes(line + values)
    out = tmp_path / "o.toy"
    options = ("--alpha", "0.5", "--plugin", toy)
    called = bmerge("merge", "weighted_sum", first, tmp_path / "b.toy", *options, "-o", out)
    assert called.status == 0, called.err
    data = out.read_bytes()
    rows = json.loads(data.partition(b"\n")[0])
    found = {
        key: np.frombuffer(data, "<f4", int(np.prod(shape)), offset).reshape(shape)
        for key, (_, shape, offset) in rows.items()
    }
    assert np.allclose(found["a.weight"], (arrays["a.weight"] + 2) / 2)
    assert np.allclose(found["a.bias"], 2)
    back = bmerge("convert", out, "--plugin", toy, "-o", tmp_path / "back.safetensors")
    assert back.status == 0, back.err
    assert np.array_equal(read_checkpoint(tmp_path / "back.safetensors")["a.bias"], found["a.bias"])


def test_errors_of_a_plugins_format_are_told(bmerge, tmp_path, toy):
    (tmp_path / "b.toy").write_bytes(b"{\n")
    called = bmerge("inspect", tmp_path / "b.toy", "--plugin", toy)
    assert called.status == 1
    assert "b.toy: no line of JSON" in called.err


def test_without_the_plugin_its_suffix_is_unknown(tmp_path, toy):
    (tmp_path / "b.toy").write_bytes(b"{}\n")
    registry = load_registry([str(toy)])
    assert list(registry.formats) == ["toy"]
    assert open_checkpoint(tmp_path / "b.toy").tensors == {}
    load_registry()
    with pytest.raises(FormatError):
        open_checkpoint(tmp_path / "b.toy")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("return bmerge.Checkpoint(named, tensors)", "return tensors"),
         "error: the format 'toy' opens {}/b.toy as a dict\n"),
        (("open_toy, ToyLayout)", "open_toy, lambda *_: 3)"),
         "error: the format 'toy' lays {}/o.toy out as a int\n"),
    ],
    ids=["opened", "laid out"],
)  # fmt: skip
def test_a_format_that_gives_something_else_is_to_blame(
    bmerge, tmp_path, write_plugin, change, message
):
    assert change[0] in PLUGIN
    plugin = write_plugin("toy.py", PLUGIN.replace(*change))
    line = json.dumps({"a": ("F32", (2,), 200)}).encode().ljust(199) + b"\n"
    (tmp_path / "b.toy").write_bytes(line + bytes(8))
    out = tmp_path / "o.toy"
    called = bmerge("convert", tmp_path / "b.toy", "-o", out, "--plugin", plugin)
    assert called.status == 1
    assert message.format(tmp_path) in called.err
    assert not out.exists()
