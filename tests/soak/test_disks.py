"""Disks that fill up at any byte: nothing partial gets a name, and no trial is lost."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bmerge.storage.stored import read_study
from bmerge.testing.checkpoints import write_checkpoint
from soak import killing
from soak.test_studies import EXAMPLE, STUDY, outcome

WRITES = {
    "a merge": ("merge", "weighted_sum", "a.safetensors", "b.safetensors"),
    "a merge in shards": (
        "merge", "weighted_sum", "a.safetensors", "b.safetensors", "--shard-size", "300K"
    ),
}  # fmt: skip


@contextlib.contextmanager
def disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """Mount a file system of some size; skip where that is not allowed."""
    folder.mkdir(exist_ok=True)
    options = ["-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(["mount", *options], check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def models(tmp_path) -> Path:
    for seed, name in enumerate("ab"):
        numbers = np.random.default_rng(seed).standard_normal((4, 50_000)).astype("f4")
        tensors = {f"layers.{n}.w": row for n, row in enumerate(numbers)}
        write_checkpoint(tmp_path / f"{name}.safetensors", tensors)
    (tmp_path / "study.yaml").write_text(STUDY.replace("n_iters: 40", "n_iters: 6"))
    return tmp_path


@pytest.mark.parametrize("what", WRITES)
def test_a_merge_onto_a_full_disk_says_so_and_leaves_nothing(models, note, what):
    arguments = [
        str(models / each) if each.endswith(".safetensors") else each for each in WRITES[what]
    ]
    small = 0
    sizes = range(16, 1000, 8)
    for size in sizes:
        with disk(models / "disk", size) as full:
            done = subprocess.run(
                killing.command(*arguments, "-o", full / "out.safetensors"),
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.returncode:
                small += 1
                assert done.returncode == 1, done.stderr
                assert "no space" in done.stderr, done.stderr
                assert "Traceback" not in done.stderr
                assert not list(full.iterdir()), f"{size} kB"
    assert 0 < small < len(sizes)
    note(f"disks too small for {what}", small, "one line each, nothing left")


def test_a_study_on_a_full_disk_goes_on_when_there_is_room(models, tmp_path, note):
    def command(out, *more):
        study = models / "study.yaml"
        return killing.command("run", study, "--plugin", EXAMPLE, "--out", out, *more)

    killing.duration(command(tmp_path / "whole"), dict(os.environ))
    expected = outcome(tmp_path / "whole")
    tries = stopped = 0
    for size in range(600, 3200, 200):
        tries += 1
        with disk(models / "disk", size) as full:
            out = full / "out"
            for _ in range(2):
                done = subprocess.run(
                    command(out, "--patience", "0.01"), capture_output=True, text=True, check=False
                )
                assert "Traceback" not in done.stderr, done.stderr
                if done.returncode:
                    stopped += 1
                    told = ("no space", "full", "space")
                    assert any(word in done.stderr for word in told), done.stderr
                    if (out / "study.db").exists():
                        with contextlib.suppress(Exception):  # made when there was no room for it
                            states = {t.state for t in read_study(out).trials.values()}
                            assert "failed" not in states
                options = f"remount,size={4 * size + 8000}k"
                subprocess.run(["mount", "-o", options, str(full)], check=True)
            assert done.returncode == 0, done.stderr
            assert outcome(out) == expected, f"{size} kB"
    note("studies on disks that fill up", tries, f"{stopped} stopped; all ended as whole")
