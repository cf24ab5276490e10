"""Results limited to the range of the models, for every kind of method and on both executors."""

from __future__ import annotations

import numpy as np
import pytest

from bmerge.architectures import builtin, detect
from bmerge.executors import NativeExecutor
from bmerge.executors.torch import TorchExecutor
from bmerge.expr import reduces_to_input
from bmerge.formats import open_checkpoint
from bmerge.pipeline import merge_to_file
from bmerge.plan import graph_of, make_plan
from bmerge.recipe import BlockWeights, ModelRef, Recipe
from bmerge.testing import read_checkpoint, write_checkpoint
from method_cases import OFFERED


@pytest.fixture
def models(tmp_path):
    random = np.random.default_rng(4)
    base = {f"layers.{i}.w": random.standard_normal(s) for i, s in enumerate([(3, 1029), (7,)])}
    return [
        write_checkpoint(
            tmp_path / f"{name}.safetensors",
            {key: array + random.standard_normal(array.shape) / 4 for key, array in base.items()},
        )
        for name in "abc"
    ]


def _plan(models, method, values=None, **fields):
    checkpoints = [open_checkpoint(path) for path in models]
    weights = {name: BlockWeights(value) for name, value in (values or {}).items()}
    recipe = Recipe(method, tuple(ModelRef(str(p)) for p in models), weights, **fields)
    architecture = detect(checkpoints[0].tensors, builtin())
    return make_plan(
        recipe, method=OFFERED[method], checkpoints=checkpoints, architecture=architecture
    )


def _merge(plan, executor, output):
    output = output.with_suffix(".safetensors")
    merge_to_file(plan, output, executor=executor)
    return read_checkpoint(output)


@pytest.mark.parametrize("clamp", ["all", "ab"])
@pytest.mark.parametrize(
    ("method", "values"),
    [
        ("add_difference", {"alpha": 1.5}),
        ("task_arithmetic", {"scale": 2.0}),
        ("slerp", {"alpha": 1.7}),
        ("ties", {"scale": 2.0}),
        ("truncate_rank", {"alpha": 3.0}),
        ("passthrough", {"scale": 2.0}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_result_is_the_methods_within_the_range(tmp_path, models, method, values, clamp):
    count = {"slerp": 2, "truncate_rank": 2, "passthrough": 1}.get(method, 3)
    models = models[:count]
    inputs = [read_checkpoint(path) for path in models]
    bounds = inputs if clamp == "all" else inputs[:2]
    executors = {"torch": TorchExecutor("cpu")}
    if not OFFERED[method].opaque:
        executors |= {f"native {n}": NativeExecutor(threads=n) for n in (1, 3)}
    results = {}
    for name, executor in executors.items():
        free = _merge(_plan(models, method, values), executor, tmp_path / "free.safetensors")
        output = tmp_path / f"{name}.safetensors"
        held = _merge(_plan(models, method, values, clamp=clamp), executor, output)
        for key, array in held.items():
            stack = np.stack([tensors[key] for tensors in bounds])
            np.testing.assert_array_equal(array, np.clip(free[key], stack.min(0), stack.max(0)))
        results[name] = output.read_bytes()
        assert any((free[key] != held[key]).any() for key in held)
    if method != "slerp":  # norms may differ in the last place
        assert len(set(results.values())) == 1


def test_copies_stay_copies_where_the_range_holds_that_model(models):
    assert not _plan(models[:2], "weighted_sum", {"alpha": 0.0}, clamp="all").merges
    assert not _plan(models[:2], "weighted_sum", {"alpha": 1.0}, clamp="ab").merges
    assert not _plan(models, "triple_sum", {"alpha": 0.0, "beta": 1.0}, clamp="all").merges
    kept = _plan(models, "triple_sum", {"alpha": 0.0, "beta": 1.0}, clamp="ab")
    assert len(kept.merges) == 2


def test_clamp_method_reduces_too():
    recipe = Recipe("clamp", (ModelRef("a"),) * 2)
    assert reduces_to_input(graph_of(recipe, OFFERED["clamp"]), [0.0]) == 1


def test_clamp_costs_no_further_pass(models, tmp_path):
    reads = []
    for clamp in ("none", "all"):
        plan = _plan(models[:2], "weighted_sum", {"alpha": 0.3}, clamp=clamp)
        report = merge_to_file(plan, tmp_path / "out.safetensors", executor=NativeExecutor())
        reads.append(report.execution.bytes_read)
    assert reads[0] == reads[1]
