"""Tensors that a merge leaves alone or leaves out; position ids that other tools have broken."""

from __future__ import annotations

import numpy as np
import pytest

from bmerge.errors import RecipeError
from bmerge.formats import open_checkpoint
from bmerge.testing.checkpoints import tiny_sd1, tiny_sdxl, write_checkpoint, write_random
from bmerge.testing.layouts import sd1_layout, shrink
from merges import plan_of

POSITIONS = "cond_stage_model.transformer.text_model.embeddings.position_ids"
LEFTOVERS = ["model_ema.decay", "model_ema.diffusion_modelout0bias", "betas", "optimizer.0.step"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    extra = [(key, "F32", (2,)) for key in LEFTOVERS]
    layout = [*shrink(sd1_layout()), *extra]
    first = write_random(folder / "a.safetensors", layout, seed=1)
    return [first, tiny_sd1(folder / "b.safetensors", 2)]


def _copied(plan):
    return {job.key for job in plan.copies} - {POSITIONS, *LEFTOVERS}


@pytest.mark.parametrize(
    ("patterns", "count", "inside"),
    [
        (["M00"], 46, "model.diffusion_model.middle_block."),
        (["IN03 - IN05"], 76, "model.diffusion_model.input_blocks."),
        (["first_stage_model.*"], 248, "first_stage_model."),
        (["*.norm?.*", "*.norm.*"], 228, "norm"),
        (["model.diffusion_model.out.0.bias"], 1, "model.diffusion_model.out.0.bias"),
        (["M00", "*.middle_block.*.bias"], 46, "middle_block"),
    ],
    ids=["block", "range", "prefix", "inner", "key", "both"],
)
def test_excluded_tensors_are_copied_from_the_first_model(models, patterns, count, inside):
    plan = plan_of(models, exclude=tuple(patterns), dtype="BF16")
    assert len(_copied(plan)) == count
    assert all(inside in key for key in _copied(plan))
    assert {job.source.file for job in plan.copies} == {models[0]}
    assert not any(job.key in _copied(plan) for job in plan.merges)
    assert any("excluded: kept as in a.safetensors" in note for note in plan.notes)


def test_excluded_tensor_may_have_another_shape_elsewhere(tmp_path):
    paths = [
        write_checkpoint(tmp_path / f"{n}.safetensors", {"x.0.w": np.ones(n), "x.1.w": [1.0]})
        for n in (2, 3)
    ]
    plan = plan_of(paths, exclude=("x.0.w",), on_missing="error")
    assert [job.key for job in plan.merges] == ["x.1.w"]


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("M01", "did you mean 'M00'?"),
        ("*.attn11.*", "did you mean 'attn1'?"),
        ("model.diffusion_model.out.0.bais", "did you mean 'model.diffusion_model.out.0.bias'?"),
        ("IN05-IN03", "write IN03-IN05"),
    ],
)
def test_pattern_that_names_nothing_is_an_error_with_the_nearest(models, pattern, hint):
    with pytest.raises(RecipeError) as caught:
        plan_of(models, exclude=("M00", pattern))
    assert repr(pattern) in str(caught.value)
    assert caught.value.hint == hint


def test_block_without_tensors_is_an_error(tmp_path):
    layout = [e for e in shrink(sd1_layout()) if e[0].startswith("model.diffusion_model.")]
    unet = write_random(tmp_path / "unet.safetensors", layout, seed=1)
    with pytest.raises(RecipeError, match="exclude: 'BASE'") as caught:
        plan_of([unet, unet], exclude=("BASE",))
    assert caught.value.hint == "the first model has no tensor in this block"


def test_prune_leaves_out_what_is_no_part_of_the_model(models):
    plan = plan_of(models, prune=True)
    assert {t.key for t in plan.outputs} == set(open_checkpoint(models[1]).tensors)
    assert plan.notes == ("4 tensors ('model_ema.decay', …) pruned",)
    assert plan.outputs[0].offset == 0
    assert len(plan_of(models).outputs) == len(plan.outputs) + 4


def test_prune_keeps_every_part_of_sdxl_and_of_a_unet_alone(tmp_path, models):
    xl = tiny_sdxl(tmp_path / "xl.safetensors", 1)
    assert len(plan_of([xl, xl], prune=True).outputs) == len(open_checkpoint(xl).tensors)
    prefix = "model.diffusion_model."
    layout = [
        (key.removeprefix(prefix), *rest)
        for key, *rest in shrink(sd1_layout())
        if key.startswith(prefix)
    ]
    unet = write_random(tmp_path / "unet.safetensors", layout, seed=1)
    assert len(plan_of([unet, unet], prune=True).outputs) == 686


def test_prune_needs_an_architecture_that_knows_its_parts(tmp_path):
    path = write_checkpoint(tmp_path / "a.safetensors", {"layers.0.w": [1.0], "layers.1.w": [1.0]})
    with pytest.raises(RecipeError, match="prune: .* does not say which keys are parts"):
        plan_of([path, path], prune=True)


@pytest.mark.parametrize("broken", [np.r_[0:40, 40, 40, 42:77], np.zeros(77)], ids=["cast", "zero"])
def test_position_ids_with_wrong_integers_are_repaired(tmp_path, broken):
    keys = {POSITIONS: broken.astype("<i8")[None], "layers.0.w": [1.0], "layers.1.w": [1.0]}
    path = write_checkpoint(tmp_path / "a.safetensors", keys)
    plan = plan_of([path, path])
    assert [fill.data for fill in plan.fills] == [np.arange(77, dtype="<i8").tobytes()]
    assert "position_ids" in plan.notes[0]
    assert "repaired" in plan.notes[0]
    keys[POSITIONS] = np.arange(77, dtype="<i8")[None]
    write_checkpoint(path, keys)
    assert not plan_of([path, path]).fills
