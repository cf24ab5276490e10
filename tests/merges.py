"""Whole merges of small checkpoints, and what they must give, in numpy float64."""

from __future__ import annotations

import numpy as np

from bmerge.architectures import builtin, detect
from bmerge.formats import open_checkpoint
from bmerge.plan import make_plan
from bmerge.recipe import BlockWeights, ModelRef, Recipe
from bmerge.testing.checkpoints import read_checkpoint
from bmerge_plugins.methods.add_difference import add_difference
from bmerge_plugins.methods.tensor_sum import tensor_sum
from bmerge_plugins.methods.weighted_sum import weighted_sum

METHODS = {method.name: method for method in (weighted_sum, add_difference, tensor_sum)}


def recipe_of(paths, alpha=0.3, method="weighted_sum", **fields):
    weights = alpha if isinstance(alpha, BlockWeights) else BlockWeights(alpha)
    models = tuple(ModelRef(str(path)) for path in paths)
    return Recipe(method, models, {"alpha": weights}, **fields)


def plan_of(paths, alpha=0.3, method="weighted_sum", **fields):
    """Plan a merge of files by one of the built-in methods."""
    checkpoints = [open_checkpoint(path) for path in paths]
    architecture = detect(checkpoints[0].tensors, builtin())
    return make_plan(
        recipe_of(paths, alpha, method, **fields),
        method=METHODS[method],
        checkpoints=checkpoints,
        architecture=architecture,
    )


def weighted_sums(a, b, alpha_of):
    """Return the exact weighted sums of two checkpoint files; integers stay those of a."""
    first, second = read_checkpoint(a), read_checkpoint(b)
    merged = {}
    for key, array in first.items():
        if array.dtype.kind != "f":
            merged[key] = array
            continue
        alpha = alpha_of(key)
        merged[key] = (1 - alpha) * array.astype("f8") + alpha * second[key].astype("f8")
    return merged


def assert_near(merged, exact, *, bits=11, least=2.0**-14):
    """Assert that arrays are those expected, to one unit of a float of so many bits.

    Results below ``least`` may be as inexact as one of that size.
    """
    assert list(merged) == list(exact)
    for key, array in exact.items():
        if array.dtype.kind != "f":
            assert merged[key].dtype == array.dtype, key
            assert np.array_equal(merged[key], array), key
            continue
        scale = np.maximum(np.abs(array), least)
        assert np.all(np.abs(merged[key] - array) <= scale * 2.0**-bits * 1.01), key


def names_in(folder):
    """Return the names of all files in a folder, hidden ones too."""
    return sorted(path.name for path in folder.iterdir())
