"""Methods that must know the whole model first: the pass before the merge."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bmerge.architectures import builtin, detect
from bmerge.errors import ExecutorError, RecipeError
from bmerge.executors import NativeExecutor
from bmerge.executors.torch import TorchExecutor
from bmerge.formats import open_checkpoint
from bmerge.pipeline import Merger, merge_into, merge_to_file
from bmerge.plan import describe, make_plan
from bmerge.recipe import BlockWeights, ModelRef, Recipe, parse_recipe
from bmerge.testing import read_checkpoint, tiny_sd1, write_checkpoint
from method_cases import OFFERED
from oracles import oracle

METHODS = {name: OFFERED[name] for name in ("cosine_b", "weighted_sum")}
EXECUTORS = {
    "native 1": NativeExecutor(threads=1),
    "native 3": NativeExecutor(threads=3),
    "torch": TorchExecutor("cpu"),
}
SHAPES = [(40, 70), (3, 20029), (5,), (), (0, 4), (6, 5, 3, 3)]


@pytest.fixture
def models(tmp_path):
    """Two models whose tensors are alike to different degrees, with an autoencoder."""
    random = np.random.default_rng(1)
    names = [f"layers.{i}.w" for i in range(len(SHAPES))] + ["first_stage_model.w"]
    one = {n: random.standard_normal(s) for n, s in zip(names, [*SHAPES, (9, 9)], strict=True)}
    other = {
        name: array + random.standard_normal(array.shape) * (0.1 + i)
        for i, (name, array) in enumerate(one.items())
    }
    one["layers.0.w"][:, 3] = 0
    return [
        write_checkpoint(tmp_path / f"{name}.safetensors", tensors)
        for name, tensors in (("a", one), ("b", other))
    ]


def _recipe(models, method, **fields):
    return Recipe(
        method, tuple(ModelRef(str(p)) for p in models), {"alpha": BlockWeights(0.2)}, **fields
    )


def _parts(models, method, **fields):
    checkpoints = [open_checkpoint(path) for path in models]
    architecture = detect(checkpoints[0].tensors, builtin())
    method = OFFERED[method]
    recipe = _recipe(models, method.name, **fields)
    return recipe, {
        "method": method, "checkpoints": checkpoints, "architecture": architecture
    }  # fmt: skip


def _plan(models, method, **fields):
    recipe, parts = _parts(models, method, **fields)
    return make_plan(recipe, **parts)


def _limits(models, method):
    """Return the least and the greatest cosine of the whole model, as supermerger takes them."""
    a, b = (read_checkpoint(path) for path in models)
    values = []
    for key in a:
        if not key.startswith("first_stage_model.") and a[key].size:
            x, y = (np.atleast_1d(m[key].astype("f8")) for m in (a, b))
            norms = [np.sqrt((m * m).sum(0)) for m in (x, y)]
            size = norms[0] * norms[1]
            cosine = np.divide((x * y).sum(0), size, out=np.zeros_like(size), where=size > 0)
            if method == "cosine_b":
                whole = np.sqrt((x * x).sum() * (y * y).sum())
                cosine = (cosine + (x * y).sum() / whole) / 2
            values.append(np.ravel(cosine))
    values = np.concatenate(values)
    values = values[values >= np.percentile(values, 1, method="midpoint")]
    values = values[values <= np.percentile(values, 99, method="midpoint")]
    return values.min(), values.max()


@pytest.mark.parametrize("executor", EXECUTORS.values(), ids=EXECUTORS)
@pytest.mark.parametrize("method", ["cosine_a", "cosine_b"])
def test_merge_is_the_formula_with_the_limits_of_the_whole_model(
    tmp_path, models, method, executor
):
    out = tmp_path / "out.safetensors"
    merge_to_file(_plan(models, method), out, executor=executor)
    least, greatest = _limits(models, method)
    a, b = (read_checkpoint(path) for path in models)
    for key, merged in read_checkpoint(out).items():
        if merged.size:
            x, y = (np.atleast_1d(m[key].astype("f8")) for m in (a, b))
            exact = oracle(method)(x, y, 0.2, least, greatest).reshape(merged.shape)
            np.testing.assert_allclose(merged, exact, atol=3e-5)


@pytest.mark.parametrize("method", ["cosine_a", "cosine_b"])
def test_threads_and_memory_do_not_matter(tmp_path, models, method):
    files = []
    for i, executor in enumerate((NativeExecutor(threads=1), NativeExecutor(1 << 20, threads=4))):
        files.append(tmp_path / f"{i}.safetensors")
        merge_to_file(_plan(models, method), files[-1], executor=executor)
    assert files[0].read_bytes() == files[1].read_bytes()


class Counting:
    """An executor that counts what it reads."""

    name = "counting"

    def __init__(self):
        self.jobs = []

    def run(self, plan, sink, *, progress=None):
        self.jobs.append([job.key for job in plan.merges])
        return NativeExecutor().run(plan, sink, progress=progress)


def test_many_merges_of_the_same_models_measure_once(tmp_path, models):
    counting = Counting()
    recipe, parts = _parts(models, "cosine_a")
    merger = Merger(recipe, **parts, executor=counting, scratch=tmp_path / "scratch")
    live = {key: np.zeros_like(v) for key, v in read_checkpoint(models[0]).items()}
    for alpha in (0.1, 0.4):
        weights = {"alpha": BlockWeights(alpha)}
        with merger.model(weights) as model:
            model.into(live)
            written = read_checkpoint(model.file())
        merge_to_file(
            merger.plan(weights), tmp_path / "alone.safetensors", executor=NativeExecutor()
        )
        alone = read_checkpoint(tmp_path / "alone.safetensors")
        for key, array in alone.items():
            np.testing.assert_array_equal(array, live[key])
            np.testing.assert_array_equal(array, written[key])
    folds = [jobs for jobs in counting.jobs if set(jobs) == {"least", "greatest"}]
    assert len(folds) == 1


def test_pass_that_failed_is_made_again(tmp_path, models):
    class Failing(Counting):
        def run(self, plan, sink, *, progress=None):
            if not self.jobs:
                self.jobs.append([])
                raise ExecutorError("the disk is gone")
            return super().run(plan, sink, progress=progress)

    recipe, parts = _parts(models, "cosine_a")
    merger = Merger(recipe, **parts, executor=Failing(), scratch=tmp_path)
    with pytest.raises(ExecutorError, match="the disk is gone"):
        merger.write({}, tmp_path / "out.safetensors")
    merger.write({}, tmp_path / "out.safetensors")
    merge_to_file(merger.plan({}), tmp_path / "alone.safetensors", executor=NativeExecutor())
    assert (tmp_path / "out.safetensors").read_bytes() == (
        tmp_path / "alone.safetensors"
    ).read_bytes()


def test_live_tensors_get_what_a_file_gets(tmp_path, models):
    live = {key: np.zeros_like(v) for key, v in read_checkpoint(models[0]).items()}
    plan = _plan(models, "cosine_b")
    merge_into(plan, live, executor=NativeExecutor())
    merge_to_file(plan, tmp_path / "out.safetensors", executor=NativeExecutor())
    for key, array in read_checkpoint(tmp_path / "out.safetensors").items():
        np.testing.assert_array_equal(array, live[key])


def test_excluded_tensors_do_not_count(models):
    (measure,) = _plan(models, "cosine_a", exclude=("layers.1.w",)).measures
    keys = {job.key for job in measure.jobs}
    assert keys == {"layers.0.w", "layers.2.w", "layers.3.w", "layers.5.w"}


def test_plan_and_progress_tell_of_the_pass(tmp_path, models):
    plan = _plan(models, "cosine_a")
    (entry,) = describe(plan)["measured"]
    assert (entry["statistics"], entry["tensors"]) == (["least", "greatest"], 5)
    seen = []
    merge_to_file(
        plan, tmp_path / "out.safetensors", executor=NativeExecutor(), progress=seen.append
    )
    ends = [at for at in seen if at.bytes_total and at.bytes_done == at.bytes_total]
    assert 0 in {at.tensors_done for at in ends}
    assert ends[-1].tensors_done == len(plan.outputs)


def test_nothing_to_measure_is_no_error(tmp_path):
    keys = {"first_stage_model.0.w": np.ones((3, 3)), "first_stage_model.1.w": np.ones((3, 3))}
    path = write_checkpoint(tmp_path / "vae.safetensors", keys)
    merge_to_file(
        _plan([path, path], "cosine_a"), tmp_path / "out.safetensors", executor=NativeExecutor()
    )
    np.testing.assert_array_equal(
        read_checkpoint(tmp_path / "out.safetensors")["first_stage_model.0.w"], 1
    )


@pytest.mark.parametrize("executor", EXECUTORS.values(), ids=EXECUTORS)
def test_nan_stops_the_pass_or_is_no_value(tmp_path, models, executor):
    a = read_checkpoint(models[0])
    a["layers.1.w"] = a["layers.1.w"].copy()
    a["layers.1.w"][0, 0] = np.nan
    spoilt = [write_checkpoint(tmp_path / "nan.safetensors", a), models[1]]
    with pytest.raises(ExecutorError, match=r"'layers.1.w' holds NaN or infinity in nan"):
        merge_to_file(_plan(spoilt, "cosine_a"), tmp_path / "out.safetensors", executor=executor)
    plan = _plan(spoilt, "cosine_a", on_nonfinite="report")
    report = merge_to_file(plan, tmp_path / "out.safetensors", executor=executor)
    assert {item.key for item in report.execution.nonfinite} == {"layers.1.w"}
    merged = read_checkpoint(tmp_path / "out.safetensors")
    assert all(np.isfinite(v).all() for key, v in merged.items() if key != "layers.1.w")


def test_command_line_tells_of_the_pass(bmerge, tmp_path):
    paths = [tiny_sd1(tmp_path / f"{i}.safetensors", i) for i in range(2)]
    shown = bmerge("merge", "cosineA", *paths, "--dry-run")
    assert "measures      least, greatest of 882 tensors in a pass of its own" in shown.out
    out = tmp_path / "out.safetensors"
    called = bmerge("merge", "cosine_b", *paths, "--alpha", 0.3, "-o", out)
    assert called.status == 0, called.err
    assert "measuring least, greatest of 882 tensors" in called.err
    stored = json.loads(bmerge("inspect", out, "--json").out)["metadata"]["bmerge.recipe"]
    assert set(stored["hyperparameters"]) == {"alpha"}


@pytest.mark.parametrize("executor", EXECUTORS.values(), ids=EXECUTORS)
def test_step_of_a_recipe_measures_its_own_models(tmp_path, models, executor):
    first, second = _files_of_two_steps(tmp_path, models, executor)
    for key, array in first.items():
        np.testing.assert_allclose(second[key], array, rtol=1e-6, atol=1e-6)


def _files_of_two_steps(tmp_path, models, executor):
    """Merge cosine_b and then weighted_sum with a file in between, and in one pass."""
    between = tmp_path / "between.safetensors"
    merge_to_file(_plan(models, "cosine_b"), between, executor=executor)
    merge_to_file(
        _plan([between, models[1]], "weighted_sum"), tmp_path / "one.safetensors", executor=executor
    )
    plan = _steps_plan(models, cosine=["a", "b"], result=["cosine", "b"])
    assert [name for name, _ in plan.measures[0].folds] == ["cosine.least", "cosine.greatest"]
    merge_to_file(plan, tmp_path / "two.safetensors", executor=executor)
    return read_checkpoint(tmp_path / "one.safetensors"), read_checkpoint(
        tmp_path / "two.safetensors"
    )


def _steps_plan(models, **steps):
    recipe = parse_recipe(
        json.dumps({
            "models": {name: str(path) for name, path in zip("ab", models, strict=True)},
            "steps": {
                name: {
                    "method": "cosine_b" if name == "cosine" else "weighted_sum",
                    "models": inputs,
                    "hyperparameters": {"alpha": 0.2},
                }
                for name, inputs in steps.items()
            },
            "result": "result",
        })
    )  # fmt: skip
    checkpoints = [open_checkpoint(path) for path in models]
    architecture = detect(checkpoints[0].tensors, builtin())
    return make_plan(recipe, method=METHODS, checkpoints=checkpoints, architecture=architecture)


def test_statistic_of_what_another_step_computes_is_refused(models):
    with pytest.raises(RecipeError, match="step 'cosine': it takes a statistic of whole models"):
        _steps_plan(models, mixed=["a", "b"], cosine=["mixed", "b"], result=["cosine", "a"])
