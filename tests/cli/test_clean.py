"""``bmerge clean``, and what commands that are killed leave for the next of their kind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bmerge.testing import write_checkpoint
from merges import names_in

TOKEN = "0123456789abcdef"


@pytest.fixture(autouse=True)
def _own_places(tmp_path, monkeypatch):
    """The system's folder for temporaries and the cache are this test's."""
    for name, variable in (("tmp", "TMPDIR"), ("cache", "XDG_CACHE_HOME"), ("here", None)):
        (tmp_path / name).mkdir()
        if variable:
            monkeypatch.setenv(variable, str(tmp_path / name))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.chdir(tmp_path / "here")
    yield
    monkeypatch.setattr("tempfile.tempdir", None)


@pytest.fixture
def left(tmp_path):
    """Temporaries of a process that has ended, everywhere."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    own = f"{child.pid}-{TOKEN}.bmerge-tmp"
    (tmp_path / "here" / "deep" / "er").mkdir(parents=True)
    (tmp_path / "cache" / "bmerge").mkdir()
    files = [
        tmp_path / "here" / f".out.safetensors.{own}",
        tmp_path / "here" / "deep" / "er" / f".out.safetensors.{own}",
        tmp_path / "cache" / "bmerge" / f".sha256.json.{own}",
        tmp_path / "tmp" / f"bmerge-unpacked.{own}" / "a.safetensors",
    ]
    files[-1].parent.mkdir()
    for file in files:
        file.write_bytes(b"x" * 1000)
    return [*files[:-1], files[-1].parent]


def test_clean_removes_what_was_left_here_below_and_in_its_own_places(bmerge, left, tmp_path):
    (tmp_path / "here" / "mine.safetensors").write_text("x")
    dry = bmerge("clean", "--dry-run")
    assert dry.status == 0
    assert dry.out.endswith("4 to remove, 4 kB\n")
    assert all(path.exists() for path in left)
    called = bmerge("clean", "--json")
    assert called.status == 0
    told = json.loads(called.out)
    assert [row["bytes"] for row in told["removed"]] == [1000] * 4
    assert {Path(row["path"]).name for row in told["removed"]} == {p.name for p in left}
    assert not any(path.exists() for path in left)
    assert names_in(tmp_path / "here") == ["deep", "mine.safetensors"]
    assert bmerge("clean").out == "0 removed, 0 B\n"


def test_clean_goes_through_the_folders_that_are_named(bmerge, left, tmp_path):
    called = bmerge("clean", tmp_path / "here" / "deep")
    assert called.status == 0
    assert [path.exists() for path in left] == [True, False, False, False]
    missing = bmerge("clean", "gone")
    assert missing.status == 1
    assert "no such folder: gone" in missing.err


def test_what_cannot_be_removed_is_told(bmerge, left, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("bmerge.cli.clean.remove", refuse)
    called = bmerge("clean")
    assert called.status == 1
    assert "cannot be removed: Permission denied" in called.err
    assert "0 removed" in called.out


KILLED = """
import os, signal, sys
import bmerge.lora.patch
from bmerge.cli import main
from bmerge.executors import NativeExecutor

def killed(self, *_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

{where} = killed
sys.exit(main(sys.argv[1:]))
"""


def kill(where, *arguments):
    """Run a command that is killed where it calls something."""
    code = KILLED.replace("{where}", where)
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=False)
    assert done.returncode == -signal.SIGKILL


def test_killed_merges_leave_nothing_that_the_next_one_does_not_remove(bmerge, tmp_path):
    torch = pytest.importorskip("torch")
    layer = "model.diffusion_model.input_blocks.1.0.in_layers.2.weight"
    arrays = {layer: np.ones((6, 6, 3, 3)), "first_stage_model.x": np.ones(3)}
    for name, value in (("a", 1.0), ("b", 2.0)):
        write_checkpoint(Path(f"{name}.safetensors"), {k: v * value for k, v in arrays.items()})
    name = "lora_unet_input_blocks_1_0_in_layers_2"
    # of BOFT, which goes by way of a file
    loras = {f"{name}.oft_blocks": np.ones((1, 3, 2, 2))}
    write_checkpoint(Path("x.safetensors"), loras)
    old = {key: torch.tensor(array) for key, array in arrays.items()}
    torch.save(old, "old.ckpt", _use_new_zipfile_serialization=False)
    before = names_in(tmp_path / "here")
    merges = {
        "NativeExecutor.run": (
            "merge",
            "weighted_sum",
            "a.safetensors",
            "b.safetensors",
            "--alpha",
            "0.5",
        ),
        "bmerge.lora.patch.patched_blocks": (
            "merge",
            "add_difference",
            "a.safetensors",
            "--lora",
            "x.safetensors",
        ),
        "NativeExecutor.run ": (
            "merge",
            "weighted_sum",
            "old.ckpt",
            "b.safetensors",
            "--alpha",
            "0.5",
        ),
    }
    kinds = set()
    for where, merge in merges.items():
        kill(where, *merge, "-o", "out.safetensors")
        assert len(names_in(tmp_path / "here")) == len(before) + 1, merge
        kinds |= {name.partition(".")[0] for name in names_in(tmp_path / "tmp")}
    assert kinds == {"bmerge-lora", "bmerge-unpacked"}
    for merge in list(merges.values())[1:]:
        done = subprocess.run(
            [sys.executable, "-m", "bmerge.cli", *merge, "-o", "out.safetensors", "--force"],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert names_in(tmp_path / "here") == sorted([*before, "out.safetensors"])
    assert names_in(tmp_path / "tmp") == []
