"""Costs of real merges, in real processes."""

from __future__ import annotations

import numpy as np
import pytest

from bmerge.bench import Where, measure
from bmerge.errors import ExecutorError
from bmerge.executors import ExecutorOptions
from bmerge.recipe import ModelRef, Recipe
from bmerge.testing import write_checkpoint

MEGABYTES = 24


@pytest.fixture
def recipe(tmp_path):
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{name}.safetensors" for name in "ab"]
    for path in paths:
        shape = (MEGABYTES, 1 << 18)
        write_checkpoint(path, {"layers.0.w": rng.random(shape, dtype=np.float32)})
    return Recipe("weighted_sum", tuple(ModelRef(str(path)) for path in paths))


def test_cost_of_a_merge_is_told_and_no_file_stays(recipe, tmp_path):
    cost = measure(recipe, Where(ExecutorOptions(threads=1)), tmp_path / "scratch")
    assert cost.executor == "native"
    assert cost.nbytes > MEGABYTES << 20
    assert cost.cpu > 0
    assert cost.seconds > 0
    assert list((tmp_path / "scratch").iterdir()) == []


def test_peak_is_of_the_merge_and_not_of_who_asked(recipe, tmp_path):
    held = np.ones(64 << 20)  # half a gigabyte in this process
    cost = measure(recipe, Where(ExecutorOptions(executor="native", memory=8 << 20)), tmp_path)
    assert cost.peak < held.nbytes / 2


def test_merge_that_is_not_possible_says_why(recipe, tmp_path):
    with pytest.raises(ExecutorError, match="no device cuda:77"):
        measure(recipe, Where(ExecutorOptions(device="cuda:77")), tmp_path)
