"""Whatever stops one set from taking the place of another: one of both is whole."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bmerge.testing.checkpoints import write_checkpoint

SCRIPT = Path(__file__).with_name("set_kills.py")


@pytest.fixture
def folder(tmp_path):
    draw = np.random.default_rng(0)
    for name in "ab":
        arrays = {f"model.layers.{i}.w": draw.normal(size=(8, 8)) for i in range(6)}
        write_checkpoint(tmp_path / f"{name}.safetensors", arrays)
    return tmp_path


TRANSITIONS = pytest.mark.parametrize(
    ("before", "after"),
    [("nothing", "two"), ("one", "two"), ("two", "two"), ("three", "two"), ("two", "one")],
)


def stopped(folder, before, after, number):
    """Return what was to be seen when each step was not made."""
    path = os.pathsep.join([str(SCRIPT.parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, SCRIPT, folder, before, after, str(number)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


@TRANSITIONS
def test_one_set_is_whole_after_a_kill_at_any_step(folder, before, after):
    lines = stopped(folder, before, after, 0)
    assert [line["status"] for line in lines] == [-9] * (len(lines) - 1) + [0]
    assert len(lines) > {"one": 1, "two": 4}[after]
    for number, line in enumerate(lines, start=1):
        assert not line["broken"], (number, line)
        if before != "nothing":
            assert line["read"]["."] or line["read"]["out.safetensors"], (number, line)
        assert line["again"] == 0
        assert line["same"], (number, line)  # nothing of the old set, nothing temporary
    assert lines[-1]["read"]["."] == ["new"]


@TRANSITIONS
def test_error_at_any_step_leaves_the_old_output_or_the_new_one(folder, before, after):
    lines = stopped(folder, before, after, errno.ENOSPC)
    for number, line in enumerate(lines, start=1):
        assert line["status"] in {0, 3}, (number, line)
        assert not line["broken"], (number, line)
        reads = [*line["read"]["."], *line["read"]["out.safetensors"]]
        assert line["kept"] if line["status"] else "new" in reads, (number, line)
        assert line["again"] == 0
        assert line["same"], (number, line)
    assert [line["status"] for line in lines][:1] == [3]
    assert lines[-1]["status"] == 0


@pytest.mark.parametrize(("before", "after"), [("nothing", "two"), ("two", "two")])
def test_error_after_a_file_has_appeared_takes_nothing_away_that_is_named(folder, before, after):
    for number, line in enumerate(stopped(folder, before, after, -errno.EIO), start=1):
        assert line["status"] in {0, 3}, (number, line)
        assert not line["broken"], (number, line)
        assert line["read"]["."] or (before == "nothing" and line["status"]), (number, line)
        assert line["same"], (number, line)
