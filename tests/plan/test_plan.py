from __future__ import annotations

import struct

import numpy as np
import pytest

from bmerge.architectures import builtin, detect
from bmerge.dtypes import BITS
from bmerge.errors import ArchitectureError, MethodError, RecipeError
from bmerge.formats import open_checkpoint
from bmerge.plan import Jobs, build_plan, describe, make_plan, match_tensors
from bmerge.recipe import BlockWeights, dump_recipe, parse_recipe, parse_weights
from bmerge.testing.checkpoints import tiny_sd1, tiny_sdxl, write_checkpoint, write_random
from bmerge.testing.layouts import sd1_layout, shrink
from merges import METHODS, plan_of, recipe_of
from quantised import write_layout

POSITIONS = "cond_stage_model.transformer.text_model.embeddings.position_ids"
CONVOLUTION = "model.diffusion_model.input_blocks.0.0.weight"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    tiny_sd1(folder / "a.safetensors", 1)
    tiny_sd1(folder / "b.safetensors", 2, "F32")
    return folder


@pytest.fixture
def models(folder):
    return [folder / "a.safetensors", folder / "b.safetensors"]


def of_key(plan, key):
    jobs = (*plan.merges, *plan.copies, *plan.fills, *plan.splits)
    return next(job for job in jobs if job.key == key)


def changed(path, drop=(), extra=(), retype=None):
    """Write a tiny SD1 checkpoint that lacks some keys, has others, or other dtypes."""
    layout = [
        (key, (retype or {}).get(key, dtype), shape)
        for key, dtype, shape in shrink(sd1_layout())
        if not key.startswith(tuple(drop))
    ]
    return write_random(path, [*layout, *extra], seed=3)


def test_output_has_the_keys_order_and_dtypes_of_the_first_model(models):
    plan = plan_of(models)
    first = open_checkpoint(models[0])
    assert [(t.key, t.dtype, t.shape) for t in plan.outputs] == [
        (info.key, info.dtype, info.shape) for info in first.tensors.values()
    ]
    offsets = [tensor.offset for tensor in plan.outputs]
    ends = [tensor.offset + tensor.nbytes for tensor in plan.outputs]
    assert offsets == [0, *ends[:-1]]
    assert plan.nbytes_written == ends[-1] == first.nbytes
    assert plan.nbytes_read == sum(open_checkpoint(m).nbytes for m in models) - 77 * 8


def test_every_output_is_written_by_one_job(models):
    plan = plan_of(models, alpha=BlockWeights(0.5, {"M00": 0.0, "IN03": 1.0}))
    jobs = (*plan.merges, *plan.copies, *plan.fills, *plan.splits)
    assert sorted(job.key for job in jobs) == sorted(tensor.key for tensor in plan.outputs)


def test_scalars_are_those_of_the_keys_block(models):
    weights = BlockWeights(0.5, {"IN04": 0.25, "OUT11": 0.75})
    plan = plan_of(models, alpha=weights)
    assert {job.block for job in plan.merges} == set(plan.architecture.blocks)
    assert all(job.scalars == (weights.of(job.block),) for job in plan.merges)


def test_equal_arguments_give_equal_plans(models):
    assert plan_of(models) == plan_of(models)


def test_every_tensor_is_rounded_by_random_numbers_of_its_own(models):
    seeds = [job.seed for job in plan_of(models, rounding="stochastic").merges]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize(("alpha", "source"), [(0.0, 0), (1.0, 1)], ids=["first", "second"])
def test_weight_that_keeps_one_input_becomes_a_copy(tmp_path, models, alpha, source):
    paths = [models[0], tiny_sd1(tmp_path / "c.safetensors", 3)]
    plan = plan_of(paths, alpha=alpha)
    assert not plan.merges
    assert {job.source.file for job in plan.copies if "position_ids" not in job.key} == {
        paths[source]
    }


def test_copy_from_another_dtype_converts_one_input(models):
    plan = plan_of(models, alpha=1.0)
    job = of_key(plan, CONVOLUTION)
    assert [info.file for info in job.inputs] == [models[1]]
    assert (job.inputs[0].dtype, job.dtype, job.graph.ops) == ("F32", "F16", {"input"})


def test_dtype_is_for_floats_alone(models):
    plan = plan_of(models, dtype="BF16")
    assert {t.dtype for t in plan.outputs if t.key != POSITIONS} == {"BF16"}
    assert next(t for t in plan.outputs if t.key == POSITIONS).dtype == "I64"
    assert of_key(plan, POSITIONS).source.file == models[0]


@pytest.mark.parametrize("dtype", ["F16", "F32"])
def test_float_position_ids_are_counted_again(tmp_path, models, dtype):
    broken = changed(tmp_path / "x.safetensors", retype={POSITIONS: dtype})
    plan = plan_of([broken, models[1]])
    output = next(tensor for tensor in plan.outputs if tensor.key == POSITIONS)
    assert (output.dtype, output.shape) == ("I64", (1, 77))
    assert struct.unpack("<77q", of_key(plan, POSITIONS).data) == tuple(range(77))
    assert any("position_ids" in note and "repaired" in note for note in plan.notes)


def test_missing_keys_keep_the_first_models_with_a_warning(tmp_path, models):
    part = changed(tmp_path / "part.safetensors", drop=["first_stage_model."])
    plan = plan_of([models[0], part])
    kept = [job for job in plan.copies if job.key.startswith("first_stage_model.")]
    assert len(kept) == 248
    assert all(job.source.file == models[0] for job in kept)
    note = "248 tensors ('first_stage_model.encoder.conv_in.weight', …) not in part.safetensors"
    assert (plan.warnings, plan.notes) == ((f"{note}: taken from a.safetensors",), ())


def test_missing_keys_can_be_an_error(tmp_path, models):
    part = changed(tmp_path / "part.safetensors", drop=["first_stage_model.encoder.conv_in.b"])
    with pytest.raises(ArchitectureError, match="part.safetensors has no tensor 'first_stage"):
        plan_of([models[0], part], on_missing="error")


def test_keys_of_later_models_alone_are_left_out_and_it_is_noted(tmp_path, models):
    more = changed(tmp_path / "more.safetensors", extra=[("model_ema.decay", "F32", ())])
    plan = plan_of([models[0], more])
    assert len(plan.outputs) == 1131
    assert plan.notes == ("tensor 'model_ema.decay' only in more.safetensors: left out",)


def test_vae_alone_merges_with_a_whole_model(tmp_path, models):
    vae = [entry for entry in shrink(sd1_layout()) if entry[0].startswith("first_stage_model.")]
    plan = plan_of([models[0], write_random(tmp_path / "vae.safetensors", vae, seed=1)])
    assert len(plan.merges) == 248


def test_old_text_encoder_keys_are_merged_with_new_ones(tmp_path, models):
    old = tiny_sd1(tmp_path / "old.safetensors", 5, old_text_encoder=True)
    plan = plan_of([models[0], old])
    assert (len(plan.merges), plan.notes) == (1130, ())
    assert len(plan_of([old, models[1]]).merges) == 1130


def test_other_shape_is_an_error_with_key_and_both_shapes(tmp_path, models):
    key = "model.diffusion_model.time_embed.0.bias"
    other = changed(tmp_path / "x.safetensors", drop=[key], extra=[(key, "F16", (3,))])
    with pytest.raises(ArchitectureError) as caught:
        plan_of([models[0], other])
    assert str(caught.value) == f"{key!r} has shape [16] in a.safetensors and [3] in x.safetensors"


@pytest.mark.parametrize("order", [(4, 9), (9, 4), (8, 4), (4, 4, 9), (8, 9)], ids=str)
def test_first_convolution_is_split_by_channels(tmp_path, order):
    paths = [tiny_sd1(tmp_path / f"{i}.safetensors", i, in_channels=n) for i, n in enumerate(order)]
    method = "weighted_sum" if len(order) == 2 else "add_difference"
    plan = plan_of(paths, method=method)
    (job,) = plan.splits
    assert job.key == CONVOLUTION
    assert job.merge.shape == (4, 4, 3, 3)
    assert job.rest.shape[1] == max(order)
    assert job.merge.base is None  # its elements do not lie as those of the model
    assert next(t.shape for t in plan.outputs if t.key == CONVOLUTION) == (4, max(order), 3, 3)
    assert any("input channels" in note for note in plan.notes)


def test_other_number_of_channels_is_an_error(tmp_path):
    paths = [tiny_sd1(tmp_path / f"{n}.safetensors", n, in_channels=n) for n in (4, 6)]
    with pytest.raises(ArchitectureError, match="has shape"):
        plan_of(paths)


def test_different_architectures_are_refused_with_both_names(tmp_path, models):
    xl = tiny_sdxl(tmp_path / "xl.safetensors", 1)
    with pytest.raises(ArchitectureError) as caught:
        plan_of([models[0], xl])
    assert str(caught.value) == (
        "different architectures: a.safetensors is sd1, xl.safetensors is sdxl"
    )


@pytest.mark.parametrize("tag", ["I64", "BOOL", "C64", "F8_E8M0"])
def test_what_is_no_float_elsewhere_is_told_by_its_dtype(tmp_path, tag):
    a, b = (tmp_path / f"{name}.safetensors" for name in "ab")
    for path, other, byte in ((a, "F32", b"\1"), (b, tag, b"\0")):
        layout = [("x.0.w", other, (2,)), ("x.1.n", tag, (1,)), ("x.2.w", "F32", (2,))]
        write_layout(path, layout, contents={"x.1.n": byte * (BITS[tag] // 8)})
    plan = plan_of([a, b])
    assert plan.warnings == (f"tensor 'x.0.w' of {tag} elsewhere: taken from a.safetensors",)
    assert plan.notes == (f"tensor 'x.1.n' of {tag} that differ: taken from a.safetensors",)


def test_integer_elsewhere_is_not_merged(tmp_path):
    paths = [
        write_checkpoint(tmp_path / "a.safetensors", {"x.0.w": [1.0], "x.1.w": [2.0]}),
        write_checkpoint(tmp_path / "b.safetensors", {"x.0.w": np.array([1]), "x.1.w": [2.0]}),
    ]
    plan = plan_of(paths)
    assert [job.key for job in plan.copies] == ["x.0.w"]
    assert plan.warnings == ("tensor 'x.0.w' of I64 elsewhere: taken from a.safetensors",)


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"method": "add_difference"}, MethodError, r"takes 3 models \(a, b, c\), got 2"),
        ({"alpha": BlockWeights(0, {"IN12": 1})}, RecipeError, "alpha: unknown block 'IN12'"),
        ({"method": "tensor_sum", "alpha": 1.5}, MethodError, "alpha = 1.5 is greater than 1"),
    ],
    ids=["models", "block", "bounds"],
)
def test_recipe_that_does_not_fit_is_refused(models, fields, error, message):
    with pytest.raises(error, match=message):
        plan_of(models, **fields)


def test_unknown_hyperparameter_is_refused(models):
    checkpoints = [open_checkpoint(path) for path in models]
    recipe = recipe_of(models)
    recipe = type(recipe)(recipe.method, recipe.models, {"alhpa": BlockWeights(1)})
    with pytest.raises(MethodError, match="no hyperparameter 'alhpa'") as caught:
        make_plan(
            recipe,
            method=METHODS["weighted_sum"],
            checkpoints=checkpoints,
            architecture=detect(checkpoints[0].tensors, builtin()),
        )
    assert caught.value.hint == "did you mean 'alpha'?"


def test_plan_of_a_matching_is_the_plan_made_at_once(models):
    checkpoints = [open_checkpoint(path) for path in models]
    architecture = detect(checkpoints[0].tensors, builtin())
    recipe = recipe_of(models)
    method = METHODS["weighted_sum"]
    matching = match_tensors(recipe, checkpoints, architecture, method=method)
    assert build_plan(recipe, matching=matching) == plan_of(models)


def test_vae_follows_base_in_sdxl_vae(tmp_path):
    paths = [tiny_sdxl(tmp_path / f"{i}.safetensors", i) for i in range(2)]
    checkpoints = [open_checkpoint(path) for path in paths]
    architecture = next(a for a in builtin() if a.id == "sdxl-vae")
    plan = make_plan(
        recipe_of(paths, BlockWeights(0.5, {"BASE": 0.2})),
        method=METHODS["weighted_sum"], checkpoints=checkpoints, architecture=architecture,
    )  # fmt: skip
    assert {job.scalars for job in plan.merges if job.block in {"VAE", "BASE"}} == {(0.2,)}
    assert describe(plan)["blocks"]["VAE"] == {"tensors": 248, "alpha": 0.2}


@pytest.mark.parametrize(
    ("text", "vae"),
    [("*=0.5,BASE=0.2,VAE=0.5", 0.5), ("*=0.5,BASE=0.2", 0.2), ("*=0.2,VAE=0.2,BASE=0.5", 0.2)],
)
def test_a_follower_keeps_its_own_value_even_if_it_is_that_of_all_others(tmp_path, text, vae):
    paths = [tiny_sdxl(tmp_path / f"{i}.safetensors", i) for i in range(2)]
    checkpoints = [open_checkpoint(path) for path in paths]
    architecture = next(a for a in builtin() if a.id == "sdxl-vae")
    recipe = recipe_of(paths, parse_weights(text, architecture))
    for again in (recipe, parse_recipe(dump_recipe(recipe))):
        plan = make_plan(
            again, method=METHODS["weighted_sum"], checkpoints=checkpoints,
            architecture=architecture,
        )  # fmt: skip
        assert {job.scalars for job in plan.merges if job.block == "VAE"} == {(vae,)}


def test_only_keeps_the_jobs_of_some_keys(models):
    keys = {CONVOLUTION, POSITIONS}
    part = plan_of(models).only(keys)
    assert {job.key for job in (*part.merges, *part.copies)} == keys
    assert {tensor.key for tensor in part.outputs} == keys


def test_describe_tells_what_will_be_done(models):
    data = describe(plan_of(models, alpha=BlockWeights(0.5, {"M00": 0.0})))
    assert (data["method"], data["architecture"]) == ("weighted_sum", "sd1")
    assert (data["tensors"], data["merged"], data["copied"]) == (1131, 1084, 47)
    assert data["blocks"]["M00"] == {"tensors": 46, "alpha": 0.0}
    assert sum(block["tensors"] for block in data["blocks"].values()) == 1131
    assert data["dtypes"] == {"F16": 1130, "I64": 1}


@pytest.mark.parametrize("alpha", [
    BlockWeights(0.5), BlockWeights(0.5, {"BASE": 0.0, "IN04": 1.0}),
    BlockWeights(0.0, {}, {"*conv*": 0.3}),
], ids=["one value", "blocks", "keys"])  # fmt: skip
@pytest.mark.parametrize("dtype", [None, "BF16"])
def test_totals_are_those_of_all_jobs_one_by_one(tmp_path, models, alpha, dtype):
    """They are taken from one of each group of jobs that differ in names and extents alone."""
    own = {key: "BF16" for key, *_ in shrink(sd1_layout())[::3] if key != POSITIONS}
    empty = [("model.diffusion_model.out.3.empty", "F32", (0, 4))]
    for pair in ([changed(tmp_path / "c.safetensors", retype=own, extra=empty), models[1]], models):
        jobs = plan_of(pair, alpha=alpha, dtype=dtype).jobs
        assert len(set(map(type, jobs))) > 1 or alpha == BlockWeights(0.5)
        assert jobs.totals == Jobs.of(jobs).totals


def test_integers_that_differ_are_told_though_those_before_them_are_equal(tmp_path):
    paths = []
    for name, last in (("a", 5), ("b", 6)):
        arrays = {"x.0.same": np.arange(3), "x.1.other": np.array([1, 2, last])}
        arrays |= {f"x.{n}.w": np.ones(3, "f4") for n in range(2)}
        paths.append(write_checkpoint(tmp_path / f"{name}.safetensors", arrays))
    said = "tensor 'x.1.other' of I64 that differ: taken from a.safetensors"
    assert plan_of(paths).notes == (said,)


def test_output_of_a_model_with_old_keys_has_them_too(tmp_path, models):
    """Models with old and new keys of a text encoder merge; the first one's keys are kept."""
    (old, new), *_ = plan_of(models).architecture.aliases.items()
    layout = [(k.replace(new, old), dtype, shape) for k, dtype, shape in shrink(sd1_layout())]
    first = write_random(tmp_path / "old.safetensors", layout, seed=3)
    plan = plan_of([first, models[0]])
    keys = [key for key, *_ in layout]
    assert any(key.startswith(old) for key in keys)
    assert [tensor.key for tensor in plan.outputs] == [job.key for job in plan.jobs] == keys
    assert not plan.warnings
