"""Merges of quantised models, which are floats to every method."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file

from bmerge.executors import NativeExecutor
from bmerge.executors.torch import TorchExecutor
from bmerge.pipeline import merge_to_file
from bmerge.testing.checkpoints import read_checkpoint, write_checkpoint
from coded import LAYERS
from merges import plan_of
from quantised import write_layout

EXECUTORS = pytest.mark.parametrize(
    "executor", [NativeExecutor(threads=2), TorchExecutor()], ids=["native", "torch"]
)
MARKED = "fp8 as until 2025"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A model with a layer of every format, a plain one, and the weights of both in float32."""
    folder, rng = tmp_path_factory.mktemp("quantised"), np.random.default_rng(3)
    layout, contents, first, second = [], {}, {}, {}
    for number, (what, make) in enumerate(LAYERS.items()):
        layer = make(rng)
        if what == MARKED:  # whose marker is for all of a model
            continue
        name = f"blocks.{number}.proj"
        layout += layer.layout(name)
        contents |= layer.contents(name)
        first[f"{name}.weight"] = layer.values
        if "bias" in layer.tensors:
            first[f"{name}.bias"] = np.zeros(len(layer.values), "f4")
    for key, values in first.items():
        second[key] = rng.standard_normal(values.shape).astype("f4")
    write_layout(folder / "a.safetensors", layout, contents=contents)
    write_checkpoint(folder / "b.safetensors", second, dtype="F32")
    return folder / "a.safetensors", folder / "b.safetensors", first, second


def near(values, exact):
    """Assert equality to the bit, or nearly, where sums were in another order."""
    if exact.dtype == np.float64:
        assert np.abs(values - exact).max() <= 4e-7 * np.abs(exact).max()
    else:
        assert values.tobytes() == exact.tobytes()


@EXECUTORS
def test_every_format_is_merged_as_the_floats_that_it_stands_for(models, executor, tmp_path):
    a, b, first, second = models
    plan = plan_of([a, b], 0.3, dtype="F32")
    report = merge_to_file(plan, tmp_path / "m.safetensors", executor=executor)
    assert report.execution.nonfinite == ()
    merged = load_file(tmp_path / "m.safetensors")
    assert merged.keys() == first.keys()
    low, high = np.float32(1 - 0.3), np.float32(0.3)
    for key, values in first.items():
        near(merged[key], values * low + second[key] * high)


@EXECUTORS
def test_a_layer_that_is_kept_is_rounded_to_what_it_stands_for(models, executor, tmp_path):
    a, b, first, _ = models
    plan = plan_of([a, b], 0.0)
    merge_to_file(plan, tmp_path / "m.safetensors", executor=executor)
    kept = read_checkpoint(tmp_path / "m.safetensors")
    for key, values in first.items():
        if values.dtype == np.float32:
            bits = values.view(np.uint32).astype(np.uint64)
            rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16 << 16).astype(np.uint32)
            expected = rounded.view(np.float32)
            if plan_dtype(plan, key) == "F16":
                expected = values.astype(np.float16)
            assert np.array_equal(np.asarray(kept[key], np.float32), expected.astype(np.float32)), (
                key
            )


def plan_dtype(plan, key):
    return next(output.dtype for output in plan.outputs if output.key == key)


def test_inputs_without_quantised_weights_are_as_before(models, tmp_path):
    _, b, _, second = models
    plan = plan_of([b, b], 0.5)
    assert all(output.dtype == "F32" for output in plan.outputs)
    merge_to_file(replace(plan), tmp_path / "m.safetensors", executor=NativeExecutor())
    merged = load_file(tmp_path / "m.safetensors")
    assert all(np.array_equal(merged[key], values) for key, values in second.items())
