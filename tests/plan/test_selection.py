"""Tensors that a merge leaves alone or leaves out; position ids that other tools have broken."""

from __future__ import annotations

import numpy as np
import pytest

from bmerge.errors import RecipeError
from bmerge.formats import open_checkpoint
from bmerge.testing.checkpoints import tiny_sd1, write_checkpoint, write_random
from bmerge.testing.layouts import sd1_layout, sdxl_layout, shrink
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
        ("M00,IN01", "name each of them by itself: --exclude may be repeated"),
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
    with pytest.raises(RecipeError, match="first model has no tensor in the block 'BASE'"):
        plan_of([unet, unet], exclude=("BASE",))


def test_prune_leaves_out_what_only_training_needs(models):
    plan = plan_of(models, prune=True)
    assert {t.key for t in plan.outputs} == set(open_checkpoint(models[1]).tensors)
    assert plan.notes == ("4 tensors ('model_ema.decay', …) pruned",)
    assert plan.outputs[0].offset == 0
    assert len(plan_of(models).outputs) == len(plan.outputs) + 4


MARKERS = {
    "v_pred": (0,), "ztsnr": (0,), "edm_vpred.sigma_max": (), "edm_vpred.sigma_min": (),
    "edm_mean": (4,), "edm_std": (4,), "denoiser.log_var.scale": (1,),
}  # fmt: skip


def test_prune_keeps_markers_by_which_loaders_know_a_model(tmp_path):
    marked = [*shrink(sdxl_layout()), *((key, "F32", shape) for key, shape in MARKERS.items())]
    training = [("model_ema.decay", "F32", ()), ("first_stage_model.loss.logvar", "F32", (1,))]
    paths = [
        write_random(tmp_path / f"{seed}.safetensors", [*marked, *training], seed=seed)
        for seed in (1, 2)
    ]
    plan = plan_of(paths, prune=True)
    assert {t.key: t.shape for t in plan.outputs} == {key: shape for key, _, shape in marked}
    assert plan.notes == ("2 tensors ('model_ema.decay', …) pruned",)


def test_prune_keeps_every_text_encoder_and_what_it_does_not_know(tmp_path):
    # The refiner's blocks are those of SD1, its text encoder is that of SDXL.
    unet = [e for e in shrink(sd1_layout()) if e[0].startswith("model.diffusion_model.")]
    others = [
        ("conditioner.embedders.0.model.ln_final.weight", "F16", (4,)),
        ("text_encoders.t5xxl.transformer.shared.weight", "F16", (4,)),
        ("betas_of_another_kind.weight", "F16", (4,)),
        ("optimizers_choice", "F16", (4,)),
    ]
    path = write_random(tmp_path / "refiner.safetensors", [*unet, *others], seed=1)
    plan = plan_of([path, path], prune=True)
    assert len(plan.outputs) == len(unet) + len(others)
    assert plan.notes == ("no EMA weights or the like: nothing pruned",)


def test_prune_works_for_any_architecture_and_refuses_to_leave_nothing(tmp_path):
    keys = {f"ema.layers.{i}.w": [1.0] for i in (0, 1)}
    only = write_checkpoint(tmp_path / "ema.safetensors", keys)
    with pytest.raises(RecipeError, match="prune: nothing would be left") as caught:
        plan_of([only, only], prune=True)
    assert "EMA weights alone" in str(caught.value.hint)
    both = write_checkpoint(tmp_path / "both.safetensors", {**keys, "layers.0.w": [1.0]})
    assert [t.key for t in plan_of([both, both], prune=True).outputs] == ["layers.0.w"]


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
