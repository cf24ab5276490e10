from __future__ import annotations

import numpy as np
import pytest

from bmerge.architectures import builtin, detect
from bmerge.compare import align, made_of
from bmerge.compare.guess import guess
from bmerge.executors import NativeExecutor
from bmerge.formats import open_checkpoint
from bmerge.testing import write_checkpoint

RNG = np.random.default_rng(3)
SIZES = {"layers.0.w": (40, 9), "layers.1.w": (2000,), "layers.2.w": (4,), "layers.3.w": (300,)}


def draw():
    return {key: RNG.standard_normal(shape).astype("f4") for key, shape in SIZES.items()}


def fitted(folder, child, *parents):
    files = [
        write_checkpoint(folder / f"{i}.safetensors", tensors)
        for i, tensors in enumerate((child, *parents))
    ]
    checkpoints = [open_checkpoint(file) for file in files]
    architecture = detect(checkpoints[0].tensors, builtin())
    return made_of(align(checkpoints, architecture), executor=NativeExecutor())


def test_weighted_sum_is_found_with_its_weight_in_every_block(tmp_path):
    a, b = draw(), draw()
    alphas = dict(zip(SIZES, (0.25, 0.7, 0.0, 1.5), strict=True))
    child = {key: (1 - alphas[key]) * a[key] + alphas[key] * b[key] for key in SIZES}
    made = fitted(tmp_path, child, a, b)
    for (_, fit), alpha in zip(made.blocks.items(), alphas.values(), strict=True):
        assert fit.weights == pytest.approx((1 - alpha, alpha), abs=1e-6)
        assert fit.residual < 1e-6
        assert fit.explained > 1 - 1e-9
    said = guess(made, ["a", "b"])
    assert "weighted_sum a b --alpha L01=0.7,L02=0,L03=1.5,*=0.25 " in said


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)], ids=str)
def test_added_difference_is_found_in_any_order_of_the_parents(tmp_path, order):
    models = [draw() for _ in range(3)]
    a, b, c = models
    child = {key: a[key] + 0.3 * (b[key] - c[key]) for key in SIZES}
    made = fitted(tmp_path, child, *(models[index] for index in order))
    assert made.total.weights == pytest.approx([(1, 0.3, -0.3)[i] for i in order], abs=1e-6)
    names = ["abc"[index] for index in order]
    assert "add_difference a b c --alpha 0.3 " in guess(made, names)


def test_weights_of_any_model_are_those_of_least_squares(tmp_path):
    child, *parents = (draw() for _ in range(4))
    made = fitted(tmp_path, child, *parents)
    key = "layers.0.w"
    first, *others = (parent[key].astype("f8").ravel() for parent in parents)
    matrix = np.stack([other - first for other in others], axis=1)
    wanted = child[key].astype("f8").ravel() - first
    weights, (left,), *_ = np.linalg.lstsq(matrix, wanted, rcond=None)
    fit = made.blocks["L00"]
    assert fit.weights == pytest.approx([1 - weights.sum(), *weights], rel=1e-5)
    assert fit.residual == pytest.approx(np.sqrt(left) / np.linalg.norm(child[key]), rel=1e-5)
    distances = [np.sum((child[key] - parent[key].astype("f8")) ** 2) for parent in parents]
    assert fit.explained == pytest.approx(1 - left / min(distances), rel=1e-5)
    assert guess(made, ["a", "b", "c"]).startswith("not made of these alone")


def test_where_parents_are_equal_no_weight_is_made_up(tmp_path):
    a, b = draw(), draw()
    b["layers.1.w"] = a["layers.1.w"]
    child = {key: (a[key] + b[key]) / 2 for key in SIZES}
    made = fitted(tmp_path, child, a, b, b)
    assert made.blocks["L01"].same
    assert made.blocks["L01"].weights == (None, None, None)
    assert made.blocks["L00"].weights == (pytest.approx(0.5), pytest.approx(0.5), None)
