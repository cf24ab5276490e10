"""Merges killed at any moment: what has a name is whole, and what was left is cleared away."""

from __future__ import annotations

import itertools
import os
import random
from pathlib import Path

import numpy as np
import pytest

from bmerge.errors import FormatError
from bmerge.formats import open_checkpoint
from bmerge.testing.checkpoints import write_checkpoint
from soak import killing

FILE = ("out.safetensors", ())
TORCH = ("out.ckpt", ())
SHARDS = ("out.safetensors", ("--shard-size", "3M"))
FEWER = ("out.safetensors", ("--shard-size", "7M"))
WORKS = {
    "a file": (None, FILE),
    "a torch file": (None, TORCH),
    "shards": (None, SHARDS),
    "a file over a file": (FILE, FILE),
    "a torch file over one": (TORCH, TORCH),
    "shards over a file": (FILE, SHARDS),
    "shards over other shards": (FEWER, SHARDS),
}
"""What is there before, and what is written: name, options."""


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """Three checkpoints of 12 MB."""
    folder = tmp_path_factory.mktemp("models")
    for seed, name in enumerate("abc"):
        random = np.random.default_rng(seed)
        tensors = {f"x.{n}.w": random.standard_normal(250_000).astype("f4") for n in range(12)}
        write_checkpoint(folder / f"{name}.safetensors", tensors)
    return folder


def contents(path: Path) -> dict[str, bytes]:
    """Return every tensor of a checkpoint."""
    tensors = {}
    for key, info in open_checkpoint(path).tensors.items():
        with info.file.open("rb") as file:
            file.seek(info.offset)
            tensors[key] = file.read(info.nbytes)
            assert len(tensors[key]) == info.nbytes, f"{info.file} is cut off"
    return tensors


def readable(folder: Path, known: dict[str, dict[str, bytes]]) -> set[str]:
    """Return which of the known merges a folder holds whole.

    A file that has its name is whole. Of an index, shards may be gone: then it is refused.
    """
    found = set()
    for path in sorted(folder.glob("out*")):
        if path.suffix not in {".safetensors", ".ckpt", ".json"} or "-of-" in path.name:
            continue
        try:
            tensors = contents(path)
        except FormatError:
            assert path.suffix == ".json", f"{path.name} has its name and is not whole"
            continue
        names = [name for name, expected in known.items() if tensors == expected]
        assert names, f"{path.name} opens and is neither the old merge nor the new one"
        found.update(names)
    return found


def main_file(folder: Path, name: str) -> Path:
    """Return what opens an output: the file, or the index of its shards."""
    index = folder / f"{name}.index.json"
    return index if index.exists() else folder / name


@pytest.mark.parametrize("work", WORKS)
def test_a_killed_merge_leaves_the_old_merge_or_the_new_one(models, tmp_path, note, work):
    before, (name, options) = WORKS[work]
    temporary, folder = tmp_path / "tmp", tmp_path / "folder"
    environment = {**os.environ, "TMPDIR": str(temporary), "XDG_CACHE_HOME": str(tmp_path / "c")}
    temporary.mkdir()
    folder.mkdir()
    inputs = {"new": "ab", "old": "bc"}

    def arguments(folder, which, name, options):
        files = [models / f"{each}.safetensors" for each in inputs[which]]
        return killing.command(
            "merge", "weighted_sum", *files, "--alpha", "0.3", "-o", folder / name, "--force",
            *options,
        )  # fmt: skip

    known = {}
    for which in inputs:
        whole = tmp_path / which
        whole.mkdir()
        seconds = killing.duration(arguments(whole, which, name, options), environment)
        known[which] = contents(main_file(whole, name))
    wanted = len(list((tmp_path / "new").iterdir()))
    dice = random.Random(work)
    killed, new, both = 0, 0, 0
    for number in itertools.count():
        if killed > killing.kills() // len(WORKS):
            break
        if before is not None and number % 4 == 0:
            killing.duration(arguments(folder, "old", *before), environment)
            assert "old" in readable(folder, known)
        command = arguments(folder, "new", name, options)
        alive = killing.killed(command, environment, 1.1 * seconds, dice)
        found = readable(folder, known)
        assert found or (before is None and alive), "neither the old merge nor the new one is there"
        killed, new, both = killed + alive, new + ("new" in found), both + (len(found) == 2)
        if number % 4 == 3:  # the next one clears away what four have left
            killing.duration(command, environment)
            assert readable(folder, known) == {"new"}
            assert len(list(folder.iterdir())) == wanted, sorted(folder.iterdir())
            assert not list(temporary.iterdir())
            if before is None:
                for path in folder.iterdir():
                    path.unlink()
    found = f"the new merge was whole {new} times, both were {both} times; nothing partial or left"
    note(f"merges killed while writing {work}", killed, found)
