"""Merges of very many tensors, whose tables, jobs and outputs are made when they are asked for.

The limits above which that is so are set to nothing, so that few tensors are enough.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from bmerge.executors import NativeExecutor
from bmerge.executors import native as native_executor
from bmerge.formats import open_checkpoint, safetensors
from bmerge.formats.table import LargeTable
from bmerge.pipeline import merge_into, merge_to_file
from bmerge.plan import made
from bmerge.recipe import BlockWeights
from bmerge.testing.checkpoints import read_checkpoint, write_checkpoint
from merges import plan_of

IN05 = "model.diffusion_model.input_blocks.5.0.in_layers.2.weight"


@pytest.fixture
def few_are_many(monkeypatch):
    monkeypatch.setattr(safetensors, "LARGE", 0)
    monkeypatch.setattr(made, "KEPT", 0)
    monkeypatch.setattr(native_executor, "_AT_ONCE", 100)


RECIPES = {
    "plain": {},
    "some copied": {"alpha": BlockWeights(0.0, {"IN05": 0.7})},
    "by key": {"alpha": BlockWeights(0.3, {}, {"*attn1*": 0.9})},
    "pruned": {"prune": True},
    "excluded": {"exclude": ("IN00-IN03", "*norm*")},
    "in another dtype": {"dtype": "BF16"},
    "stochastic": {"dtype": "BF16", "rounding": "stochastic", "seed": 5},
}


@pytest.mark.parametrize("fields", RECIPES.values(), ids=RECIPES)
def test_many_tensors_are_merged_as_few_are(fields, models, tmp_path, request):
    def merged(name):
        plan = plan_of(models, **fields)
        seen = []
        report = merge_to_file(
            plan, tmp_path / name, executor=NativeExecutor(), progress=seen.append
        )
        last = seen[-1]
        assert last.bytes_done == last.bytes_total
        assert (last.tensors_done, last.tensors_total) == (len(plan.outputs), len(plan.outputs))
        assert all(a.bytes_done <= b.bytes_done for a, b in pairwise(seen))
        return report, plan.notes, plan.warnings

    few = merged("few.safetensors")
    request.getfixturevalue("few_are_many")
    assert isinstance(open_checkpoint(models[0]).tensors, LargeTable)
    many = merged("many.safetensors")
    assert many[0].output.read_bytes() == few[0].output.read_bytes()
    assert many[1:] == few[1:]
    measured = {"reading": None, "writing": None}  # where enough is read and written to find out
    assert replace(many[0].execution, **measured) == replace(few[0].execution, **measured)


def test_live_model_of_many_tensors_gets_them_all(models, few_are_many, tmp_path):
    plan = plan_of(models)
    report = merge_to_file(plan, tmp_path / "out.safetensors", executor=NativeExecutor())
    written = read_checkpoint(report.output)
    live = {key: np.zeros_like(array) for key, array in written.items()}
    merge_into(plan, live, executor=NativeExecutor())
    assert all(np.array_equal(live[key], written[key]) for key in live)


def test_table_of_many_tensors_is_a_mapping_like_any_other(models, few_are_many, monkeypatch):
    many = open_checkpoint(models[0]).tensors
    monkeypatch.setattr(safetensors, "LARGE", 1 << 16)
    few = open_checkpoint(models[0]).tensors
    assert dict(many) == few
    assert list(many.keys()) == list(few)
    assert many.keys() == few.keys()
    assert many.keys() == open_checkpoint(models[1]).tensors.keys()
    assert (many.keys()[3], many.keys()[-2:]) == (list(few)[3], tuple(few)[-2:])
    assert IN05 in many
    assert "none" not in many
    assert many.get("none") is None
    assert len(many) == len(few)


def test_keys_of_many_tensors_differ_where_one_does(tmp_path, few_are_many):
    tables = [
        open_checkpoint(write_checkpoint(tmp_path / f"{name}.safetensors", tensors)).tensors
        for name, tensors in {
            "a": {"x": np.zeros(2), "y": np.zeros(2)},
            "turned": {"y": np.zeros(2), "x": np.zeros(2)},
            "other": {"x": np.zeros(2), "z": np.zeros(2)},
            "more": {"x": np.zeros(2), "y": np.zeros(2), "z": np.zeros(2)},
        }.items()
    ]
    assert [table.keys() == tables[0].keys() for table in tables] == [True, True, False, False]
