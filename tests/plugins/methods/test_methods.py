"""The merge methods, called as the plain functions they are, against the float64 oracle."""

from __future__ import annotations

import importlib
import subprocess
import sys

import numpy as np
import pytest
import torch

import oracle
from bmerge.expr import reduces_to_input


def method(name):
    return getattr(importlib.import_module(f"bmerge_plugins.methods.{name}"), name)


CASES = [
    pytest.param(name, values, id=f"{name} {' '.join(f'{v:.2g}' for v in values.values())}")
    for name, cases in oracle.METHODS.items()
    for values in cases
]


def _inputs(name, shape):
    random = np.random.default_rng(7)
    return [random.standard_normal(shape).astype(np.float32) for _ in range(oracle.N_MODELS[name])]


@pytest.mark.parametrize("shape", oracle.SHAPES.values(), ids=oracle.SHAPES)
@pytest.mark.parametrize(("name", "values"), CASES)
def test_method_on_torch_tensors_matches_the_oracle(name, values, shape):
    inputs = _inputs(name, shape)
    tensors = [torch.from_numpy(np.atleast_1d(x)) for x in inputs]
    result = method(name)(*tensors, **values)
    assert result.dtype is torch.float32
    exact = oracle.terms(name, inputs, values)
    oracle.assert_close(result.reshape(shape).numpy(), exact, "F32")


@pytest.mark.parametrize("name", oracle.METHODS)
def test_hook_offers_the_method(name):
    module = importlib.import_module(f"bmerge_plugins.methods.{name}")
    assert list(module.bmerge_merge_methods()) == [method(name)]
    assert method(name).name == name


@pytest.mark.parametrize("name", oracle.METHODS)
def test_documentation_names_formula_source_and_every_parameter(name):
    subject = method(name)
    assert subject.summary.endswith(".")
    for word in ("Formula", "Source", *subject.model_names):
        assert f"{word}:" in subject.doc or f"{word}, " in subject.doc
    for hyperparameter in subject.hyperparameters:
        assert f"    {hyperparameter.name}: " in subject.doc


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("weighted_sum", [0], 0),
        ("weighted_sum", [1], 1),
        ("weighted_sum", [-0.0], 0),
        ("weighted_sum", [0.5], None),
        ("add_difference", [0], 0),
        ("add_difference", [1], None),
        ("tensor_sum", [0, 0.3], 0),
        ("tensor_sum", [0, 1], 0),
        ("tensor_sum", [1, 0], 1),
        ("tensor_sum", [1, 0.4], 1),
        ("tensor_sum", [1, 1], 1),
        ("tensor_sum", [0.5, 0], None),
        ("tensor_sum", [0.5, 0.5], None),
        ("weighted_subtraction", [0, 1], 0),
        ("weighted_subtraction", [1, 0], 0),
        ("weighted_subtraction", [1, 1], None),
    ],
)
def test_method_reduces_to_a_copy_at_its_ends(name, values, expected):
    subject = method(name)
    assert reduces_to_input(subject.graph(oracle.N_MODELS[name]), values) == expected


def test_weighted_subtraction_undoes_a_weighted_sum():
    x, b = (torch.from_numpy(array) for array in _inputs("weighted_subtraction", (40,)))
    mixed = method("weighted_sum")(x, b, alpha=0.3)
    result = method("weighted_subtraction")(mixed, b, alpha=0.5, beta=0.6)
    torch.testing.assert_close(result, x, rtol=1e-5, atol=1e-5)


def test_methods_are_imported_and_traced_without_torch_or_numpy():
    code = (
        "import sys\n"
        "from bmerge_plugins.methods.tensor_sum import tensor_sum\n"
        "tensor_sum.graph(2)\n"
        "print([m for m in ('torch', 'numpy') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
