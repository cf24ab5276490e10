"""Sharded output: the same tensors as one file, all shards and the index together or nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from bmerge import _native, system
from bmerge.errors import ExecutorError, FormatError
from bmerge.executors import NativeExecutor
from bmerge.executors.torch import TorchExecutor
from bmerge.formats import open_checkpoint
from bmerge.pipeline import merge_to_file
from bmerge.pipeline.shards import cut
from bmerge.plan import OutputTensor
from bmerge.system import HAS_LOCKS
from bmerge.temporaries import temporary_folder
from bmerge.testing.checkpoints import read_checkpoint, tiny_sd1, write_checkpoint
from merges import names_in, plan_of

NATIVE = NativeExecutor()
INDEX = "out.safetensors.index.json"
THREE = [f"out-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]


def three(size):
    """Return a limit that makes three shards of so many bytes."""
    return size * 2 // 5


@pytest.fixture
def plan(models):
    return plan_of(models)


@pytest.fixture
def whole(tmp_path_factory, plan):
    """The same merge in one file."""
    out = tmp_path_factory.mktemp("whole") / "whole.safetensors"
    merge_to_file(plan, out, executor=NATIVE)
    return out


@pytest.mark.parametrize(
    "executor", [NATIVE, NativeExecutor(threads=3), TorchExecutor("cpu")], ids=["1", "3", "torch"]
)
def test_shards_hold_the_bytes_of_the_one_file(tmp_path, plan, whole, executor):
    out = tmp_path / "out.safetensors"
    limit = three(whole.stat().st_size)
    report = merge_to_file(plan, out, executor=executor, shard_size=limit)
    assert names_in(tmp_path) == [*THREE, INDEX]
    assert report.output == tmp_path / INDEX
    assert report.nbytes == sum((tmp_path / name).stat().st_size for name in THREE)
    assert all((tmp_path / name).stat().st_size <= limit for name in THREE)
    expected, opened = open_checkpoint(whole), open_checkpoint(tmp_path / INDEX)
    assert list(opened.tensors) == list(expected.tensors)
    assert opened.metadata == expected.metadata
    for key, info in opened.tensors.items():
        other = expected.tensors[key]
        assert (info.dtype, info.shape) == (other.dtype, other.shape)
        assert bytes_of(info) == bytes_of(other)


def bytes_of(info):
    with info.file.open("rb") as file:
        file.seek(info.offset)
        return file.read(info.nbytes)


def test_folder_of_shards_opens_and_merges_as_one_model(tmp_path, models, plan, whole):
    (tmp_path / "model").mkdir()
    shards = tmp_path / "model" / "model.safetensors"
    merge_to_file(plan, shards, executor=NATIVE, shard_size=three(whole.stat().st_size))
    out, expected = tmp_path / "o.safetensors", tmp_path / "e.safetensors"
    merge_to_file(plan_of([shards.parent, models[0]]), out, executor=NATIVE, metadata=False)
    merge_to_file(plan_of([whole, models[0]]), expected, executor=NATIVE, metadata=False)
    assert out.read_bytes() == expected.read_bytes()


def test_index_is_that_of_hugging_face(tmp_path, plan, whole):
    out = tmp_path / "out.safetensors"
    merge_to_file(plan, out, executor=NATIVE, shard_size=three(whole.stat().st_size))
    index = json.loads((tmp_path / INDEX).read_text())
    assert index["metadata"] == {"total_size": plan.nbytes_written}
    for name in THREE:
        with safe_open(tmp_path / name, "np") as file:
            assert file.metadata()["format"] == "pt"
            assert set(file.keys()) == {k for k, v in index["weight_map"].items() if v == name}


def test_what_fits_one_file_is_one_file(tmp_path, plan, whole):
    out = tmp_path / "out.safetensors"
    report = merge_to_file(plan, out, executor=NATIVE, shard_size=1 << 30)
    assert names_in(tmp_path) == ["out.safetensors"]
    assert report.output == out
    assert out.read_bytes() == whole.read_bytes()


def test_shards_of_no_bytes_are_refused():
    with pytest.raises(ExecutorError, match="shards of 0 bytes hold nothing"):
        cut([OutputTensor("a", "U8", (1,))], Path("o.safetensors"), 0)


def test_no_file_is_larger_than_asked_but_for_one_tensor():
    tensors = [OutputTensor(f"k{i}", "U8", (size,)) for i, size in enumerate([300, 500, 5000, 1])]
    shards = cut(tensors, Path("m.safetensors"), 1000)
    assert [[t.key for t in shard.tensors] for shard in shards] == [["k0"], ["k1"], ["k2"], ["k3"]]
    shards = cut(tensors, Path("m.safetensors"), 1200)
    assert [len(shard.tensors) for shard in shards] == [2, 1, 1]
    for shard in shards:
        layout = [(t.key, t.dtype, t.shape) for t in shard.tensors]
        size = _native.encode_header(layout, {}).size
        assert size <= 1200 or len(layout) == 1


@pytest.mark.parametrize("before", ["two shards", "one file"])
@pytest.mark.parametrize("after", ["three shards", "one file"])
def test_older_output_is_replaced_as_a_whole(tmp_path, plan, whole, before, after):
    out, size = tmp_path / "out.safetensors", whole.stat().st_size
    limits = {"two shards": size * 2 // 3, "three shards": three(size), "one file": 2 * size}
    merge_to_file(plan, out, executor=NATIVE, shard_size=limits[before])
    (tmp_path / "out-00001-of-2.safetensors").write_text("mine")
    report = merge_to_file(plan, out, executor=NATIVE, shard_size=limits[after])
    expected = ["out.safetensors"] if after == "one file" else [*THREE, INDEX]
    assert names_in(tmp_path) == sorted([*expected, "out-00001-of-2.safetensors"])
    assert len(open_checkpoint(report.output).tensors) == 1131


def test_existing_shards_are_kept_unless_they_may_go(tmp_path, plan, whole):
    limit = three(whole.stat().st_size)
    merge_to_file(plan, tmp_path / "out.safetensors", executor=NATIVE, shard_size=limit)
    with pytest.raises(ExecutorError, match="exists already"):
        merge_to_file(
            plan, tmp_path / "out.safetensors", executor=NATIVE, shard_size=limit, overwrite=False
        )


def test_shards_that_are_inputs_are_not_replaced(tmp_path, models, plan, whole):
    out = tmp_path / "out.safetensors"
    merge_to_file(plan, out, executor=NATIVE, shard_size=three(whole.stat().st_size))
    before = {name: (tmp_path / name).read_bytes() for name in names_in(tmp_path)}
    again = plan_of([tmp_path / INDEX, models[0]])
    with pytest.raises(FormatError, match="is one of the inputs"):
        merge_to_file(again, out, executor=NATIVE, shard_size=1 << 30)
    assert {name: (tmp_path / name).read_bytes() for name in names_in(tmp_path)} == before


def test_sets_of_two_processes_never_mix(tmp_path):
    """Each thread has a lock of its own, as a process has."""
    for name, value in (("a", 0.0), ("b", 1.0)):
        arrays = {f"layers.{i}.w": np.full((32, 32), value, "f4") for i in range(6)}
        write_checkpoint(tmp_path / f"{name}.safetensors", arrays)
    out, found, ready = tmp_path / "out.safetensors", [], threading.Barrier(2, timeout=20)

    def merge(alpha):
        plan = plan_of([tmp_path / "a.safetensors", tmp_path / "b.safetensors"], alpha=alpha)
        for _ in range(8):
            ready.wait()
            merge_to_file(plan, out, executor=NATIVE, shard_size=10_000)
            if ready.wait() == 0:
                tensors = open_checkpoint(tmp_path / INDEX).tensors.values()
                found.append({tensor.file.read_bytes()[-1] for tensor in tensors})

    with ThreadPoolExecutor(2) as pool:
        for each in [pool.submit(merge, alpha) for alpha in (0.0, 1.0)]:
            each.result()
    assert [len(ends) for ends in found] == [1] * 8
    assert not [name for name in names_in(tmp_path) if "tmp" in name]


@pytest.mark.skipif(not HAS_LOCKS, reason="folders cannot be locked")
def test_whether_files_exist_is_looked_at_while_no_other_process_can_make_them(
    tmp_path, plan, monkeypatch
):
    free = []

    def check(files, *, overwrite):
        lock = system.lock(tmp_path)
        free.append(lock is not None)
        if lock is not None:
            os.close(lock)

    monkeypatch.setattr("bmerge.pipeline.output.OutputFiles.check", check)
    merge_to_file(plan, tmp_path / "out.safetensors", executor=NATIVE, shard_size=10_000)
    assert free == [True, False]


def test_another_process_writes_into_a_temporary_folder(models):
    with temporary_folder("test") as folder:
        merge = "merge", "weighted_sum", *models, "-o", folder / "out.safetensors"
        command = [sys.executable, "-m", "bmerge", *merge, "--shard-size", "10K"]
        subprocess.run(command, check=True, timeout=60)
        assert INDEX in names_in(folder)


@pytest.mark.skipif(not HAS_LOCKS, reason="folders cannot be locked")
def test_a_folder_that_another_program_has_locked_is_waited_for_by_shards_alone(
    tmp_path, plan, monkeypatch, caplog
):
    monkeypatch.setattr(system, "_PATIENCE", 0)
    lock, out = system.lock(tmp_path), tmp_path / "out.safetensors"
    assert lock is not None
    merge_to_file(plan, out, executor=NATIVE)
    with ThreadPoolExecutor(1) as pool:
        merge = partial(merge_to_file, executor=NATIVE, shard_size=10_000)
        waiting = pool.submit(merge, plan, out)
        while not caplog.messages:
            time.sleep(0.01)
        assert INDEX not in names_in(tmp_path)
        os.close(lock)
        waiting.result()
    assert caplog.messages == [f"{tmp_path} is locked by another program, which is waited for"]
    assert INDEX in names_in(tmp_path)


def test_shard_that_cannot_appear_takes_the_others_with_it(tmp_path, plan, whole, monkeypatch):
    """A folder takes the second shard's name at the last moment."""
    out = tmp_path / "out.safetensors"

    class Late(NativeExecutor):
        def run(self, plan, sink, *, progress=None):
            report = super().run(plan, sink, progress=progress)
            monkeypatch.setattr("bmerge.pipeline.output.OutputFiles.check", lambda *_, **__: None)
            (tmp_path / THREE[1]).mkdir()
            (tmp_path / THREE[1] / "x").touch()
            return report

    with pytest.raises(ExecutorError):
        merge_to_file(plan, out, executor=Late(), shard_size=three(whole.stat().st_size))
    shutil.rmtree(tmp_path / THREE[1])
    assert names_in(tmp_path) == []


def test_room_for_the_index_is_taken_before_the_merge(tmp_path, plan, whole):
    class Looks(NativeExecutor):
        def run(self, plan, sink, *, progress=None):
            found = [f for f in tmp_path.iterdir() if f.name.startswith(f".{INDEX}.")]
            assert len(found) == 2
            assert all(len(json.loads(f.read_text())["weight_map"]) == 1131 for f in found)
            return super().run(plan, sink, progress=progress)

    out = tmp_path / "out.safetensors"
    merge_to_file(plan, out, executor=Looks(), shard_size=three(whole.stat().st_size))
    assert names_in(tmp_path) == [*THREE, INDEX]


def test_shards_without_links_keep_the_names_that_they_have(tmp_path, plan, whole, monkeypatch):
    """A file system such as FAT has no second names."""
    out = tmp_path / "out.safetensors"
    limit = three(whole.stat().st_size)
    merge_to_file(plan, out, executor=NATIVE, shard_size=limit)
    expected = {key: bytes_of(info) for key, info in open_checkpoint(whole).tensors.items()}

    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    for _ in range(2):
        report = merge_to_file(plan, out, executor=NATIVE, shard_size=limit)
        assert "cannot be renamed: Operation not permitted" in report.notes[-1]
        assert len(names_in(tmp_path)) == 4
        opened = open_checkpoint(tmp_path).tensors
        assert {key: bytes_of(info) for key, info in opened.items()} == expected
    monkeypatch.undo()
    merge_to_file(plan, out, executor=NATIVE, shard_size=limit)
    assert names_in(tmp_path) == [*THREE, INDEX]


def test_failure_leaves_no_shard(tmp_path, plan, whole):
    class Fails:
        name = "fails"

        def run(self, plan, sink, *, progress=None):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merge_to_file(
            plan,
            tmp_path / "out.safetensors",
            executor=Fails(),
            shard_size=three(whole.stat().st_size),
        )
    assert names_in(tmp_path) == []


def test_split_tensor_is_written_into_its_shard(tmp_path, models):
    inpaint = tiny_sd1(tmp_path / "inpaint.safetensors", 7, in_channels=9)
    plan = plan_of([inpaint, models[0]])
    merge_to_file(plan, tmp_path / "one.safetensors", executor=NATIVE)
    merge_to_file(plan, tmp_path / "out.safetensors", executor=NATIVE, shard_size=100_000)
    whole = read_checkpoint(tmp_path / "one.safetensors")
    for shard in tmp_path.glob("out-*"):
        for key, array in read_checkpoint(shard).items():
            assert array.tobytes() == whole[key].tobytes()


def test_a_shard_that_is_a_link_is_not_replaced(tmp_path, plan, whole):
    out, size = tmp_path / "out.safetensors", three(whole.stat().st_size)
    merge_to_file(plan, out, executor=NATIVE, shard_size=size)
    (tmp_path / "far").mkdir()
    far = (tmp_path / THREE[1]).rename(tmp_path / "far" / "kept.safetensors")
    (tmp_path / THREE[1]).symlink_to(far)
    before = far.read_bytes()
    with pytest.raises(ExecutorError, match="is a link, and shards replace files"):
        merge_to_file(plan, out, executor=NATIVE, shard_size=size)
    assert (tmp_path / THREE[1]).is_symlink()
    assert far.read_bytes() == before
