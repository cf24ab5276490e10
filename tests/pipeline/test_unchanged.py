"""Inputs that change while they are in use: nothing is made of them, and no trial is told wrong."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bmerge.architectures import builtin, detect
from bmerge.errors import RecipeError
from bmerge.executors import NativeExecutor
from bmerge.formats import checkpoint_sha256, open_checkpoint
from bmerge.pipeline import Merger, merge_to_file
from bmerge.recipe import BlockWeights, ModelRef
from bmerge.testing.checkpoints import read_checkpoint
from merges import METHODS, assert_near, names_in, plan_of, recipe_of, weighted_sums

NATIVE = NativeExecutor()
SAID = r"b.safetensors: it was changed while (it was in use|its hash was computed)"


class ThenWrites:
    """Runs a plan; then somebody writes into an input, whose size stays the same."""

    name = "then writes"

    def __init__(self, file, how):
        self.file, self.how = file, how

    def reads(self, tensor):
        return NATIVE.reads(tensor)

    def run(self, plan, sink, *, progress=None):
        report = NATIVE.run(plan, sink, progress=progress)
        self.how(self.file)
        return report


def write_in_place(file):
    with file.open("r+b") as out:
        out.seek(-2, os.SEEK_END)
        out.write(b"\x12\x34")


def put_another_there(file):
    shutil.copy(file, file.with_name("other"))
    write_in_place(file.with_name("other"))
    file.with_name("other").replace(file)


@pytest.fixture
def inputs(tmp_path, models):
    folder = tmp_path / "inputs"
    folder.mkdir()
    return [
        Path(shutil.copy(model, folder / f"{name}.safetensors"))
        for model, name in zip(models, "ab", strict=True)
    ]


@pytest.mark.parametrize("how", [write_in_place, put_another_there])
def test_nothing_is_made_of_an_input_that_changes_meanwhile(tmp_path, inputs, how):
    out = tmp_path / "out.safetensors"
    out.write_bytes(b"old")
    with pytest.raises(RecipeError, match=SAID):
        merge_to_file(plan_of(inputs), out, executor=ThenWrites(inputs[1], how))
    assert out.read_bytes() == b"old"
    assert names_in(tmp_path) == ["inputs", "out.safetensors"]


def test_an_input_that_is_gone_when_it_was_read_is_no_harm(tmp_path, inputs):
    out, gone = tmp_path / "out.safetensors", lambda file: file.unlink()
    merge_to_file(plan_of(inputs), tmp_path / "wanted.safetensors", executor=NATIVE, hashes=False)
    merge_to_file(plan_of(inputs), out, executor=ThenWrites(inputs[1], gone), hashes=False)
    assert out.read_bytes() == (tmp_path / "wanted.safetensors").read_bytes()


@pytest.fixture
def merger(tmp_path, inputs):
    """Of models whose hashes are known, as a study knows them."""
    checkpoints = [open_checkpoint(path) for path in inputs]
    known = [ModelRef(str(c.path), sha256=checkpoint_sha256(c)) for c in checkpoints]
    made = Merger(
        replace(recipe_of(inputs), models=tuple(known)),
        method=METHODS["weighted_sum"],
        checkpoints=checkpoints,
        architecture=detect(checkpoints[0].tensors, builtin()),
        executor=NATIVE,
        scratch=tmp_path / "scratch",
    )
    yield made
    made.close()


def merged_live(merger, live, alpha):
    with merger.model({"alpha": BlockWeights(alpha)}) as model:
        if not live:
            live.update({o.key: np.zeros(o.shape, np.float16) for o in model.plan.outputs})
            live.update({key: live[key].astype("i8") for key in live if key.endswith("_ids")})
        model.into(live)
    return {key: array.copy() for key, array in live.items()}


def merged_file(merger, made, alpha):
    with merger.model({"alpha": BlockWeights(alpha)}) as model:
        made["file"] = model.file(lent=True)
        return read_checkpoint(made["file"])


@pytest.mark.parametrize("merged", [merged_live, merged_file])
@pytest.mark.parametrize("how", [write_in_place, put_another_there])
def test_no_trial_is_of_an_input_that_has_changed(merger, inputs, tmp_path, merged, how):
    kept, before = {}, inputs[1].read_bytes()
    first = merged(merger, kept, 0.3)
    how(inputs[1])
    for _ in range(2):
        with pytest.raises(RecipeError, match=SAID):
            merged(merger, kept, 0.4)
        assert not (tmp_path / "scratch").exists() or names_in(tmp_path / "scratch") == []
    inputs[1].write_bytes(before)
    second = merged(merger, kept, 0.4)
    again = merged(merger, kept, 0.3)
    assert all(np.array_equal(first[key], again[key]) for key in first)
    exact = weighted_sums(*inputs, lambda _: 0.4)
    assert_near({key: second[key] for key in exact}, exact)


def test_an_input_that_is_only_touched_has_not_changed(merger, inputs):
    first = merged_file(merger, {}, 0.3)
    os.utime(inputs[1], ns=(1, 1))
    second = merged_file(merger, {}, 0.3)
    assert all(np.array_equal(first[key], second[key]) for key in first)
