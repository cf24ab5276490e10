"""Configurations of mergekit."""

from __future__ import annotations

import re

import numpy as np
import pytest

from bmerge.errors import RecipeError
from bmerge.foreign import read_any_recipe
from bmerge.recipe import BlockWeights, ModelRef, Pick
from bmerge.testing import read_checkpoint, write_checkpoint

TIES = """\
models:
  - model: base
  - model: a
    parameters: {density: 0.5, weight: 0.3}
  - model: b
    parameters: {weight: 0.6}
merge_method: ties
base_model: base
parameters: {normalize: false, lambda: 1.1, density: 0.9, int8_mask: true}
dtype: bfloat16
out_dtype: float16
"""


def read(tmp_path, text):
    file = tmp_path / "config.yaml"
    file.write_text(text)
    return read_any_recipe(file)


def test_parameters_of_models_go_before_those_of_all(tmp_path):
    recipe = read(tmp_path, TIES)
    assert recipe.method == "ties"
    assert recipe.models == (ModelRef("base"), ModelRef("a"), ModelRef("b"))
    assert {name: w.default for name, w in recipe.hyperparameters.items()} == {
        "weight_1": 0.3, "weight_2": 0.6, "density_1": 0.5, "density_2": 0.9, "scale": 1.1,
    }  # fmt: skip
    assert (recipe.options, recipe.dtype) == ({"normalize": False}, "F16")


LAYERS = 5
KEYS = [
    "model.embed_tokens.weight",
    *(f"model.layers.{i}.{p}.weight" for i in range(LAYERS) for p in ("self_attn.q", "mlp.up")),
    "model.norm.weight",
    "lm_head.weight",
]  # fmt: skip


@pytest.fixture
def models(tmp_path):
    random = np.random.default_rng(0)
    for name in ("a", "b"):
        tensors = {key: random.standard_normal((4, 6)).astype("f4") for key in KEYS}
        (tmp_path / name).mkdir()
        write_checkpoint(tmp_path / name / "model.safetensors", tensors, dtype="F32")
    return [read_checkpoint(tmp_path / n / "model.safetensors") for n in ("a", "b")]


def _layer(key):
    """Return the layer whose value of a list a key has: the last for what comes after them."""
    return int(key.split(".")[2]) if "layers" in key else 0 if "embed" in key else LAYERS - 1


SLERP = """\
slices:
  - sources:
      - {model: a, layer_range: [0, 5]}
      - {model: b, layer_range: [0, 5]}
merge_method: slerp
base_model: b
parameters:
  t:
    - {filter: self_attn, value: [0, 0.5, 1]}
    - {filter: mlp, value: 0.25}
    - value: 0.75
"""
FILTERS = SLERP.replace("[0, 0.5, 1]", "0.5")


def _slerp(x, y, t):
    flat = [v.astype("f8").ravel() for v in (x, y)]
    lengths = [np.linalg.norm(v) for v in flat]
    angle = np.arccos(flat[0] @ flat[1] / np.prod(lengths))
    shares = np.sin((1 - t) * angle), np.sin(t * angle)
    mixed = sum(s * v for s, v in zip(shares, flat, strict=True)) / np.sin(angle)
    return mixed.reshape(x.shape)


def test_filters_and_lists_over_layers_are_carried_out(tmp_path, bmerge, models):
    file = tmp_path / "slerp.yml"
    file.write_text(SLERP)
    called = bmerge("merge", file, "-o", tmp_path / "out.safetensors")
    assert called.status == 0, called.err
    merged = read_checkpoint(tmp_path / "out.safetensors")
    a, b = models
    for key in KEYS:
        layer = int(key.split(".")[2]) if "layers" in key else 0
        t = layer / (LAYERS - 1) if "self_attn" in key else 0.25 if "mlp" in key else 0.75
        expected = b[key] if t == 0 else a[key] if t == 1 else _slerp(b[key], a[key], t)
        np.testing.assert_allclose(merged[key], expected, atol=1e-5, err_msg=key)


def test_filters_are_a_step_each(tmp_path):
    *steps, pick = read(tmp_path, FILTERS).steps
    assert [step.hyperparameters["alpha"] for step in steps] == [
        BlockWeights(0.5), BlockWeights(0.25), BlockWeights(0.75),
    ]  # fmt: skip
    assert isinstance(pick, Pick)
    assert list(pick.parts) == ["*self_attn*", "*mlp*", "*"]


NUSLERP = """\
models:
  - model: a
    parameters: {weight: 1.5}
  - model: b
    parameters: {weight: [0.5, 1.5, 4.5]}
merge_method: nuslerp
"""


def test_nuslerp_is_the_share_of_the_second_weight_in_each_layer(tmp_path, bmerge, models):
    base = {key: np.full((4, 6), 0.25, "f4") for key in KEYS}
    (tmp_path / "base").mkdir()
    write_checkpoint(tmp_path / "base" / "model.safetensors", base, dtype="F32")
    a, b = models
    t = {0: 0.25, 1: 0.4, 2: 0.5, 3: 3 / 4.5, 4: 0.75}
    for text in (NUSLERP, NUSLERP + "base_model: base\n"):
        (tmp_path / "nuslerp.yml").write_text(text)
        out = tmp_path / "out.safetensors"
        called = bmerge("merge", tmp_path / "nuslerp.yml", "-o", out, "--force")
        assert called.status == 0, called.err
        merged = read_checkpoint(out)
        start = 0.25 if "base" in text else 0.0
        for key in KEYS:
            layer = _layer(key)
            expected = start + _slerp(a[key] - start, b[key] - start, t[layer])
            np.testing.assert_allclose(merged[key], expected, atol=1e-5, err_msg=key)


GRADIENT = """\
models:
  - model: a
  - model: b
    parameters:
      weight:
        - {filter: mlp, value: [1, 0]}
        - {filter: lm_head, value: [0.1, 0.9]}
merge_method: task_arithmetic
base_model: a
parameters: {weight: [0, 1], normalize: false}
"""


def test_lists_have_their_first_value_before_the_layers_and_the_last_after(
    tmp_path, bmerge, models
):
    """What no filter of a model fits has the value that stands for all models."""
    (tmp_path / "c.yml").write_text(GRADIENT)
    called = bmerge("merge", tmp_path / "c.yml", "-o", tmp_path / "out.safetensors")
    assert called.status == 0, called.err
    merged = read_checkpoint(tmp_path / "out.safetensors")
    a, b = models
    for key in KEYS:
        t = _layer(key) / (LAYERS - 1)
        weight = 1 - t if "mlp" in key else 0.9 if "lm_head" in key else t
        np.testing.assert_allclose(
            merged[key], a[key] + weight * (b[key] - a[key]), atol=1e-6, err_msg=key
        )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (("transformer.wte.w", "transformer.wpe.w"), ("transformer.ln_f.w", "lm_head.w")),
        (("gpt_neox.embed_in.w",), ("gpt_neox.final_layer_norm.w", "embed_out.w")),
        (("model.tok_embeddings.w",), ("model.norm.w", "output.w", "score.w")),
    ],
    ids=["gpt2", "neox", "internlm"],
)
def test_names_of_other_families_stand_before_or_after_too(tmp_path, bmerge, before, after):
    start = before[0].partition(".")[0]
    inner = [f"{start}.layers.{i}.w" for i in range(3)]
    keys = [*before, *inner, *after]
    for name, value in (("a", 0), ("b", 1)):
        tensors = {key: np.full(3, value, "f4") for key in keys}
        write_checkpoint(tmp_path / f"{name}.safetensors", tensors, dtype="F32")
    text = GRADIENT.replace("model: a", "model: a.safetensors").replace("b\n", "b.safetensors\n")
    text = text.replace("base_model: a\n", "base_model: a.safetensors\n")
    text = re.sub(r"    parameters:\n      weight:\n.*\n.*\n", "", text)
    (tmp_path / "c.yml").write_text(text)
    called = bmerge("merge", tmp_path / "c.yml", "-o", tmp_path / "out.safetensors")
    assert called.status == 0, called.err
    merged = {k: v[0] for k, v in read_checkpoint(tmp_path / "out.safetensors").items()}
    expected = dict.fromkeys(before, 0) | dict.fromkeys(after, 1)
    assert merged == expected | dict(zip(inner, (0, 0.5, 1), strict=True))


def test_filters_after_a_value_for_all_tensors_are_not_looked_at(tmp_path):
    text = GRADIENT.replace("[1, 0]", "1").replace("[0.1, 0.9]", "0.5").replace("[0, 1]", "[]")
    text = text.replace("        - {filter: lm_head, value: 0.5}", "        - {value: 0.5}")
    text = text.replace("weight: []", "weight: [{filter: norm, value: 0}, {value: 1}]")
    *steps, pick = read(tmp_path, text).steps
    assert list(pick.parts) == ["*mlp*", "*"]
    assert [step.hyperparameters["weight_1"].default for step in steps] == [1, 0.5]


def test_slice_of_some_layers_is_refused(tmp_path, bmerge, models):
    (tmp_path / "slerp.yml").write_text(FILTERS.replace("[0, 5]", "[0, 4]"))
    called = bmerge("merge", tmp_path / "slerp.yml", "-o", tmp_path / "out.safetensors")
    assert called.status == 1
    assert "layers that are left out have no counterpart here: [0, 4] of 5" in called.err
    assert not (tmp_path / "out.safetensors").exists()


FLAT = "models: [{model: a, parameters: {weight: 3}}, {model: b, parameters: {weight: 1}}]\n"
BASED = FLAT + "base_model: base\n"


@pytest.mark.parametrize(
    ("text", "method", "values", "options"),
    [
        ("merge_method: nuslerp\n", "nuslerp", {"alpha": 0.25}, {"along": "tensor"}),
        (
            "merge_method: nuslerp\nparameters: {nuslerp_flatten: false}\n",
            "nuslerp", {"alpha": 0.25}, {"along": "vectors"},
        ),
        (
            "merge_method: nuslerp\nparameters: {nuslerp_flatten: false, nuslerp_row_wise: true}\n",
            "nuslerp", {"alpha": 0.25}, {"along": "columns"},
        ),
        (
            "merge_method: multislerp\nparameters: {normalize_weights: false, eps: 1.0e-8}\n",
            "multislerp", {"weight_1": 3, "weight_2": 1}, {"normalize": False},
        ),
    ],
)  # fmt: skip
def test_methods_with_a_base_or_without(tmp_path, text, method, values, options):
    for models, ours, names in ((FLAT, method, "ab"), (BASED, f"{method}_from_base", "base a b")):
        recipe = read(tmp_path, models + text)
        assert recipe.method == ours
        assert [m.path for m in recipe.models] == (names.split() if " " in names else list(names))
        assert {n: w.default for n, w in recipe.hyperparameters.items()} == values
        assert recipe.options == options


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("merge_method: ram\n", {"epsilon": 1e-5}),
        ("merge_method: ramplus_tl\n", {"epsilon": 1e-5, "r": 0.1, "alpha": 0.2}),
        (
            "merge_method: ramplus_tl\nparameters: {epsilon: 1e-3, r: 0.5, alpha: 0.7}\n",
            {"epsilon": 1e-3, "r": 0.5, "alpha": 0.7},
        ),
    ],
)
def test_reinforced_agent_merging(tmp_path, text, values):
    recipe = read(tmp_path, "models: [a, b]\nbase_model: base\n" + text)
    assert recipe.method == text.split()[1]
    assert [model.path for model in recipe.models] == ["base", "a", "b"]
    assert {name: weights.default for name, weights in recipe.hyperparameters.items()} == values


MODELS = "models: [{model: a, parameters: {weight: 1}}, {model: b, parameters: {weight: 2}}]\n"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (MODELS + "merge_method: fisher\n", 2, "mergekit's method 'fisher' has no counterpart"),
        (MODELS + "merge_method: linear\ntokenizer_source: union\n", 3, "mergekit's 'tokenizer_so"),
        (MODELS + "merge_method: linear\nparameters: {densty: 1}\n", 3, "'densty' of linear"),
        (MODELS + "merge_method: linear\nparameter: {}\n", 3, "unknown key 'parameter'"),
        ("models: [a, b]\nmerge_method: linear\n", 1, "a has no 'weight'"),
        (MODELS + "merge_method: nuslerp\nbase_model: b\n", 2, "nuslerp takes two models"),
        (MODELS + "merge_method: slerp\nbase_model: c\n", 2, "slerp takes two models"),
        (MODELS + "merge_method: ram\n", 2, "ram needs a base_model"),
        (MODELS + "merge_method: multislerp\nparameters: {eps: 1}\n", 3, "eps: 1 of multislerp"),
        (MODELS + "merge_method: ties\n", 2, "ties needs a base_model"),
        (TIES.replace("int8_mask: true", "rescale: true"), 9, "rescale: True of ties has no"),
        (SLERP.replace("a, layer_range: [0", "a, layer_range: [1"), 2, "that are put elsewhere"),
        (SLERP.replace("merge_method", "  - sources: []\nmerge_method"), 1, "slices that put"),
        (FILTERS.replace("    - value: 0.75\n", ""), 5, "no value for all other tensors"),
        (SLERP, 5, "a list over layers needs the first model's file"),
        (MODELS.replace("a,", "a+lora,") + "merge_method: linear\n", 1, "LoRAs on models have no"),
        (SLERP.replace("[0, 0.5, 1]", "[]"), 9, "value is a list over layers without values"),
        (SLERP.replace("a, layer_range: [0, 5]", "a"), 3, "no 'layer_range'"),
        (SLERP.replace("a, layer_range: [0, 5]", "a, layer_range: 5"), 3, "must be a list"),
        ("merge_method: linear\n", 1, "has neither models nor slices"),
    ],
)  # fmt: skip
def test_mistakes_and_what_has_no_counterpart_are_named(tmp_path, text, line, message):
    with pytest.raises(RecipeError) as caught:
        read(tmp_path, text)
    assert message in str(caught.value)
    assert caught.value.line == line
