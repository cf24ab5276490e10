"""LoRAs in whole merges: the command line, recipes, metadata, studies' live models, mistakes."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmerge import LoraRef, ModelRef, Recipe, load_recipe
from bmerge.architectures import builtin
from bmerge.formats import open_checkpoint, sha256_of
from bmerge.recipe import BlockWeights, dump_recipe, parse_recipe, parse_weights
from bmerge.testing import read_checkpoint, tiny_sd1, tiny_sdxl, write_checkpoint
from loras import low_rank

UNET = "model.diffusion_model."
QUERY = f"{UNET}input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight"
CONV = f"{UNET}output_blocks.5.0.in_layers.2.weight"
TEXT = "cond_stage_model.transformer.text_model.encoder.layers.2.mlp.fc1.weight"
NAMES = {
    QUERY: "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q",
    CONV: "lora_unet_up_blocks_1_resnets_2_conv1",
    TEXT: "lora_te_text_model_encoder_layers_2_mlp_fc1",
}


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return read_checkpoint(tiny_sd1(tmp_path / "model.safetensors", 1))


@pytest.fixture
def write_lora(tmp_path, model):
    """Write a LoRA of three layers; return the change of each key."""

    def write(name, seed=0, keys=tuple(NAMES), more=()):
        rng = np.random.default_rng(seed)
        tensors, changes = {}, {}
        for key in keys:
            roles, changes[key] = low_rank(rng, model[key].shape, rank=2, alpha=1)
            tensors |= {f"{NAMES[key]}.{role}": array for role, array in roles.items()}
        write_checkpoint(tmp_path / name, {**tensors, **dict(more)})
        return changes

    return write


def _assert_baked(out, model, changes, weight_of):
    merged = read_checkpoint(out)
    assert list(merged) == list(model)
    for key, array in merged.items():
        if weight := weight_of(key) if key in changes else 0:
            exact = model[key].astype("f8") + weight * changes[key]
            assert np.all(np.abs(array - exact) <= np.abs(exact) * 2.0**-11 * 1.01 + 1e-6), key
        else:
            assert array.tobytes() == model[key].tobytes(), key


def test_add_difference_bakes_a_lora(bmerge, model, write_lora, tmp_path):
    changes = write_lora("x.safetensors")
    words = ("model.safetensors", "--lora", "x.safetensors=0.8", "-o", "out.safetensors")
    called = bmerge("merge", "add_difference", *words)
    assert called.status == 0, called.err
    assert "x.safetensors (LoRA) changes 3 tensors of 3 layers" in called.err
    _assert_baked(tmp_path / "out.safetensors", model, changes, lambda key: 0.8)


@pytest.mark.parametrize("executor", ["native", "torch"])
def test_weight_may_differ_from_block_to_block(executor, bmerge, model, write_lora, tmp_path):
    changes = write_lora("x.safetensors")
    lora = "x.safetensors=IN00-IN05=0.25,OUT05=-1,*=0"
    words = ("model.safetensors", "--lora", lora, "-o", "out.safetensors")
    called = bmerge("merge", "add_difference", *words, "--executor", executor)
    assert called.status == 0, called.err
    weights = {QUERY: 0.25, CONV: -1, TEXT: 0}
    _assert_baked(tmp_path / "out.safetensors", model, changes, weights.get)


def test_weight_of_the_method_counts_too(bmerge, model, write_lora, tmp_path):
    changes = write_lora("x.safetensors")
    lora, alpha = ("--lora", "x.safetensors=2"), ("--alpha", "IN01=0.5,*=0.25")
    words = ("model.safetensors", *lora, *alpha, "-o", "out.safetensors")
    assert bmerge("merge", "weighted_sum", *words).status == 0
    weights = {QUERY: 1, CONV: 0.5, TEXT: 0.5}
    _assert_baked(tmp_path / "out.safetensors", model, changes, weights.get)


def test_models_that_are_all_there_get_the_lora_each(bmerge, model, write_lora, tmp_path):
    changes = write_lora("x.safetensors")
    other = read_checkpoint(tiny_sd1(tmp_path / "b.safetensors", 2))
    words = ("model.safetensors", "b.safetensors", "--lora", "x.safetensors=0.5", "--alpha", "0.3")
    assert bmerge("merge", "weighted_sum", *words, "-o", "out.safetensors").status == 0
    merged = read_checkpoint(tmp_path / "out.safetensors")
    for key, change in changes.items():
        exact = 0.7 * model[key].astype("f8") + 0.3 * other[key] + 0.5 * change
        assert np.all(np.abs(merged[key] - exact) <= np.abs(exact) * 2.0**-11 * 1.01 + 1e-5)


def test_method_of_any_number_of_models_takes_each_lora_as_one(bmerge, model, write_lora, tmp_path):
    first, second = write_lora("x.safetensors", 1), write_lora("y.safetensors", 2)
    loras = ("--lora", "x.safetensors=0.5", "--lora", "y.safetensors")
    words = ("model.safetensors", *loras, "--density", "1", "-o", "out.safetensors")
    called = bmerge("merge", "ties", *words)
    assert called.status == 0, called.err
    merged = read_checkpoint(tmp_path / "out.safetensors")
    for key in NAMES:
        deltas = np.stack([0.5 * first[key], second[key]])
        sign = np.sign(deltas.sum(axis=0))
        agree = np.sign(deltas) == sign
        mean = (deltas * agree).sum(axis=0) / np.maximum(agree.sum(axis=0), 1)
        exact = model[key].astype("f8") + mean
        np.testing.assert_allclose(merged[key], exact, rtol=2e-3, atol=1e-4)


def test_recipe_in_the_metadata_and_in_a_file_give_the_same_bytes(
    bmerge, model, write_lora, tmp_path
):
    write_lora("x.safetensors")
    loras = ("--lora", "x.safetensors=M00=0.5,*=0.8")
    bmerge("merge", "add_difference", "model.safetensors", *loras, "-o", "one.safetensors")
    told = json.loads(open_checkpoint("one.safetensors").metadata["bmerge.recipe"])
    (lora,) = told["models"][1]["loras"]
    assert lora["name"] == "x.safetensors"
    assert lora["sha256"] == sha256_of(tmp_path / "x.safetensors")
    assert lora["weight"] == {"*": 0.8, "M00": 0.5}
    for entry in told["models"]:
        entry["path"] = entry.pop("name")
    for entry in told["models"][1]["loras"]:
        entry["path"] = entry.pop("name")
    del told["version"]
    (tmp_path / "recipe.json").write_text(json.dumps(told))
    called = bmerge("merge", "recipe.json", "-o", "two.safetensors")
    assert called.status == 0, called.err
    one, two = ((tmp_path / f"{name}.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two


RECIPE = """
method: weighted_sum
models:
  - a.safetensors
  - path: a.safetensors
    loras: [x.safetensors, {path: y.safetensors, weight: {IN00-IN05: 0.5, "*": -1}}]
architecture: sd1
"""


def test_recipe_with_loras_loads_back_equal():
    recipe = parse_recipe(RECIPE)
    first, second = recipe.models[1].loras
    assert (first.path, first.weights.of("M00")) == ("x.safetensors", 1)
    sd1 = next(known for known in builtin() if known.id == "sd1")
    assert second.weights == parse_weights("IN00-IN05=0.5,*=-1", sd1)
    assert parse_recipe(dump_recipe(recipe)) == recipe


@pytest.mark.parametrize(
    ("loras", "message"),
    [
        ("[{weight: 1}]", "no 'path'"),
        ("[{path: x, wieght: 1}]", "unknown key 'wieght'"),
        ("[{path: x, weight: much}]", "'much'"),
        ("x.safetensors", "must be a list"),
        ("[{path: x, sha256: 12}]", "sha256"),
    ],
)
def test_mistakes_in_a_recipe_are_named_with_their_line(loras, message, tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text(
        f"method: passthrough\narchitecture: sd1\nmodels:\n- path: a\n  loras: {loras}\n"
    )
    with pytest.raises(Exception, match=message) as error:
        load_recipe(file)
    assert error.value.line == 5


def test_lora_of_another_model_is_refused(bmerge, model, tmp_path):
    rng = np.random.default_rng(0)
    roles, _ = low_rank(rng, (4, 4))
    name = "lora_unet_transformer_blocks_7_attn_to_q"
    tensors = {f"{name}.{role}": array for role, array in roles.items()}
    write_checkpoint(tmp_path / "flux.safetensors", tensors)
    words = ("model.safetensors", "--lora", "flux.safetensors", "-o", "out.safetensors")
    called = bmerge("merge", "add_difference", *words)
    assert called.status == 1
    assert "error: flux.safetensors changes nothing in model.safetensors\n" in called.err
    assert name in called.err
    assert "the model's: " in called.err
    assert not (tmp_path / "out.safetensors").exists()


def test_lora_of_other_sizes_is_refused(bmerge, model, tmp_path):
    roles, _ = low_rank(np.random.default_rng(0), (5, 7))
    write_checkpoint(
        tmp_path / "x.safetensors", {f"{NAMES[QUERY]}.{role}": a for role, a in roles.items()}
    )
    called = bmerge("merge", "add_difference", "model.safetensors", "--lora", "x.safetensors",
                    "-o", "out.safetensors")  # fmt: skip
    assert called.status == 1
    assert "changes 5 x 7 numbers" in called.err
    assert QUERY in called.err


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        ({"lora_up.weight": (4, 2)}, "has no down"),
        ({"alpha": ()}, "has alpha but no weights"),
        ({"lora_up.weight": (4, 2), "lora_down.weight": (3, 4)}, "do not fit each other"),
        ({"lora_up.weight": (4,), "lora_down.weight": (3, 4)}, "which is not a matrix"),
        ({"hada_w1_a": (4, 2), "hada_w1_b": (2, 4), "hada_w2_a": (4, 2)}, "has no hada_w2_b"),
        ({"lokr_w1": (2, 2), "lokr_w2_a": (2, 1)}, "has no lokr_w2_b"),
        ({"weight": (4, 4)}, "is not a LoRA"),
        ({"oft_r": (2, 2, 2), "alpha": ()}, "are of OFT of early PEFT, which is not read"),
        ({"boft_R": (1, 2, 2, 3), "boft_s": (4, 1)}, "has tensors that do not fit each other"),
        ({"vera_lambda_b": (4,), "vera_lambda_d": (4,)}, "has no vera_A and vera_B"),
        ({"hra_u": (4, 2)}, "is of HRA, and no adapter_config.json beside it says how"),
        ({"randlora_lambda": (2, 2), "randlora_gamma": (2, 2)}, "are of RandLoRA, which is not"),
        (
            {"q_layer.weight": (2, 4), "p_layer.weight": (4, 2), "lambda_layer": (1, 2)},
            "are of T-LoRA, which is not read",
        ),
        ({"oft_diag": (2, 2, 2), "alpha": ()}, "are of OFT of early LyCORIS, which is not read"),
        ({"oft_R.weight": (2, 2, 2)}, "oft_R of shape [2, 2, 2], which are not halves of square"),
        ({"oft_R.default.weight": (2, 5)}, "oft_R of shape [2, 5], which are not halves of square"),
        ({"ia3_l": (2, 4)}, "ia3_l of shape [2, 4], which is not one number for each channel"),
        ({"ia3_l": (1, 4, 1, 1)}, "multiplies outputs or inputs is told nowhere"),
    ],
)
def test_broken_lora_is_one_line(roles, message, bmerge, model, tmp_path):
    tensors = {f"{NAMES[QUERY]}.{role}": np.ones(shape, "f4") for role, shape in roles.items()}
    write_checkpoint(tmp_path / "x.safetensors", tensors)
    called = bmerge("merge", "add_difference", "model.safetensors", "--lora", "x.safetensors",
                    "-o", "out.safetensors")  # fmt: skip
    assert called.status == 1
    assert message in called.err
    assert "Traceback" not in called.err


def test_lora_among_the_models_is_told_where_it_belongs(bmerge, model, write_lora):
    write_lora("x.safetensors")
    for models in (("model", "x"), ("x", "model"), ("x", "x")):  # of the same keys, too
        words = [f"{name}.safetensors" for name in models]
        called = bmerge("merge", "weighted_sum", *words, "-o", "out.safetensors")
        assert called.status == 1
        assert "x.safetensors is a LoRA, not a model" in called.err
        assert "give it by --lora" in called.err
        assert not Path("out.safetensors").exists()


def test_missing_file_bad_weight_and_needless_lora_are_one_line(bmerge, model, write_lora):
    write_lora("x.safetensors")
    base = ("merge", "add_difference", "model.safetensors", "-o", "out.safetensors")
    called = bmerge(*base, "--lora", "nowhere.safetensors=0.5")
    assert (called.status, "no such file: nowhere.safetensors" in called.err) == (1, True)
    called = bmerge(*base, "--lora", "x.safetensors=IN99=2,*=1")
    assert (called.status, "--lora x.safetensors: unknown block 'IN99'" in called.err) == (1, True)
    called = bmerge("merge", "r.yaml", "-o", "out.safetensors", "--lora", "x.safetensors")
    assert (called.status, "a recipe names its own LoRAs" in called.err) == (2, True)


def test_nan_in_a_lora_is_an_error(bmerge, model, write_lora, tmp_path):
    changes = {f"{NAMES[QUERY]}.diff": np.full(model[QUERY].shape, np.nan, "f4")}
    write_checkpoint(tmp_path / "x.safetensors", changes)
    words = ("model.safetensors", "--lora", "x.safetensors", "-o", "out.safetensors")
    called = bmerge("merge", "add_difference", *words)
    assert called.status == 1
    assert "holds NaN or infinity" in called.err
    assert "in model.safetensors with its LoRAs" in called.err
    assert not (tmp_path / "out.safetensors").exists()


def test_layers_and_tensors_that_are_left_out_are_told(bmerge, model, write_lora):
    up, down = np.ones((4, 2), "f4"), np.ones((2, 4), "f4")
    more = {
        "lora_unet_foo.lora_up.weight": up, "lora_unet_foo.lora_down.weight": down,
        "lora_unet_bar.oft_diag": up, "lora_unet_bar.alpha": np.float32(1),
    }  # fmt: skip
    write_lora("x.safetensors", more=more.items())
    words = ("model.safetensors", "--lora", "x.safetensors", "--dry-run")
    called = bmerge("merge", "add_difference", *words)
    assert called.status == 0, called.err
    assert "warning: x.safetensors: the model has no layer 'lora_unet_foo': left out" in called.err
    lost = "warning: x.safetensors: 2 tensors ('lora_unet_bar.oft_diag', …) of no known network"
    assert lost in called.err
    assert "model         model.safetensors + x.safetensors\n" in called.out
    data = json.loads(bmerge("merge", "add_difference", *words, "--json").out)
    assert data["copied"] == 1131 - 3
    (lora,) = data["loras"][1]
    assert set(lora["changed"]) == set(NAMES)
    assert lora["unmatched"] == ["lora_unet_foo"]
    assert lora["weights"] == {"IN01": 1, "OUT05": 1, "BASE": 1}


def _extra(count, known):
    """Return the tensors of layers that no model has, of a known network or of none."""
    role = "diff" if known else "oft_diag"
    return {f"lora_unet_foo_{n}.{role}": np.ones((2, 2), "f4") for n in range(count)}


@pytest.mark.parametrize("known", [True, False], ids=["layers", "networks"])
def test_lora_of_which_most_layers_find_no_place_is_refused(
    known, bmerge, model, write_lora, tmp_path
):
    changes = write_lora("x.safetensors", more=_extra(4, known).items())
    words = ("model.safetensors", "--lora", "x.safetensors", "-o", "out.safetensors")
    called = bmerge("merge", "add_difference", *words)
    assert called.status == 1
    what = "x.safetensors: 4 of its 7 layers do not fit model.safetensors ('lora_unet_foo_0'"
    assert what in called.err
    assert "hint: --partial-loras, or partial_loras: true, adds the others anyway" in (called.err)
    assert not (tmp_path / "out.safetensors").exists()
    called = bmerge("merge", "add_difference", *words, "--partial-loras")
    assert called.status == 0, called.err
    assert "warning: x.safetensors: " in called.err
    assert "4 " in called.err.partition("warning: ")[2]
    _assert_baked(tmp_path / "out.safetensors", model, changes, lambda key: 1)
    told = json.loads(open_checkpoint("out.safetensors").metadata["bmerge.recipe"])
    assert told["partial_loras"] is True


def test_lora_of_which_half_of_the_layers_find_no_place_is_taken(bmerge, model, write_lora):
    write_lora("x.safetensors", more=_extra(3, known=True).items())
    words = ("model.safetensors", "--lora", "x.safetensors", "-o", "out.safetensors")
    called = bmerge("merge", "add_difference", *words)
    assert called.status == 0, called.err
    assert "the model has no 3 layers ('lora_unet_foo_0', …): left out" in called.err


@pytest.mark.parametrize("partial", [True, False])
def test_recipe_says_whether_a_lora_may_lack_most_of_its_places(
    partial, bmerge, model, write_lora, tmp_path
):
    write_lora("x.safetensors", more=_extra(9, known=True).items())
    models = "[model.safetensors, {path: model.safetensors, loras: [x.safetensors]}]"
    text = f"method: weighted_sum\nmodels: {models}\npartial_loras: {str(partial).lower()}\n"
    (tmp_path / "recipe.yaml").write_text(text)
    assert parse_recipe(dump_recipe(parse_recipe(text))).partial_loras is partial
    called = bmerge("merge", "recipe.yaml", "-o", "out.safetensors")
    assert called.status == (0 if partial else 1), called.err


def test_first_convolution_of_an_inpainting_model(bmerge, model, tmp_path):
    wide = tiny_sd1(tmp_path / "inpainting.safetensors", 2, in_channels=9)
    key = f"{UNET}input_blocks.0.0.weight"
    before = read_checkpoint(wide)[key].astype("f8")
    change = np.random.default_rng(0).normal(size=before.shape).astype("f4")
    write_checkpoint(tmp_path / "x.safetensors", {"lora_unet_conv_in.diff": change})
    (tmp_path / "recipe.yaml").write_text(
        "method: weighted_sum\nmodels:\n- model.safetensors\n"
        "- {path: inpainting.safetensors, loras: [x.safetensors]}\nhyperparameters: {alpha: 0.5}\n"
    )
    called = bmerge("merge", "recipe.yaml", "-o", "out.safetensors")
    assert called.status == 0, called.err
    exact = before + change
    exact[:, :4] = 0.5 * exact[:, :4] + 0.5 * model[key]
    merged = read_checkpoint(tmp_path / "out.safetensors")[key]
    np.testing.assert_allclose(merged, exact, rtol=1e-3, atol=1e-4)


def test_bake_leaves_no_temporary_file_and_imports_no_torch(model, write_lora, tmp_path):
    write_lora("x.safetensors")
    code = (
        "import sys\nfrom bmerge.cli import main\n"
        "try:\n  main(['merge', 'add_difference', 'model.safetensors', '--lora', 'x.safetensors',"
        " '-o', 'out.safetensors'])\nfinally:\n  print('torch' in sys.modules)"
    )
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={"TMPDIR": str(temporary), "HOME": str(tmp_path)},
    )  # fmt: skip
    assert result.stdout.splitlines()[-1] == "False"
    assert list(temporary.iterdir()) == []


def test_no_space_for_temporary_files_is_one_line(bmerge, model, write_lora, monkeypatch):
    write_lora("x.safetensors")

    def full(info):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("bmerge.lora.patch.patched_blocks", full)
    words = ("model.safetensors", "--lora", "x.safetensors", "-o", "out.safetensors")
    called = bmerge("merge", "add_difference", *words, "--executor", "torch")
    assert called.status == 1
    assert "No space left on device" in called.err
    assert "TMPDIR" in called.err
    assert not Path("out.safetensors").exists()


names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=8)
numbers = st.floats(-4, 4)
weights = st.builds(
    BlockWeights, numbers, st.dictionaries(st.sampled_from(["BASE", "M00", "OUT11"]), numbers)
)
loras = st.builds(LoraRef, names, weights, st.none() | st.just("0" * 64))


@settings(max_examples=50)
@given(st.lists(st.builds(ModelRef, names, loras=st.lists(loras, max_size=3).map(tuple))))
def test_any_recipe_with_loras_loads_back_equal(models):
    recipe = Recipe("weighted_sum", tuple(models))
    assert parse_recipe(dump_recipe(recipe)) == recipe


STEPS = """
models:
  base: model.safetensors
  style: {path: model.safetensors, loras: [{path: x.safetensors, weight: 0.8}]}
steps:
  learned: {method: ties, models: [0, style - base], hyperparameters: {density: 1}}
  out: {method: add, models: [base, learned], hyperparameters: {weight: {M00: 0, "*": 1}}}
architecture: sd1
result: out
"""


def test_lora_is_a_difference_in_a_recipe_of_several_steps(bmerge, model, write_lora, tmp_path):
    changes = write_lora("x.safetensors")
    (tmp_path / "recipe.yaml").write_text(STEPS)
    called = bmerge("merge", "recipe.yaml", "-o", "out.safetensors")
    assert called.status == 0, called.err
    _assert_baked(tmp_path / "out.safetensors", model, changes, lambda key: 0.8)


def test_sdxl_lora_of_kohya(bmerge, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = read_checkpoint(tiny_sdxl(tmp_path / "model.safetensors", 1))
    rng = np.random.default_rng(0)
    fused = "conditioner.embedders.1.model.transformer.resblocks.5.attn.in_proj_weight"
    query = f"{UNET}input_blocks.4.1.transformer_blocks.1.attn2.to_q.weight"
    width = model[fused].shape[0] // 3
    named = {
        "lora_unet_input_blocks_4_1_transformer_blocks_1_attn2_to_q": model[query].shape,
        "lora_te2_text_model_encoder_layers_5_self_attn_v_proj": (width, width),
    }
    tensors, changes = {}, {}
    for name, shape in named.items():
        roles, changes[name] = low_rank(rng, shape, alpha=2)
        tensors |= {f"{name}.{role}": array for role, array in roles.items()}
    write_checkpoint(tmp_path / "x.safetensors", tensors)
    words = ("model.safetensors", "--lora", "x.safetensors=0.5", "-o", "out.safetensors")
    assert bmerge("merge", "add_difference", *words).status == 0
    value = np.zeros(model[fused].shape)
    value[2 * width :] = changes["lora_te2_text_model_encoder_layers_5_self_attn_v_proj"]
    whole = {fused: value, query: changes[next(iter(named))]}
    _assert_baked(tmp_path / "out.safetensors", model, whole, lambda key: 0.5)
