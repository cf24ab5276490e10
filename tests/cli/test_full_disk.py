"""A disk that is full is told with the file that cannot be written, and leaves no part of one."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import subprocess
import sys

import numpy as np
import pytest

from bmerge.errors import ExecutorError
from bmerge.formats import open_checkpoint
from bmerge.formats.stored import read_bytes
from bmerge.formats.transposed import transposed
from bmerge.pipeline.output import explained, new_output
from bmerge.testing import tiny_sd1, write_checkpoint


@contextlib.contextmanager
def no_file_above(size):
    """Let no file grow beyond ``size``, as if the disk was full then."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.fixture
def models(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return [tiny_sd1(tmp_path / f"{name}.safetensors", seed=i) for i, name in enumerate("ab")]


@pytest.mark.parametrize("size", [1000, 20_000], ids=["at the end", "on the way"])
def test_what_lora_cannot_write_is_named(bmerge, models, tmp_path, size):
    made = bmerge("lora", "extract", *models, "-o", "x.safetensors", "--rank", "1")
    assert made.status == 0, made.err
    words = ("merge", "x.safetensors", "x.safetensors", "-o", "out.safetensors")
    with no_file_above(size):
        called = bmerge("lora", *words)
    assert (called.status, called.out) == (1, "")
    assert called.err == f"error: cannot write out.safetensors: {os.strerror(errno.EFBIG)}\n"
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["a", "b", "x"]


def test_a_checkpoint_that_cannot_be_unpacked_says_where(bmerge, models, tmp_path):
    torch = pytest.importorskip("torch")
    state = {f"k{i}": torch.ones(100, 100) for i in range(3)}
    torch.save(state, "old.ckpt", _use_new_zipfile_serialization=False)
    with no_file_above(50_000):
        called = bmerge("convert", "old.ckpt", "-o", "out.safetensors")
    assert called.status == 1
    assert "error: cannot write a temporary file in " in called.err
    assert "TMPDIR" in called.err
    assert not (tmp_path / "out.safetensors").exists()


def test_what_could_not_be_transposed_is_transposed_again(tmp_path):
    matrix = np.arange(6_000, dtype="f4").reshape(60, 100)
    file = write_checkpoint(tmp_path / "x.safetensors", {"w": matrix})
    tensor = open_checkpoint(file).tensors["w"]
    with no_file_above(10_000), pytest.raises(ExecutorError, match="cannot write a temporary"):
        transposed(tensor, "t")
    found = read_bytes(transposed(tensor, "t"))
    assert found == matrix.T.tobytes()


@pytest.mark.parametrize("nth", [1, 2])
def test_an_index_that_cannot_be_written_leaves_no_folder(
    bmerge, models, tmp_path, monkeypatch, nth
):
    made = []

    class Failing:
        """A temporary of which nothing can be written, once it is there."""

        def __init__(self, *arguments, **options):
            made.append(arguments)
            self.file, self.fails = new_output(*arguments, **options), len(made) == nth

        def __getattr__(self, name):
            return getattr(self.file, name)

        def write_at(self, offset, data):
            if self.fails:
                raise OSError(errno.EIO, os.strerror(errno.EIO), "index")
            self.file.write_at(offset, data)

    monkeypatch.setattr("bmerge.pipeline.output.new_output", Failing)
    words = ("merge", "weighted_sum", *models, "-o", "shards/", "--shard-size", "200K")
    called = bmerge(*words)
    assert (called.status, called.out) == (1, "")
    assert called.err.splitlines()[-1] == f"error: index: {os.strerror(errno.EIO)}"
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["a", "b"]


def test_what_the_system_refuses_is_told_with_the_file(tmp_path):
    error = OSError(errno.EIO, "Input/output error", ".x.bmerge-tmp", None, "x")
    told = explained(error, tmp_path / "x.safetensors", 10)
    assert str(told) == f"cannot write {tmp_path}/x.safetensors: input/output error"


def test_too_many_open_files_come_with_what_to_do(bmerge, models):
    made = bmerge("convert", models[0], "-o", "shards/", "--shard-size", "60K")
    assert made.status == 0, made.err
    words = ("merge", "weighted_sum", "shards", models[1], "-o", "out.safetensors")
    command = [sys.executable, "-m", "bmerge.cli", *words]
    ended = subprocess.run(
        ["sh", "-c", 'ulimit -n 14; exec "$@"', "sh", *command],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.splitlines()[-1] == "hint: let more files be open at once: ulimit -n 4096"
