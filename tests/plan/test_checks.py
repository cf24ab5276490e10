"""A merge that would merge nothing is refused, and what it leaves out is a warning."""

from __future__ import annotations

import numpy as np
import pytest

from bmerge.architectures import builtin, detect
from bmerge.errors import ArchitectureError, RecipeError
from bmerge.formats import in_one_layout, open_checkpoint
from bmerge.testing import read_checkpoint, write_checkpoint
from bmerge.testing.checkpoints import sdxl_layout, shrink, write_random
from merges import assert_near, plan_of

PREFIX = "model.diffusion_model."
TEXT = "cond_stage_model.transformer."
FLUX = [
    "img_in.weight", *(f"double_blocks.{i}.img_attn.qkv.weight" for i in range(2)),
    *(f"single_blocks.{i}.linear1.weight" for i in range(3)), "final_layer.linear.weight",
]  # fmt: skip


def flux(path, seed, *, prefix="", extra=(), shape=(4, 3)):
    random = np.random.default_rng(seed)
    keys = [*(prefix + key for key in FLUX), *extra]
    return write_checkpoint(path, {key: random.standard_normal(shape, "f4") for key in keys})


def layers(path, **tensors):
    """Write a model of two layers with other tensors in each."""
    named = {f"layers.{i}.{key}": value for i in range(2) for key, value in tensors.items()}
    return write_checkpoint(path, named)


def half(path):
    return {key.removeprefix(PREFIX): 0.5 * value for key, value in read_checkpoint(path).items()}


@pytest.mark.parametrize("whole_first", [True, False], ids=["whole first", "bare first"])
@pytest.mark.parametrize("kind", ["sdxl", "flux"])
def test_a_whole_model_and_its_unet_alone_are_merged(bmerge, tmp_path, kind, whole_first):
    if kind == "sdxl":
        layout = shrink(sdxl_layout("F32"))
        bare = [(k.removeprefix(PREFIX), *rest) for k, *rest in layout if k.startswith(PREFIX)]
        files = [
            write_random(tmp_path / "whole.safetensors", layout, seed=1),
            write_random(tmp_path / "unet.safetensors", bare, seed=2),
        ]
    else:
        vae = [f"vae.decoder.{i}.weight" for i in range(2)]
        files = [
            flux(tmp_path / "whole.safetensors", 1, prefix=PREFIX, extra=vae),
            flux(tmp_path / "unet.safetensors", 2),
        ]
    whole, unet = files
    out = tmp_path / "o.safetensors"
    called = bmerge("merge", "weighted_sum", *(files if whole_first else files[::-1]), "-o", out)
    assert called.status == 0, called.err
    first = read_checkpoint(files[0] if whole_first else files[1])
    second = half(unet if whole_first else whole)
    expected = {
        key: 0.5 * value + second[key.removeprefix(PREFIX)]
        if key.removeprefix(PREFIX) in second
        else value
        for key, value in first.items()
    }
    assert_near(read_checkpoint(out), expected, bits=22, least=2.0**-6)
    said = "not in unet.safetensors" if whole_first else "only in whole.safetensors"
    others = {k for k in read_checkpoint(whole) if not k.startswith(PREFIX)}
    count = len(others) - (kind == "sdxl" and whole_first)  # position ids are not merged
    assert f"warning: {count} tensors" in called.err
    assert said in called.err


def test_a_lora_on_a_unet_alone_has_the_weights_of_the_whole_models_blocks(bmerge, tmp_path):
    flux(tmp_path / "whole.safetensors", 1, prefix=PREFIX)
    flux(tmp_path / "unet.safetensors", 2)
    name = "lora_unet_single_blocks_1_linear1"
    write_checkpoint(
        tmp_path / "lora.safetensors",
        {f"{name}.lora_up.weight": np.ones((4, 1)), f"{name}.lora_down.weight": np.ones((1, 3))},
    )
    (tmp_path / "recipe.yaml").write_text("""
        method: weighted_sum
        models:
          - whole.safetensors
          - {path: unet.safetensors, loras: [{path: lora.safetensors, weight: {L01: 3, "*": 0}}]}
        hyperparameters: {alpha: 1}
    """)
    out = tmp_path / "o.safetensors"
    called = bmerge("merge", tmp_path / "recipe.yaml", "-o", out)
    assert called.status == 0, called.err
    key = "single_blocks.1.linear1.weight"
    tuned = read_checkpoint(tmp_path / "unet.safetensors")[key] + 3
    np.testing.assert_allclose(read_checkpoint(out)[PREFIX + key], tuned, rtol=1e-6)


@pytest.mark.parametrize(
    ("first", "second", "names"),
    [
        ([PREFIX + "a.w", "vae.w"], ["a.w", "a.v"], [PREFIX + "a.w", PREFIX + "a.v"]),
        (["a.w"], [PREFIX + "a.w", PREFIX + "b.w", "vae.w"], ["a.w", "b.w", "vae.w"]),
        ([PREFIX + "a.w"], ["b.w", "c.w"], ["b.w", "c.w"]),
        ([PREFIX + "a.w"], ["a.w", "b.w"], [PREFIX + "a.w", "b.w"]),
        ([PREFIX + "a.w", "a.w"], ["a.w"], ["a.w"]),
        (["a.w"], ["a.w", PREFIX + "a.w"], ["a.w", PREFIX + "a.w"]),
        (["vae.w"], ["vae.w", PREFIX + "a.w"], ["vae.w", PREFIX + "a.w"]),
        ([PREFIX + "a.w", "vae.encoder.w"], [PREFIX + "a.w", TEXT + "encoder.w"],
         [PREFIX + "a.w", TEXT + "encoder.w"]),
    ],
    ids=["bare", "whole", "strange", "partly strange", "both first", "both", "part", "kinds"],
)  # fmt: skip
def test_keys_go_by_those_of_the_model_before(tmp_path, first, second, names):
    checkpoints = [
        open_checkpoint(write_checkpoint(tmp_path / f"{i}.safetensors", dict.fromkeys(keys, 1.0)))
        for i, keys in enumerate((first, second))
    ]
    same, other = in_one_layout(checkpoints)
    assert same == checkpoints[0]
    assert list(other.tensors) == [info.key for info in other.tensors.values()] == names
    before = checkpoints[1].tensors.values()
    assert [i.offset for i in other.tensors.values()] == [i.offset for i in before]


def test_each_model_goes_by_all_that_are_before_it(tmp_path):
    files = [
        flux(tmp_path / "whole.safetensors", 1, prefix=PREFIX, extra=["vae.w"]),
        write_checkpoint(tmp_path / "vae.safetensors", {"vae.w": np.ones((4, 3))}),
        flux(tmp_path / "unet.safetensors", 2),
    ]
    *_, unet = in_one_layout([open_checkpoint(path) for path in files])
    assert list(unet.tensors) == [PREFIX + key for key in FLUX]


def test_plans_are_made_of_one_layout(tmp_path):
    files = [
        flux(tmp_path / "a.safetensors", 1, prefix=PREFIX),
        flux(tmp_path / "b.safetensors", 2),
    ]
    assert [job.key for job in plan_of(files).merges] == [PREFIX + key for key in FLUX]
    assert [job.key for job in plan_of(files[::-1]).merges] == FLUX


def test_models_without_a_tensor_in_common_are_refused(bmerge, tmp_path):
    a = layers(tmp_path / "a.safetensors", w=np.ones(3))
    b = layers(tmp_path / "b.safetensors", v=np.ones(3))
    out = tmp_path / "o.safetensors"
    called = bmerge("merge", "weighted_sum", a, b, "-o", out)
    assert called.status == 1
    assert (
        "error: nothing would be merged: b.safetensors has no 2 tensors ('layers.0.w', …) "
        "of a.safetensors" in called.err
    )
    assert not out.exists()


def test_a_model_of_integers_is_refused(tmp_path):
    paths = [layers(tmp_path / f"{n}.safetensors", n=np.ones(3, "i4")) for n in "ab"]
    with pytest.raises(
        ArchitectureError, match="nothing would be merged: no tensor of floats is in all models"
    ):
        plan_of(paths)


def test_excluding_all_is_refused(tmp_path):
    paths = [layers(tmp_path / f"{n}.safetensors", w=np.ones(3)) for n in "ab"]
    with pytest.raises(RecipeError, match=r"nothing is left to merge: 2 tensors .* excluded"):
        plan_of(paths, exclude=("*",))
    assert len(plan_of(paths, exclude=("layers.0*",)).merges) == 1


def test_a_step_that_merges_nothing_is_refused_by_name(bmerge, tmp_path):
    layers(tmp_path / "a.safetensors", w=np.ones(3), v=np.ones(3))
    layers(tmp_path / "b.safetensors", w=np.ones(3), v=np.ones(3))
    layers(tmp_path / "c.safetensors", w=np.ones(3))
    recipe = tmp_path / "r.yaml"
    recipe.write_text("""
        models: {a: a.safetensors, b: b.safetensors, c: c.safetensors}
        steps:
          one: {method: weighted_sum, models: [a, b]}
          two: {method: weighted_sum, models: [a, c]}
          out: {pick: {"*.w": one, "*.v": two}}
    """)
    called = bmerge("merge", recipe, "-o", tmp_path / "o.safetensors")
    assert called.status == 1
    assert "step 'two': nothing would be merged: c.safetensors has no 2 tensors" in called.err
    recipe.write_text(
        recipe.read_text().replace('"*.w": one, "*.v": two', '"*.w": two, "*.v": one')
    )
    called = bmerge("merge", recipe, "-o", tmp_path / "o.safetensors")
    assert called.status == 0, called.err


def test_a_step_whose_floats_are_integers_elsewhere_is_refused_by_name(bmerge, tmp_path):
    for name in "ab":
        layers(tmp_path / f"{name}.safetensors", w=np.ones(3))
    layers(tmp_path / "c.safetensors", w=np.ones(3, "i8"))
    recipe = tmp_path / "r.yaml"
    recipe.write_text("""
        models: {a: a.safetensors, b: b.safetensors, c: c.safetensors}
        steps:
          one: {method: weighted_sum, models: [a, c]}
          out: {method: weighted_sum, models: [one, b]}
    """)
    called = bmerge("merge", recipe, "-o", tmp_path / "o.safetensors")
    assert called.status == 1
    assert "step 'one': nothing would be merged: no tensor of floats is in all" in called.err


def test_a_step_that_no_key_needs_is_no_mistake_beside_another(bmerge, tmp_path):
    for name in "ab":
        layers(tmp_path / f"{name}.safetensors", w=np.ones(3))
    recipe = tmp_path / "r.yaml"
    recipe.write_text("""
        models: {a: a.safetensors, b: b.safetensors}
        steps:
          one: {method: weighted_sum, models: [a, b]}
          two: {method: add_difference, models: [b, a, b]}
          out: {fallback: [one, two]}
    """)
    called = bmerge("merge", recipe, "-o", tmp_path / "o.safetensors")
    assert called.status == 0, called.err
    recipe.write_text(recipe.read_text().replace("fallback: [one, two]", "fallback: [a, one, two]"))
    called = bmerge("merge", recipe, "-o", tmp_path / "p.safetensors")
    assert called.status == 1
    assert "nothing would be merged: no tensor is taken from a step that merges" in called.err
    assert "'fallback' of 'out' takes from each only what all before it lack" in called.err
    assert not (tmp_path / "p.safetensors").exists()


def test_parts_that_are_only_picked_need_no_merge(bmerge, tmp_path):
    flux(tmp_path / "a.safetensors", 1, prefix=PREFIX, extra=["vae.x.weight"])
    flux(tmp_path / "b.safetensors", 2, prefix=PREFIX, extra=["vae.x.weight", "te.w"])
    (tmp_path / "r.yaml").write_text("""
        models: {a: a.safetensors, b: b.safetensors}
        steps: {out: {pick: {unet: a, vae: b}}}
    """)
    called = bmerge("merge", tmp_path / "r.yaml", "-o", tmp_path / "o.safetensors")
    assert called.status == 0, called.err
    assert "warning" not in called.err


@pytest.mark.parametrize("name", ["sdxl", "sd1", "sdxl-vae"])
def test_an_architecture_that_knows_no_tensor_is_refused(bmerge, tmp_path, name):
    paths = [flux(tmp_path / f"{n}.safetensors", i) for i, n in enumerate("ab")]
    out = tmp_path / "o.safetensors"
    called = bmerge("merge", "weighted_sum", *paths, "--arch", name, "-o", out)
    assert called.status == 1
    assert f"error: {name} puts all 7 tensors into one block, BASE" in called.err
    assert "these are generic:single_blocks.3" in called.err
    assert not out.exists()
    assert bmerge("merge", "weighted_sum", *paths, "--arch", "generic", "-o", out).status == 0


def test_an_autoencoder_may_be_of_a_named_architecture(bmerge, tmp_path):
    keys = ("first_stage_model.decoder.conv_in.weight", "first_stage_model.quant_conv.weight")
    paths = [
        write_checkpoint(tmp_path / f"{n}.safetensors", dict.fromkeys(keys, np.ones(3)))
        for n in "ab"
    ]
    out = tmp_path / "o.safetensors"
    called = bmerge("merge", "weighted_sum", *paths, "--arch", "sdxl", "-o", out)
    assert called.status == 0, called.err


def test_integers_that_differ_are_noted(tmp_path):
    shared, places = np.arange(3), "te.embeddings.position_ids"
    for name, number in (("a", 1), ("b", 2), ("c", 1)):
        tensors = {"w": np.ones(3), "n": np.array([number]), "same": shared, places: shared}
        layers(tmp_path / f"{name}.safetensors", **tensors)
    a, b, c = (tmp_path / f"{name}.safetensors" for name in "abc")
    expected = "2 tensors ('layers.0.n', …) of I64 that differ: taken from a.safetensors"
    assert plan_of([a, b]).notes == (expected,)
    assert plan_of([a, c]).notes == ()
    assert plan_of([a, c, b], method="add_difference").notes == (expected,)
    longer = layers(tmp_path / "d.safetensors", w=np.ones(3), n=np.ones(2, "i8"))
    assert "of I64 that differ" in plan_of([a, longer]).notes[0]


def test_weights_that_are_left_out_are_a_warning_and_leftovers_are_not(tmp_path):
    a = layers(tmp_path / "a.safetensors", w=np.ones(3))
    text = write_checkpoint(
        tmp_path / "text.safetensors",
        {**{f"layers.{i}.w": np.ones(3) for i in range(2)}, "te.w": np.ones(3)},
    )
    ema = write_checkpoint(
        tmp_path / "ema.safetensors",
        {**{f"layers.{i}.w": np.ones(3) for i in range(2)}, "model_ema.decay": np.ones(3)},
    )
    count = write_checkpoint(
        tmp_path / "count.safetensors",
        {**{f"layers.{i}.w": np.ones(3) for i in range(2)}, "n": np.ones(3, "i4")},
    )
    plan = plan_of([a, text])
    assert plan.warnings == ("tensor 'te.w' only in text.safetensors: left out",)
    assert plan_of([text, a]).warnings == (
        "tensor 'te.w' not in a.safetensors: taken from text.safetensors",
    )
    for other, key in ((ema, "model_ema.decay"), (count, "n")):
        plan = plan_of([a, other])
        assert (plan.warnings, len(plan.notes)) == ((), 1)
        assert f"tensor '{key}' only in" in plan.notes[0]
    plan = plan_of([ema, a])
    assert (plan.warnings, len(plan.notes)) == ((), 1)


def test_layouts_of_one_architecture_are_detected_as_one(tmp_path):
    paths = [
        flux(tmp_path / "a.safetensors", 1, prefix=PREFIX),
        flux(tmp_path / "b.safetensors", 2),
    ]
    found = in_one_layout([open_checkpoint(path) for path in paths])
    assert len({detect(each.tensors, builtin()).id for each in found}) == 1
