"""Weights that ConvRot has turned alike: sums of them are taken as they lie."""

from __future__ import annotations

import numpy as np
import pytest

from bmerge.executors import NativeExecutor
from bmerge.executors.torch import TorchExecutor
from bmerge.pipeline import merge_to_file
from bmerge.plan import encoded
from bmerge.testing import write_checkpoint
from coded import int8, raw_tensors, weight_in
from merges import plan_of
from quantised import write_layout

NAME = "blocks.0.proj"


def model(path, seed, group):
    """Write a model of one layer; return its path, its layer and the steps of its rows."""
    layer = int8(np.random.default_rng(seed), (33, 64), group=group)
    write_layout(path, layer.layout(NAME), contents=layer.contents(NAME))
    return path, layer


@pytest.fixture
def models(tmp_path):
    return [model(tmp_path / f"{seed}.safetensors", seed, 16) for seed in (1, 2)]


def lying(layer):
    """Return numbers as they are before they are turned back, in float64."""
    codes = np.frombuffer(layer.tensors["weight"][2], "i1").reshape(33, 64)
    scale = np.frombuffer(layer.tensors["weight_scale"][2], "f4").reshape(33, 1)
    return codes * scale.astype("f8")


def rotations(plan):
    """Return what is turned of the first merge: of its inputs, and of its output."""
    job = encoded(plan).merges[0]
    codecs = [tensor.codec for tensor in job.inputs if hasattr(tensor, "codec")]
    return [codec.parameters[-1] for codec in (*codecs, job.encoding.codec)]


@pytest.mark.parametrize("executor", [NativeExecutor(), TorchExecutor()], ids=["native", "torch"])
def test_sums_have_the_codes_of_what_lies_there(models, executor, tmp_path):
    (a, first), (b, second) = models
    plan = plan_of([a, b], 0.3)
    assert rotations(plan) == [None, None, None]
    merge_to_file(plan, tmp_path / "m.safetensors", executor=executor)
    found = raw_tensors(tmp_path / "m.safetensors")[0]
    exact = 0.7 * lying(first) + 0.3 * lying(second)
    steps = np.abs(exact).max(axis=1, keepdims=True) / 127
    assert np.allclose(found[f"{NAME}.weight_scale"][1], steps, rtol=1e-6)
    codes = found[f"{NAME}.weight"][1]
    assert (np.abs(codes - exact / steps) <= 0.5 + 1e-4).all()
    assert found[f"{NAME}.comfy_quant"][1].tobytes() == first.tensors["comfy_quant"][2]
    values, half = weight_in(found, NAME, exact.shape)
    assert (np.abs(values - 0.7 * first.values - 0.3 * second.values) <= half).all()


def test_what_is_no_sum_of_those_turned_alike_is_turned_back(models, tmp_path):
    (a, first), (b, _) = models
    four, _ = model(tmp_path / "four.safetensors", 3, 4)
    none, _ = model(tmp_path / "none.safetensors", 4, None)
    floats = tmp_path / "floats.safetensors"
    write_checkpoint(floats, {f"{NAME}.weight": first.values.astype("f4")}, dtype="F32")
    assert rotations(plan_of([a, four])) == [16, 4, 16]
    assert rotations(plan_of([a, none])) == [16, None, 16]
    assert rotations(plan_of([none, a])) == [None, 16, None]
    assert rotations(plan_of([a, floats])) == [16, 16]
    assert rotations(plan_of([a, b], clamp="all")) == [16, 16, 16]
    assert rotations(plan_of([a, b], quantise="int8")) == [16, 16, None]
