"""Models whose tensors are made of ranges of stored ones: fused in one file, split in another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bmerge.architectures import builtin, detect
from bmerge.executors import NativeExecutor
from bmerge.executors.torch import TorchExecutor
from bmerge.formats import ComposedTensor, open_checkpoint
from bmerge.formats.composed import joined
from bmerge.lora.apply import apply_loras
from bmerge.lora.extract import Wanted, extract_lora
from bmerge.lora.parsing import open_lora
from bmerge.pipeline import Merger, merge_into, merge_to_file
from bmerge.plan import make_plan
from bmerge.recipe import BlockWeights
from bmerge.testing.checkpoints import read_checkpoint, write_checkpoint
from merges import METHODS, assert_near, recipe_of

LAYER = "model.diffusion_model.layers.0.attention"
FUSED = f"{LAYER}.qkv.weight"
OTHER = "model.diffusion_model.layers.0.feed_forward.w1.weight"
PARTS = tuple(f"{LAYER}.to_{name}.weight" for name in "vkq")
"""As they lie in the file: in another order than in the fused tensor."""
EXECUTORS = pytest.mark.parametrize(
    "executor", [NativeExecutor(), TorchExecutor()], ids=["native", "torch"]
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A file with a fused tensor, and one with its three parts."""
    folder, rng = tmp_path_factory.mktemp("composed"), np.random.default_rng(5)

    def draw(*shape):
        return rng.normal(size=shape).astype("f2")

    fused, split = folder / "fused.safetensors", folder / "split.safetensors"
    write_checkpoint(fused, {FUSED: draw(14, 6), OTHER: draw(5, 6)}, dtype="F16")
    rows = dict(zip(PARTS, (draw(4, 6), draw(5, 6), draw(5, 6)), strict=True))
    write_checkpoint(split, {**rows, OTHER: draw(5, 6)}, dtype="F16")
    return fused, split


def in_layout(path):
    """Return a file's checkpoint with the fused tensor, whatever it holds."""
    opened = open_checkpoint(path)
    if FUSED in opened.tensors:
        return opened
    whole = joined([opened.tensors[key] for key in reversed(PARTS)], FUSED)
    assert isinstance(whole, ComposedTensor)
    return replace(opened, tensors={FUSED: whole, OTHER: opened.tensors[OTHER]})


def values(path):
    """Return what a file holds, with the fused tensor."""
    found = read_checkpoint(path)
    if FUSED in found:
        return found
    return {FUSED: np.concatenate([found[key] for key in reversed(PARTS)]), OTHER: found[OTHER]}


def plan_in_layout(paths, checkpoints=None, **fields):
    checkpoints = checkpoints or [in_layout(path) for path in paths]
    architecture = detect(checkpoints[0].tensors, builtin())
    recipe = recipe_of(paths, **fields)
    return make_plan(
        recipe, method=METHODS[recipe.method], checkpoints=checkpoints, architecture=architecture
    )


def mixed(first, second, alpha):
    return {
        key: (1 - alpha) * first[key].astype("f8") + alpha * second[key].astype("f8")
        for key in first
    }


@EXECUTORS
@pytest.mark.parametrize("turned", [False, True], ids=["fused first", "split first"])
def test_ranges_of_stored_tensors_merge_like_one(executor, turned, files, tmp_path):
    paths = files[::-1] if turned else files
    plan = plan_in_layout(paths, alpha=0.3)
    report = merge_to_file(plan, tmp_path / "out.safetensors", executor=executor)
    one, other = map(values, paths)
    assert_near(read_checkpoint(report.output), mixed(one, other, 0.3))


@EXECUTORS
def test_what_is_kept_of_ranges_is_copied_to_the_bit(executor, files, tmp_path):
    plan = plan_in_layout(files[::-1], alpha=0.0)
    assert [job.key for job in plan.copies] == [FUSED, OTHER]
    report = merge_to_file(plan, tmp_path / "out.safetensors", executor=executor)
    assert report.execution.bytes_copied == 2 * (14 + 5) * 6
    merged, kept = read_checkpoint(report.output), values(files[1])
    assert list(merged) == list(kept)
    assert all(merged[key].tobytes() == kept[key].tobytes() for key in kept)


@EXECUTORS
def test_kept_ranges_of_another_dtype_are_converted(executor, files, tmp_path):
    plan = plan_in_layout(files[::-1], alpha=0.0, dtype="F32")
    report = merge_to_file(plan, tmp_path / "out.safetensors", executor=executor)
    merged, kept = read_checkpoint(report.output), values(files[1])
    assert all((merged[key] == kept[key].astype("f4")).all() for key in kept)


def test_live_model_gets_ranges_as_a_file_does(files, tmp_path):
    checkpoints = [in_layout(path) for path in files]
    merger = Merger(
        recipe_of(files),
        method=METHODS["weighted_sum"],
        checkpoints=checkpoints,
        architecture=detect(checkpoints[0].tensors, builtin()),
        executor=NativeExecutor(),
        scratch=tmp_path,
    )
    live = {key: np.zeros_like(array) for key, array in values(files[0]).items()}
    for alpha in (0.25, 1.0):
        with merger.model({"alpha": BlockWeights(alpha)}) as model:
            model.into(live)
            written = read_checkpoint(model.file())
        assert all((live[key] == written[key]).all() for key in live)
        assert_near(live, mixed(*map(values, files), alpha))
    assert (live[FUSED] == values(files[1])[FUSED]).all()


@EXECUTORS
def test_lora_on_ranges_changes_the_rows_that_it_is_for(executor, files, tmp_path):
    rng = np.random.default_rng(8)
    up, down = rng.normal(size=(14, 2)).astype("f4"), rng.normal(size=(2, 6)).astype("f4")
    name = "diffusion_model.layers.0.attention.qkv"
    path = tmp_path / "lora.safetensors"
    write_checkpoint(path, {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up})
    patched = apply_loras(
        in_layout(files[1]), [(open_lora(path), lambda _: 0.5)], block_of=lambda _: "BASE"
    )
    plan = plan_in_layout(files, [in_layout(files[0]), patched], alpha=0.6)
    live = {key: np.zeros_like(array) for key, array in values(files[0]).items()}
    merge_into(plan, live, executor=executor)
    changed = dict(values(files[1]))
    changed[FUSED] = changed[FUSED].astype("f8") + 0.5 * (up.astype("f8") @ down.astype("f8"))
    assert_near(live, mixed(values(files[0]), changed, 0.6))


def test_lora_is_extracted_from_ranges(files, tmp_path):
    base, tuned = in_layout(files[0]), in_layout(files[1])
    output = tmp_path / "lora.safetensors"
    extract_lora(base, tuned, output, wanted=Wanted(rank=6))
    patched = apply_loras(base, [(open_lora(output), lambda _: 1.0)], block_of=lambda _: "BASE")
    plan = plan_in_layout((files[0], files[0]), [base, patched], alpha=1.0, dtype="F32")
    made = {key: np.zeros(array.shape, "f4") for key, array in values(files[0]).items()}
    merge_into(plan, made, executor=NativeExecutor())
    assert np.allclose(made[FUSED], values(files[1])[FUSED].astype("f4"), atol=1e-2)


@EXECUTORS
def test_kept_ranges_of_several_dtypes_become_the_first_ones(executor, tmp_path):
    rng, path = np.random.default_rng(6), tmp_path / "mixed.safetensors"
    rows = {key: rng.normal(size=(4, 6)).astype("f4") for key in (*PARTS, OTHER)}
    write_checkpoint(path, rows, dtype={PARTS[-1]: "F16"})
    plan = plan_in_layout((path, path), alpha=0.0)
    report = merge_to_file(plan, tmp_path / "out.safetensors", executor=executor)
    merged = read_checkpoint(report.output)[FUSED]
    assert merged.dtype == np.float16
    assert (merged == np.concatenate([rows[key] for key in reversed(PARTS)]).astype("f2")).all()
