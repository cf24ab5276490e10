from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch

from bmerge.errors import FormatError
from bmerge.formats import open_checkpoint
from bmerge.testing.checkpoints import decode


def content(checkpoint):
    arrays = {}
    for key, info in checkpoint.tensors.items():
        with info.file.open("rb") as file:
            file.seek(info.offset)
            arrays[key] = decode(file.read(info.nbytes), info.dtype, info.shape)
    return arrays


def tensors():
    generator = torch.Generator().manual_seed(1)
    return {
        "half": torch.randn(3, 5, generator=generator).half(),
        "brain": torch.randn(4, generator=generator).bfloat16(),
        "single": torch.randn(2, 3, 4, generator=generator),
        "ids": torch.arange(7),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }


def assert_equal(checkpoint, expected):
    arrays = content(checkpoint)
    assert list(arrays) == list(expected)
    for key, tensor in expected.items():
        wide = tensor.detach().float() if tensor.dtype == torch.bfloat16 else tensor.detach()
        assert np.array_equal(arrays[key], wide.numpy()), key


@pytest.mark.parametrize("suffix", ["ckpt", "pt"])
@pytest.mark.parametrize("nested", [False, True], ids=["bare", "state_dict"])
def test_open_reads_tensors_where_they_lie(tmp_path, suffix, nested):
    expected = tensors()
    path = tmp_path / f"m.{suffix}"
    torch.save({"state_dict": expected, "step": 3} if nested else expected, path)
    checkpoint = open_checkpoint(path)
    assert checkpoint.files == (path,)
    assert_equal(checkpoint, expected)


def test_open_reads_slices_of_one_storage(tmp_path):
    whole = torch.arange(20.0)
    expected = {"first": whole[:8].reshape(2, 4), "second": whole[8:]}
    torch.save(expected, tmp_path / "m.pt")
    assert_equal(open_checkpoint(tmp_path / "m.pt"), expected)


def test_open_reads_fp8(tmp_path):
    tensor = torch.randn(16).to(torch.float8_e4m3fn)
    torch.save({"w": tensor}, tmp_path / "m.pt")
    info = open_checkpoint(tmp_path / "m.pt").tensors["w"]
    assert (info.dtype, info.shape, info.nbytes) == ("F8_E4M3", (16,), 16)


class Callback:
    """What a trainer leaves in its checkpoints."""

    def __init__(self):
        self.best = {1: 2}


def test_open_ignores_objects_of_trainers(tmp_path):
    expected = {"w": torch.ones(2)}
    torch.save({"state_dict": expected, "callbacks": {Callback: Callback()}}, tmp_path / "m.ckpt")
    assert_equal(open_checkpoint(tmp_path / "m.ckpt"), expected)


def test_open_imports_no_torch(tmp_path):
    torch.save({"w": torch.ones(2)}, tmp_path / "m.ckpt")
    code = (
        "import sys; from bmerge.formats import open_checkpoint;"
        f"assert len(open_checkpoint({str(tmp_path / 'm.ckpt')!r}).tensors) == 1;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


class Attack:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (self.target,)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_nothing_in_a_pickle_is_run(tmp_path, legacy):
    victim = tmp_path / "victim"
    path = tmp_path / "m.ckpt"
    attack = {"w": torch.ones(2), "x": Attack(str(victim))}
    torch.save(attack, path, _use_new_zipfile_serialization=not legacy)
    if legacy:
        with pytest.raises(FormatError, match="torch cannot load it"):
            open_checkpoint(path)
    else:
        assert list(open_checkpoint(path).tensors) == ["w"]
    assert not victim.exists()


@pytest.mark.parametrize("reason", ["legacy", "transposed"])
def test_what_cannot_be_streamed_is_unpacked_and_said(tmp_path, caplog, reason):
    expected = {"w": torch.arange(6.0).reshape(2, 3), "h": torch.ones(3).half()}
    path = tmp_path / "m.ckpt"
    if reason == "legacy":
        torch.save(expected, path, _use_new_zipfile_serialization=False)
    else:
        expected["w"] = expected["w"].T
        torch.save(expected, path)
    with caplog.at_level(logging.WARNING):
        checkpoint = open_checkpoint(path)
    assert "unpacking it into a temporary file" in caplog.text
    assert checkpoint.path == path
    assert checkpoint.files != (path,)
    assert_equal(checkpoint, expected)


def write_zip(path, data, members=None, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", data)
        for name, body in (members or {}).items():
            archive.writestr(f"archive/{name}", body)


@pytest.mark.parametrize(
    "data",
    [b"", b"garbage", pickle.dumps([1, 2]), pickle.dumps(5), b"\x80\x02\x96" + b"\xff" * 8],
    ids=["empty", "garbage", "list", "number", "huge bytearray"],
)
def test_pickle_without_state_dict_is_refused(tmp_path, data):
    write_zip(tmp_path / "m.ckpt", data)
    with pytest.raises(FormatError):
        open_checkpoint(tmp_path / "m.ckpt")


def test_tensor_beyond_its_storage_is_refused(tmp_path):
    path = tmp_path / "m.ckpt"
    torch.save({"w": torch.ones(100)}, path)
    with zipfile.ZipFile(path) as archive:
        folder = archive.namelist()[0].partition("/")[0]
        data = archive.read(f"{folder}/data.pkl")
    write_zip(path, data, {"data/0": b"\0" * 396})
    with pytest.raises(FormatError, match="'w' reaches beyond its storage"):
        open_checkpoint(path)


def test_truncated_ckpt_is_refused(tmp_path):
    path = tmp_path / "m.ckpt"
    torch.save({"w": torch.ones(1000)}, path)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(FormatError, match="perhaps truncated"):
        open_checkpoint(path)


def test_ckpt_without_tensors_is_refused(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "m.ckpt")
    with pytest.raises(FormatError, match="holds no tensors"):
        open_checkpoint(tmp_path / "m.ckpt")
