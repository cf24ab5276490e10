"""Recipes of several steps: one pass gives the bytes of a merge for each step."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from bmerge import (
    BmergeError,
    Difference,
    RecipeError,
    Weight,
    load_registry,
    make_plan,
    merge_method,
    ops,
)
from bmerge.executors import NativeExecutor, choose_executor
from bmerge.executors.torch import TorchExecutor
from bmerge.formats import open_checkpoint
from bmerge.host.merges import architecture_of, open_models, plan_merge
from bmerge.pipeline import merge_to_file
from bmerge.plan import describe
from bmerge.recipe import ModelRef, Recipe, dump_recipe, parse_recipe
from bmerge.testing import read_checkpoint, write_checkpoint

SHAPES = {
    "model.diffusion_model.input_blocks.1.0.w": (33, 65),
    "model.diffusion_model.middle_block.1.w": (5, 3, 3, 3),
    "model.diffusion_model.output_blocks.2.b": (67,),
    "model.diffusion_model.output_blocks.3.one": (1,),
    "model.diffusion_model.output_blocks.4.scalar": (),
    "model.diffusion_model.output_blocks.5.empty": (0, 3),
    "cond_stage_model.w": (40, 30),
    "first_stage_model.w": (3, 1030),
}
REGISTRY = load_registry()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Fine-tunes of one base in several formats, with integers and a key that one lacks."""
    folder = tmp_path_factory.mktemp("steps")
    random = np.random.default_rng(0)
    base = {key: random.standard_normal(shape) for key, shape in SHAPES.items()}
    for name, dtype in {"base": "F32", "a": "F16", "b": "BF16", "c": "F32"}.items():
        tensors = {
            key: value + 0.3 * random.standard_normal(value.shape) * (name != "base")
            for key, value in base.items()
            if (name, key) != ("b", "cond_stage_model.w")
        }
        path = folder / f"{name}.safetensors"
        write_checkpoint(path, {key: np.float32(t) for key, t in tensors.items()}, dtype=dtype)
    return folder


def merged(recipe, folder, output, executor=None):
    """Merge a recipe, given as text or as what one is, into a file."""
    recipe = parse_recipe(recipe) if isinstance(recipe, str) else recipe
    plan = plan_merge(recipe, open_models(recipe.models, folder), REGISTRY)
    chosen = executor or choose_executor(plan).executor
    merge_to_file(plan, output, executor=chosen, metadata=False)
    return output.read_bytes()


STEPS = {
    "elementwise": """
        mix: {method: weighted_sum, models: [a, b], hyperparameters: {alpha: 0.3}}
        sum: {method: add_difference, models: [mix, c, base], hyperparameters: {alpha: 0.7}}
        out: {method: triple_sum, models: [sum, mix, a]}
    """,
    "blocks and copies": """
        mix: {method: weighted_sum, models: [a, b], hyperparameters: {alpha: {"*": 0, M00: 0.5}}}
        out:
          method: weighted_sum
          models: [c, mix]
          hyperparameters: {alpha: {"*": 1, OUT02: 0.2}}
    """,
    "reductions": """
        one: {method: slerp, models: [a, b], hyperparameters: {alpha: 0.4}}
        two: {method: ties, models: [base, one, c, a], hyperparameters: {density: 0.4}}
        out: {method: slerp, models: [two, one]}
    """,
    "seeds": """
        one: {method: dare_linear, models: [base, a, b], seed: 7}
        two: {method: dare_linear, models: [base, a, b], seed: 8}
        tre: {method: add_noise, models: [one], hyperparameters: {alpha: 0.1}}
        out: {method: linear, models: [one, two, tre]}
    """,
    "whole tensors": """
        one: {method: top_k_tensor_sum, models: [a, b], hyperparameters: {alpha: 0.5, beta: 0.2}}
        two: {method: della, models: [base, one, c], seed: 3}
        tre: {method: della, models: [base, one, c], seed: 4}
        out: {method: weighted_sum, models: [two, tre]}
    """,
}  # fmt: skip


def _parsed(steps):
    used = [n for n in ("base", "a", "b", "c") if re.search(rf"\b{n}\b", steps)]
    models = ", ".join(f"{name}: {name}.safetensors" for name in used)
    return parse_recipe(
        f"models: {{{models}}}\ndtype: fp32\nseed: 5\narchitecture: sd1\nsteps: {steps}"
    )


def _one_by_one(recipe, folder, tmp_path):
    """Merge step by step, every result a float32 file; return the bytes of the last."""
    files = {model.name: str(folder / model.path) for model in recipe.models}
    for step in recipe.in_order():
        models = tuple(ModelRef(files[value.name]) for value in step.inputs)
        seed = recipe.seed if step.seed is None else step.seed
        single = Recipe(
            step.method, models, step.hyperparameters, "F32", "sd1", seed, options=step.options
        )
        files[step.name] = str(tmp_path / f"{step.name}.safetensors")
        data = merged(single, folder, tmp_path / f"{step.name}.safetensors")
    return data


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
def test_one_pass_gives_the_bytes_of_one_merge_after_the_other(folder, tmp_path, steps):
    recipe = _parsed(steps)
    apart = _one_by_one(recipe, folder, tmp_path)
    assert merged(recipe, folder, tmp_path / "whole.safetensors") == apart


@pytest.mark.parametrize("name", ["elementwise", "reductions", "seeds"])
def test_executors_and_threads_agree(folder, tmp_path, name):
    recipe = _parsed(STEPS[name])
    executors = [NativeExecutor(threads=1), NativeExecutor(threads=4), TorchExecutor("cpu")]
    if name == "reductions":  # whose sums differ by one unit in the last place
        executors.pop()
    results = [merged(recipe, folder, tmp_path / "o.safetensors", each) for each in executors]
    assert all(result == results[0] for result in results)


def _arrays(folder, *names):
    files = (read_checkpoint(folder / f"{name}.safetensors") for name in names)
    return [{key: array.astype("f8") for key, array in file.items()} for file in files]


def test_steps_are_what_an_oracle_says(folder, tmp_path):
    steps = """
        mix: {method: weighted_sum, models: [a - c, c - base], hyperparameters: {alpha: 1}}
        two: {method: weighted_sum, models: [a - base, mix]}
        out:
          method: add
          models: [c, two, a - base, 0]
          hyperparameters: {weight_1: 0.5, weight_2: 2}
    """
    merged(_parsed(steps), folder, tmp_path / "out.safetensors")
    result = read_checkpoint(tmp_path / "out.safetensors")
    base, a, c = _arrays(folder, "base", "a", "c")
    for key in SHAPES:
        two = 0.5 * (a[key] - base[key]) + 0.5 * (c[key] - base[key])
        exact = c[key] + 0.5 * two + 2 * (a[key] - base[key])
        np.testing.assert_allclose(result[key], exact, atol=3e-6)


def test_parts_and_fallbacks_are_copied(folder, tmp_path):
    steps = """
        full: {fallback: [b, a]}
        mix: {method: weighted_sum, models: [c, full]}
        out: {pick: {"*": mix, text_encoder: full, "first_stage_model.*": a, OUT02-OUT03: base}}
    """
    recipe = _parsed(steps)
    plan = plan_merge(recipe, open_models(recipe.models, folder), REGISTRY)
    assert {job.key: job.source.file.stem for job in plan.copies} == {
        "model.diffusion_model.output_blocks.2.b": "base",
        "model.diffusion_model.output_blocks.3.one": "base",
    }
    assert describe(plan)["steps"]["full"] == "b, else a"
    merged(recipe, folder, tmp_path / "out.safetensors")
    result = read_checkpoint(tmp_path / "out.safetensors")
    a, b, c = _arrays(folder, "a", "b", "c")
    np.testing.assert_array_equal(result["cond_stage_model.w"], a["cond_stage_model.w"])
    np.testing.assert_array_equal(result["first_stage_model.w"], a["first_stage_model.w"])
    key = "model.diffusion_model.middle_block.1.w"
    np.testing.assert_allclose(result[key], (b[key] + c[key]) / 2, atol=1e-6)


def test_difference_can_be_written_and_added_again(folder, tmp_path):
    recipe = "models: {a: a.safetensors, base: base.safetensors}\nresult: a - base\ndtype: fp32\n"
    merged(recipe + "content: difference\n", folder, tmp_path / "delta.safetensors")
    back = f"""
models:
  base: base.safetensors
  delta: {{path: {tmp_path}/delta.safetensors, content: difference}}
steps: {{out: {{method: add, models: [base, delta]}}}}
"""
    merged(back, folder, tmp_path / "back.safetensors")
    a, back = (
        read_checkpoint(folder / "a.safetensors"),
        read_checkpoint(tmp_path / "back.safetensors"),
    )
    for key in SHAPES:
        np.testing.assert_allclose(back[key], a[key], atol=1e-6)


REFUSED = {
    "{out: {method: add, models: [a, base]}}": (
        "step 'out': add takes a difference as its input 2, 'base', a model, is given"
    ),
    "{out: {method: weighted_sum, models: [a, a - base]}}": (
        "weighted_sum takes a model as its input 2, 'a - base', a difference, is given"
    ),
    "{out: {method: slerp, models: [0, a - base]}}": "the result is a difference, not a model",
    """{d: {method: linear, models: [a - base, a - base]},
        out: {method: linear, models: [a - d, base]}}""": (
        "'a - d' subtracts a difference from a model"
    ),
    "{out: {method: add_difference, models: [a, base, 0]}}": "takes a model as its input 3, '0'",
    """{out: {method: linear, models: [0, 0]},
        x: {method: add, models: [a, out, a - base]}}""": (
        "step 'out': linear is given nothing but 0"
    ),
    """{d: {fallback: [a, a - base]}, out: {method: linear, models: [d, base]}}""": (
        "fallback takes a model as its input 2"
    ),
    "{out: {method: weighted_sum, models: [a, base, a]}}": "step 'out': weighted_sum takes 2",
    "{out: {method: slerp, models: [a, base], hyperparameters: {beta: 1}}}": (
        "step 'out': slerp has no hyperparameter 'beta'"
    ),
    "{out: {pick: {'*': a, clip: base}}}": "'clip' is not a component, block or pattern of keys",
    "{out: {pick: {'*': a, 'x.*': base}}}": "step 'out': base.safetensors has no tensors of 'x.*'",
}


@pytest.mark.parametrize(("steps", "message"), REFUSED.items(), ids=REFUSED.values())
def test_what_does_not_fit_together_is_refused(folder, tmp_path, steps, message):
    text = "models: {a: a.safetensors, base: base.safetensors}\narchitecture: sd1\nsteps: "
    with pytest.raises(BmergeError) as caught:
        merged(text + steps, folder, tmp_path / "out.safetensors")
    assert message in str(caught.value)


def test_simple_recipe_with_a_model_for_a_difference_is_refused(folder, tmp_path):
    with pytest.raises(
        RecipeError, match="add takes a difference as its input 2, 'model 2', a model"
    ):
        merged("method: add\nmodels: [a.safetensors, c.safetensors]", folder, tmp_path / "o")


def test_channels_that_differ_are_merged_through_all_steps(tmp_path):
    key = "model.diffusion_model.input_blocks.0.0.weight"
    random = np.random.default_rng(1)
    arrays = {}
    for name, channels in {"a": 4, "b": 9, "base": 4}.items():
        arrays[name] = random.standard_normal((6, channels, 3, 3)).astype("f4")
        write_checkpoint(tmp_path / f"{name}.safetensors", {key: arrays[name]}, dtype="F32")
    steps = "{out: {method: add, models: [a, b - base], hyperparameters: {weight: 0.5}}}"
    merged(_parsed(steps), tmp_path, tmp_path / "out.safetensors")
    result = read_checkpoint(tmp_path / "out.safetensors")[key]
    a, b, base = arrays["a"], arrays["b"], arrays["base"]
    np.testing.assert_allclose(result[:, :4], a + 0.5 * (b[:, :4] - base), atol=1e-6)
    np.testing.assert_array_equal(result[:, 4:], b[:, 4:])
    again = """
        one: {method: add, models: [a, b - base]}
        out: {method: weighted_sum, models: [one, b]}
    """
    with pytest.raises(BmergeError, match="has other input channels from step to step"):
        merged(_parsed(again), tmp_path, tmp_path / "out.safetensors")


@merge_method
def learned(a, b, *, share: Weight = 1.0) -> Difference:
    """Return a share of what a has learned beyond b."""
    return share * (a - b)


@merge_method
def of_first(a, b) -> Difference:
    """Return a as it is and call it a difference: for a step that a plan could pass over."""
    del b
    return a


@pytest.mark.parametrize("added", ["learned", "of_first"])
def test_a_model_is_never_passed_on_as_a_difference(tmp_path, added):
    """Where a step has nothing to subtract, there is no difference, not the model itself."""
    weight, lacking, integers = (f"model.diffusion_model.out.{n}.weight" for n in range(3))
    numbers = {n: {weight: np.full(4, float(k))} for n, k in {"a": 5, "b": 3, "c": 100}.items()}
    for name in ("a", "c"):
        numbers[name][lacking] = np.full(3, 7.0)
    for name, tensors in numbers.items():
        tensors[integers] = np.arange(3) + ord(name)
        write_checkpoint(tmp_path / f"{name}.safetensors", tensors)
    recipe = parse_recipe(f"""
        models: {{a: a.safetensors, b: b.safetensors, c: c.safetensors}}
        architecture: sd1
        steps:
          d: {{method: {added}, models: [a, b]}}
          out: {{method: add, models: [c, d], hyperparameters: {{weight: 1}}}}
    """)
    known = {each.name: each for each in (learned, of_first, REGISTRY.method("add"))}
    checkpoints = open_models(recipe.models, tmp_path)
    arch = architecture_of("sd1", checkpoints, REGISTRY)
    plan = make_plan(recipe, method=known, checkpoints=checkpoints, architecture=arch)
    merge_to_file(plan, tmp_path / "o.safetensors", executor=NativeExecutor())
    result = read_checkpoint(tmp_path / "o.safetensors")
    assert list(result[weight]) == [100 + (2 if added == "learned" else 5)] * 4
    assert list(result[lacking]) == [7.0] * 3
    assert list(result[integers]) == [ord("c"), ord("c") + 1, ord("c") + 2]


@merge_method
def mean_of(a):
    """Return one number for the whole tensor."""
    return ops.mean(a)


@merge_method
def column_norms(a, b):
    """Return one number per column, without using a."""
    return ops.vector_norm(b, axis=0)


@pytest.mark.parametrize("executor", [NativeExecutor(), TorchExecutor("cpu")], ids=lambda e: e.name)
def test_result_of_one_number_is_one_per_element_for_the_next_step(folder, tmp_path, executor):
    recipe = _parsed(
        "{m: {method: mean_of, models: [a]}, n: {method: column_norms, models: [a, m]}}"
    )
    checkpoints = open_models(recipe.models, folder)
    known = {"mean_of": mean_of, "column_norms": column_norms}
    arch = architecture_of("sd1", checkpoints, REGISTRY)
    plan = make_plan(recipe, method=known, checkpoints=checkpoints, architecture=arch)
    merge_to_file(plan, tmp_path / "o.safetensors", executor=executor)
    result, (a,) = read_checkpoint(tmp_path / "o.safetensors"), _arrays(folder, "a")
    for key in ("cond_stage_model.w", "model.diffusion_model.input_blocks.1.0.w"):
        exact = np.abs(a[key].mean()) * np.sqrt(len(a[key]))
        np.testing.assert_allclose(result[key], np.full(a[key].shape, exact), rtol=1e-5)


def test_metadata_tells_all_steps(folder, tmp_path):
    recipe = _parsed(STEPS["seeds"])
    plan = plan_merge(recipe, open_models(recipe.models, folder), REGISTRY)
    merge_to_file(plan, tmp_path / "o.safetensors", executor=NativeExecutor())
    stored = json.loads(open_checkpoint(tmp_path / "o.safetensors").metadata["bmerge.recipe"])
    assert stored["steps"]["one"]["seed"] == 7
    assert stored["steps"]["out"]["hyperparameters"]["weight_1"] == 1.0
    assert stored["models"]["a"]["name"] == "a.safetensors"
    assert len(stored["models"]["a"]["sha256"]) == 64


def test_dump_loads_back_equal():
    for steps in STEPS.values():
        recipe = _parsed(steps)
        assert parse_recipe(dump_recipe(recipe)) == recipe
