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
from method_cases import OFFERED


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


@pytest.mark.parametrize("subject", OFFERED.values(), ids=OFFERED)
def test_documentation_names_formula_source_and_every_parameter(subject):
    assert subject.summary.endswith(".")
    models = [*subject.model_names, *(["models"] if subject.variadic else [])]
    for word in ("Formula", "Source", *("bounds" if m == "models" else m for m in models)):
        assert f"{word}:" in subject.doc or f"{word}, " in subject.doc or word == "bounds"
    for parameter in (*subject.hyperparameters, *subject.options, *subject.statistics):
        assert f"    {parameter.name}: " in subject.doc


def test_names_and_aliases_are_used_once():
    words = [word for m in OFFERED.values() for word in (m.name, *m.aliases)]
    assert sorted(words) == sorted(set(words))


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
        ("sum_twice", [0, 0], 0),
        ("sum_twice", [1, 0], 1),
        ("sum_twice", [0.3, 1], 2),
        ("triple_sum", [0, 0], 0),
        ("triple_sum", [1, 0], 1),
        ("triple_sum", [0, 1], 2),
        ("geometric_sum", [0], 0),
        ("geometric_sum", [1], 1),
        ("passthrough", [1], 0),
        ("add_noise", [0], 0),
        ("train_difference", [0], 0),
        ("add_perpendicular", [0], 0),
        ("ties_add_difference", [0, 0.2], 2),
        ("weighted_subtraction", [0, 1], 0),
        ("weighted_subtraction", [1, 0], 0),
        ("weighted_subtraction", [1, 1], None),
    ],
)
def test_method_reduces_to_a_copy_at_its_ends(name, values, expected):
    subject = OFFERED[name]
    assert reduces_to_input(subject.graph(len(subject.model_names)), values) == expected


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("linear", {"weight_1": 1, "weight_2": 0, "weight_3": 0}, 0),
        ("linear", {"weight_1": 0, "weight_2": 0, "weight_3": 5}, 2),
        ("task_arithmetic", {"weight": 0}, 0),
        ("task_arithmetic", {"scale": 0}, 0),
        ("ties", {"scale": 0}, 0),
        ("dare_ties", {"weight": 0}, 0),
        ("linear", {}, None),
    ],
)
def test_method_of_many_models_reduces_to_a_copy_at_its_ends(name, values, expected):
    subject = OFFERED[name]
    scalars = list(subject.complete(values, 3, float).values())
    assert reduces_to_input(subject.graph(3), scalars) == expected


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
