"""Recipes of thousands of steps, and steps whose result is needed again and again.

Were anything done once for each way through 40 steps that are used twice each, these tests would
take years; were it done by functions that call themselves, 2,000 steps would be too deep.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from bmerge import load_registry
from bmerge.executors import NativeExecutor, choose_executor
from bmerge.executors.torch import TorchExecutor
from bmerge.foreign.mecha import read_mecha
from bmerge.host.merges import open_models, plan_merge
from bmerge.pipeline import merge_to_file
from bmerge.plan import describe
from bmerge.plan.forms import Forms, Leaf, Zero, leaves, parts_first
from bmerge.plan.shapes import common_extent
from bmerge.recipe import dump_recipe, parse_recipe
from bmerge.testing import read_checkpoint, write_checkpoint

REGISTRY = load_registry()
KEYS = [*(f"model.layers.{i}.weight" for i in range(3)), "model.norm.weight"]
PICKED = "model.layers.1.weight"
ALPHA = np.float32(0.01)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("long")
    random = np.random.default_rng(0)
    for name in "ab":
        tensors = {key: random.standard_normal((3, 5)).astype("f4") for key in KEYS}
        write_checkpoint(folder / f"{name}.safetensors", tensors, dtype="F32")
    return folder


def _sum(first, second):
    weights = {"alpha": float(ALPHA)}
    return {"method": "weighted_sum", "models": [first, second], "hyperparameters": weights}


def _added(first, second):
    weights = {"weight": float(ALPHA)}
    return {"method": "add", "models": [first, second], "hyperparameters": weights}


def _three(name):
    weights = {"alpha": float(ALPHA)}
    return {"method": "add_difference", "models": [name, "b", name], "hyperparameters": weights}


STEPS = {
    "chain": lambda name, n: _sum(name, "b"),
    "twice": lambda name, n: _three(name),
    "difference": lambda name, n: _added(name, f"b - {name}"),
    "clamped": lambda name, n: {**_three(name), "clamp": "ab"},
    "pick": lambda name, n: {"pick": {"*layers.1*": name, "*": name}} if n % 2 else _three(name),
    "fallback": lambda name, n: {"fallback": [name, name]} if n % 2 else _three(name),
    "copied": lambda name, n: _sum(name, name) if n % 2 else _three(name),
}
"""What a step is made of the one before, which goes a hundredth of the way to b, or nowhere."""
HALF = {"pick", "fallback", "copied"}


def _recipe(kind, count):
    steps = {"s0": _sum("a", "b")}
    for n in range(1, count):
        steps[f"s{n}"] = STEPS[kind](f"s{n - 1}", n)
    models = {name: f"{name}.safetensors" for name in "ab"}
    return parse_recipe(json.dumps({"models": models, "steps": steps}))


def _exact(folder, kind, count):
    a, b = (read_checkpoint(folder / f"{name}.safetensors") for name in "ab")
    moves = count if kind not in HALF else 1 + (count - 1) // 2
    share = (1 - float(ALPHA)) ** moves
    return {key: share * a[key].astype("f8") + (1 - share) * b[key] for key in a}


def _merge(recipe, folder, output, executor):
    checkpoints = open_models(recipe.models, folder)
    plan = plan_merge(recipe, checkpoints, REGISTRY, folder=folder)
    merge_to_file(plan, output, executor=executor, metadata=False)
    return plan


@pytest.mark.parametrize(
    ("kind", "count"), [*((kind, 40) for kind in STEPS), ("difference", 2000), ("pick", 2000)]
)
def test_long_recipes_are_exact_on_both_executors(kind, count, folder, tmp_path):
    recipe = _recipe(kind, count)
    executors = {"native": NativeExecutor(threads=1), "torch": TorchExecutor(device="cpu")}
    for name, executor in executors.items():
        plan = _merge(recipe, folder, tmp_path / f"{name}.safetensors", executor)
    for key, exact in _exact(folder, kind, count).items():
        merged = read_checkpoint(tmp_path / "native.safetensors")[key]
        np.testing.assert_allclose(merged, exact, atol=1e-4, err_msg=key)
    assert (tmp_path / "native.safetensors").read_bytes() == (
        tmp_path / "torch.safetensors"
    ).read_bytes()
    assert len(describe(plan)["steps"]) == count
    assert parse_recipe(dump_recipe(recipe)) == recipe


def test_equal_forms_are_one_object():
    """Of many tensors, whose forms are made one by one, each form is then composed once."""
    forms = Forms()

    def made():
        step = forms.applied("s", (Leaf(1), Zero()))
        return forms.minus(forms.applied("t", (step, step, Leaf(0))), step)

    assert made() is made()
    assert leaves(made()) == (0, 1)
    assert len(parts_first(made())) == 6
    turned = forms.renamed(made(), {0: 1, 1: 0})
    assert turned is forms.renamed(made(), {0: 1, 1: 0})
    assert turned is not made()
    assert forms.renamed(turned, {0: 1, 1: 0}) is made()
    assert forms.minus(Leaf(0), Leaf(1)) is not forms.minus(Leaf(1), Leaf(0))


def test_recipes_of_sd_mecha_may_be_long_too(folder, tmp_path):
    lines = ["version 0.1.0", *(f'model "{n}.safetensors" merge_space="weight"' for n in "ab")]
    last = 0
    for _ in range(1000):
        lines += [f'merge "subtract" &1 &{last}', f'merge "add_difference" &{last} &{{}} 0.01']
        lines[-1] = lines[-1].format(len(lines) - 3)
        lines.append(f'merge "fallback" &{len(lines) - 2} &{len(lines) - 2}')
        last = len(lines) - 2
    recipe = read_mecha("\n".join(lines))
    assert len(recipe.steps) == 2000
    _merge(recipe, folder, tmp_path / "out.safetensors", NativeExecutor())
    share = 0.99**1000
    a, b, merged = (
        read_checkpoint(path)
        for path in (
            folder / "a.safetensors",
            folder / "b.safetensors",
            tmp_path / "out.safetensors",
        )
    )
    for key in a:
        np.testing.assert_allclose(merged[key], share * a[key] + (1 - share) * b[key], atol=1e-4)


def test_what_is_too_long_for_the_native_executor_is_left_to_torch(folder, tmp_path):
    """Each slerp takes sums over its tensors, for which all before it is computed once more."""
    weights = {"alpha": 0.01}
    steps = {
        f"s{n}": {
            "method": "slerp",
            "models": [f"s{n - 1}" if n else "a", "b"],
            "hyperparameters": weights,
        }
        for n in range(1600)
    }
    models = {name: f"{name}.safetensors" for name in "ab"}
    recipe = parse_recipe(json.dumps({"models": models, "steps": steps}))
    plan = plan_merge(recipe, open_models(recipe.models, folder), REGISTRY, folder=folder)
    choice = choose_executor(plan)
    assert choice.executor.name.startswith("torch")
    assert "the native executor refuses this method: program of" in choice.reason
    assert "passes" in choice.reason


def test_steps_are_followed_once_for_all_keys_that_are_alike(tmp_path, monkeypatch):
    keys = [f"layers.{i}.weight" for i in range(200)]
    for name, some in (("a", keys), ("b", keys[:150])):
        tensors = {key: np.full((2, 1 + i % 3), i, "f4") for i, key in enumerate(some)}
        write_checkpoint(tmp_path / f"{name}.safetensors", tensors, dtype="F32")
    followed = []

    def counted(key, found):
        followed.append(key)
        return common_extent(key, found)

    monkeypatch.setattr("bmerge.plan.values.common_extent", counted)
    plan = _merge(_recipe("twice", 50), tmp_path, tmp_path / "out.safetensors", NativeExecutor())
    assert len(followed) == 50, "not once for each step"
    assert [len(plan.merges), len(plan.copies)] == [150, 50]
    lacking = [line for line in plan.warnings if "b.safetensors: taken from" in line]
    assert len(lacking) == 50
    assert all("50 tensors ('layers.150.weight', …)" in line for line in lacking)
