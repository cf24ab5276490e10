from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from bmerge.architectures import builtin, detect
from bmerge.errors import ExecutorError, MethodError, RecipeError
from bmerge.evaluate.protocols import MergedModel
from bmerge.executors import NativeExecutor
from bmerge.formats import open_checkpoint
from bmerge.pipeline import Merger, merge_into, merge_to_file
from bmerge.pipeline import live as live_module
from bmerge.recipe import BlockWeights, dump_recipe, parse_recipe
from bmerge.testing.checkpoints import read_checkpoint, tiny_sd1, write_checkpoint
from merges import METHODS, names_in, plan_of, recipe_of

KEY = "model.diffusion_model.input_blocks.4.0.in_layers.2.weight"
CONVOLUTION = "model.diffusion_model.input_blocks.0.0.weight"


@dataclass
class Counting:
    """The native executor, which notes what it was asked to compute."""

    together: list = field(default_factory=list)
    """The keys of each call."""
    name: str = "counting"

    @property
    def keys(self):
        return [key for keys in self.together for key in keys]

    def run(self, plan, sink, *, progress=None):
        self.together.append([job.key for job in (*plan.merges, *plan.copies, *plan.fills)])
        return NativeExecutor().run(plan, sink, progress=progress)


def empty_numpy(plan):
    arrays = read_checkpoint(plan.checkpoints[0].path)
    return {t.key: np.zeros(t.shape, arrays[t.key].dtype) for t in plan.outputs}


def empty_torch(plan):
    return {key: torch.from_numpy(array) for key, array in empty_numpy(plan).items()}


def merger_of(models, tmp_path, executor=None, **fields):
    checkpoints = [open_checkpoint(path) for path in models]
    return Merger(
        recipe_of(models, **fields),
        method=METHODS["weighted_sum"],
        checkpoints=checkpoints,
        architecture=detect(checkpoints[0].tensors, builtin()),
        executor=executor or NativeExecutor(),
        scratch=tmp_path / "scratch",
    )


@pytest.mark.parametrize("make", [empty_numpy, empty_torch], ids=["numpy", "torch"])
@pytest.mark.parametrize("channels", [4, 9], ids=["whole", "split"])
def test_live_merge_is_the_file_to_the_bit(tmp_path, models, make, channels):
    other = tiny_sd1(tmp_path / "c.safetensors", 5, in_channels=channels)
    plan = plan_of([models[0], other], alpha=BlockWeights(0.3, {"M00": 0.0, "IN04": 1.0}))
    merge_to_file(plan, tmp_path / "o.safetensors", executor=NativeExecutor())
    live = make(plan)
    merge_into(plan, live, executor=NativeExecutor())
    for key, array in read_checkpoint(tmp_path / "o.safetensors").items():
        assert np.asarray(live[key]).tobytes() == array.tobytes(), key


LAYOUTS = {
    "float32": lambda t: t.float(),
    "bfloat16": lambda t: t.bfloat16(),
    "strided": lambda t: torch.stack([t, t], -1)[..., 0],
    "parameter": torch.nn.Parameter,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_tensors_of_any_kind_get_the_values_of_the_file(tmp_path, models, layout, monkeypatch):
    monkeypatch.setattr(live_module, "_BUFFERED", 100_000)
    plan = plan_of(models)
    merge_to_file(plan, tmp_path / "o.safetensors", executor=NativeExecutor())
    expected = read_checkpoint(tmp_path / "o.safetensors")
    live = {
        key: LAYOUTS[layout](tensor) if tensor.is_floating_point() else tensor
        for key, tensor in empty_torch(plan).items()
    }
    merge_into(plan, live, executor=NativeExecutor())
    for key, array in expected.items():
        wanted = torch.from_numpy(array.copy()).to(live[key].dtype)
        assert torch.equal(live[key].detach(), wanted), key


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_numpy_arrays_of_another_dtype_get_the_values_of_the_file(tmp_path, models, dtype):
    plan = plan_of(models, dtype=dtype)
    merge_to_file(plan, tmp_path / "o.safetensors", executor=NativeExecutor())
    live = {t.key: np.zeros(t.shape, "f8" if t.dtype == dtype else "i8") for t in plan.outputs}
    merge_into(plan, live, executor=NativeExecutor())
    for key, array in read_checkpoint(tmp_path / "o.safetensors").items():
        assert np.array_equal(live[key], array), key


def _tied(kind):
    """Return two tensors of four float64 numbers that share memory, and all of that memory."""
    if kind == "the same place":
        shared = torch.zeros(4, dtype=torch.float64)
        return shared, shared.view(4), shared
    shared = np.zeros(7) if kind == "arrays" else torch.zeros(7, dtype=torch.float64)
    return shared[:4], shared[3:], shared


@pytest.mark.parametrize("kind", ["the same place", "overlap", "arrays"])
def test_tied_tensors_are_never_written_at_the_same_time(tmp_path, kind):
    arrays = {"x.0.w": np.arange(1.0, 5.0), "x.1.w": np.arange(11.0, 15.0)}
    paths = [write_checkpoint(tmp_path / f"{n}.safetensors", arrays, dtype="F64") for n in "ab"]
    first, second, shared = _tied(kind)
    counting = Counting()
    merge_into(plan_of(paths), {"x.0.w": first, "x.1.w": second}, executor=counting)
    assert counting.together == [["x.0.w"], ["x.1.w"]]
    # The second has its own values whole, as it has when one tensor is loaded after the other.
    assert list(shared) == [*[1.0, 2.0, 3.0][: len(shared) - 4], 11.0, 12.0, 13.0, 14.0]


@pytest.mark.parametrize("first", [0, 3], ids=["before", "after"])
def test_tensors_that_share_one_byte_are_never_written_at_the_same_time(tmp_path, first):
    eight = torch.float8_e4m3fn
    tensors = {"x.0.w": torch.arange(1, 5).to(eight), "x.1.w": torch.arange(11, 15).to(eight)}
    paths = [tmp_path / f"{name}.safetensors" for name in "ab"]
    for path in paths:
        save_file(tensors, path)
    shared = torch.zeros(7, dtype=eight)
    live = {"x.0.w": shared[first : first + 4], "x.1.w": shared[3 - first : 7 - first]}
    counting = Counting()
    merge_into(plan_of(paths), live, executor=counting)
    assert counting.together == [["x.0.w"], ["x.1.w"]]
    values = [11.0, 12.0, 13.0, 14.0]
    assert shared.float().tolist() == ([*values, 2.0, 3.0, 4.0] if first else [1, 2, 3, *values])


def test_neighbours_in_memory_are_merged_together(tmp_path):
    arrays = {f"x.{n}.w": np.full(4, float(n)) for n in range(3)} | {"x.3.w": np.zeros(0)}
    paths = [write_checkpoint(tmp_path / f"{n}.safetensors", arrays, dtype="F64") for n in "ab"]
    shared = np.full(12, -1.0)
    parts = (shared[4:8], shared[:4], shared[8:], shared[4:4])
    counting = Counting()
    merge_into(plan_of(paths), dict(zip(arrays, parts, strict=True)), executor=counting)
    assert [sorted(keys) for keys in counting.together] == [sorted(arrays)]
    assert list(shared) == [1.0] * 4 + [0.0] * 4 + [2.0] * 4


def test_a_meta_tensor_stands_for_a_key_that_is_not_wanted(tmp_path, models):
    counting = Counting()
    plan = plan_of(models)
    live = empty_torch(plan)
    live[KEY] = torch.empty(plan.checkpoints[0].tensors[KEY].shape, device="meta")
    merge_into(plan, live, executor=counting)
    assert set(live) - set(counting.keys) == {KEY}


def test_a_trial_tells_its_layout(tmp_path, models):
    trial = merger_of(models, tmp_path).model({})
    shapes = {key: array.shape for key, array in read_checkpoint(models[0]).items()}
    assert trial.layout() == shapes


def without(live):
    del live[KEY]


def misshapen(live):
    live[KEY] = np.zeros((1, 2), "f2")


def no_tensor(live):
    live[KEY] = [1.0]


def read_only(live):
    live[KEY].flags.writeable = False


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without, f"the live model has no tensor '{KEY}'"),
        (misshapen, r"has shape \[1, 2\] there and \[8, 4, 3, 3\] here"),
        (no_tensor, "is a list, not a torch tensor or numpy array"),
        (read_only, "is read-only"),
    ],
)
def test_live_model_that_does_not_fit_is_refused_before_anything_is_written(
    models, change, message
):
    plan = plan_of(models)
    live = empty_numpy(plan)
    change(live)
    with pytest.raises(ExecutorError, match=message) as caught:
        merge_into(plan, live, executor=NativeExecutor())
    assert caught.value.key == KEY
    assert not any(np.any(array) for key, array in live.items() if key != KEY)


def test_only_what_changed_is_merged_again(tmp_path, models):
    executor = Counting()
    merger = merger_of(models, tmp_path, executor)
    live = empty_numpy(merger.plan({}))
    steps = [
        (BlockWeights(0.5), 1131),
        (BlockWeights(0.5), 0),
        (BlockWeights(0.5, {"M00": 0.25}), 46),
        (BlockWeights(0.5, {"M00": 0.0, "IN03": 1.0}), 46 + 2),
        (BlockWeights(0.5, {"IN03": 0.5}), 46 + 2),
    ]
    for weights, count in steps:
        executor.together.clear()
        merger.model({"alpha": weights}).into(live)
        assert len(executor.keys) == count, weights
        fresh = empty_numpy(merger.plan({}))
        merge_into(merger.plan({"alpha": weights}), fresh, executor=NativeExecutor())
        assert all(np.array_equal(live[key], fresh[key]) for key in fresh), weights


def test_another_mapping_or_tensor_is_merged_anew(tmp_path, models):
    executor = Counting()
    merger = merger_of(models, tmp_path, executor)
    live = empty_numpy(merger.plan({}))
    merger.model({}).into(live)
    executor.together.clear()
    merger.model({}).into(dict(live))
    assert len(executor.keys) == 1131
    executor.together.clear()
    other = empty_numpy(merger.plan({}))
    merger.model({}).into(other)
    other[KEY] = np.zeros_like(other[KEY])
    executor.together.clear()
    merger.model({}).into(other)
    assert executor.keys == [KEY]
    assert np.array_equal(other[KEY], live[KEY])


def test_failed_merge_is_not_taken_for_done(tmp_path, models):
    merger = merger_of(models, tmp_path)
    live = empty_numpy(merger.plan({}))
    merger.model({"alpha": BlockWeights(0.5)}).into(live)
    kept = live.pop(KEY)
    with pytest.raises(ExecutorError):
        merger.model({"alpha": BlockWeights(0.6)}).into(live)
    live[KEY] = kept
    merger.model({"alpha": BlockWeights(0.5)}).into(live)
    fresh = empty_numpy(merger.plan({}))
    merge_into(merger.plan({"alpha": BlockWeights(0.5)}), fresh, executor=NativeExecutor())
    assert all(np.array_equal(live[key], fresh[key]) for key in fresh)


def test_trial_is_a_merged_model_with_a_file_until_it_is_closed(tmp_path, models):
    merger = merger_of(models, tmp_path)
    with merger.model({"alpha": BlockWeights(0.25)}) as trial:
        model: MergedModel = trial
        file = model.file()
        assert model.file() == file
        assert file.parent == tmp_path / "scratch"
        merge_to_file(trial.plan, tmp_path / "same.safetensors", executor=NativeExecutor())
        one, other = read_checkpoint(file), read_checkpoint(tmp_path / "same.safetensors")
        assert all(np.array_equal(one[key], other[key]) for key in one)
        with merger.model({}) as second:
            assert second.file() != file
    assert names_in(tmp_path / "scratch") == []


def test_files_of_dead_processes_are_removed(tmp_path, models):
    merger = merger_of(models, tmp_path)
    alive = merger.model({}).file()
    dead = alive.with_name(alive.name.replace(str(os.getpid()), "4194300"))
    dead.write_bytes(b"")
    foreign = alive.with_name("bmerge-elsewhere-4194300-00.safetensors")
    foreign.write_bytes(b"")
    merger_of(models, tmp_path)
    assert sorted(alive.parent.iterdir()) == sorted([alive, foreign])


def test_written_merge_is_what_its_recipe_gives(tmp_path, models):
    merger = merger_of(models, tmp_path, alpha=0.9)
    weights = {"alpha": BlockWeights(0.1, {"OUT03": 0.7})}
    merger.write(weights, tmp_path / "best.safetensors")
    recipe = parse_recipe(dump_recipe(merger.recipe(weights)))
    plan = plan_of(models, alpha=recipe.hyperparameters["alpha"])
    merge_to_file(plan, tmp_path / "again.safetensors", executor=NativeExecutor())
    best, again = (tmp_path / f"{n}.safetensors" for n in ("best", "again"))
    assert best.read_bytes() == again.read_bytes()


def test_hyperparameters_that_are_left_out_are_the_recipes(tmp_path, models):
    merger = merger_of(models, tmp_path, alpha=0.9)
    assert merger.recipe({}).hyperparameters == {"alpha": BlockWeights(0.9)}
    assert merger.plan({}).merges[0].scalars == (0.9,)


@pytest.mark.parametrize(
    ("weights", "error"),
    [
        ({"gamma": BlockWeights(1)}, MethodError),
        ({"alpha": BlockWeights(1, {"X": 1})}, RecipeError),
    ],
)
def test_bad_hyperparameters_are_refused_when_the_trial_is_made(tmp_path, models, weights, error):
    with pytest.raises(error):
        merger_of(models, tmp_path).model(weights)


def test_merge_and_live_merge_import_neither_torch_nor_numpy(tmp_path, models):
    import subprocess
    import sys
    from pathlib import Path

    code = (
        "import sys; from pathlib import Path; from bmerge.formats import open_checkpoint;"
        "from bmerge.architectures import *; from bmerge.plan import make_plan;"
        "from bmerge.recipe import *; from bmerge.pipeline import merge_to_file;"
        "from bmerge.executors import choose_executor, probe;"
        "from bmerge_plugins.methods.weighted_sum import weighted_sum;"
        "probe._has_driver = lambda: False;"
        "models = [open_checkpoint(path) for path in sys.argv[2:]];"
        "recipe = Recipe('weighted_sum', tuple(map(ModelRef, sys.argv[2:])));"
        "plan = make_plan(recipe, method=weighted_sum, checkpoints=models,"
        " architecture=detect(models[0].tensors, builtin()));"
        "merge_to_file(plan, Path(sys.argv[1]), executor=choose_executor(plan).executor);"
        "assert not {'torch', 'numpy', 'optuna'} & set(sys.modules)"
    )
    out = tmp_path / "out.safetensors"
    subprocess.run([sys.executable, "-c", code, out, *models], check=True)
    assert Path(out).exists()


def test_live_models_are_not_aligned(models):
    plan = plan_of(models, rebasin=1)
    with pytest.raises(ExecutorError, match="aligned in files only") as caught:
        merge_into(plan, empty_numpy(plan), executor=NativeExecutor())
    assert "bmerge rebasin A B" in caught.value.hint


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux tells what is mapped")
def test_checkpoints_stay_mapped_as_long_as_their_merger(tmp_path, models):
    def mapped():
        lines = Path("/proc/self/maps").read_text().splitlines()
        return {str(path) for path in models if any(str(path) in line for line in lines)}

    merger = merger_of(models, tmp_path)
    live = empty_numpy(merger.plan({}))
    for alpha in (0.25, 0.5):
        with merger.model({"alpha": BlockWeights(alpha)}) as model:
            model.into(live)
        assert mapped() == {str(path) for path in models}
    del merger, model
    assert mapped() == set()
