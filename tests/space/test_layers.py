"""Kinds of layers: searched apart in every block, by patterns that match their keys alone."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

import pytest

from bmerge import RecipeError, load_registry, open_checkpoint
from bmerge.method import Hyperparameter
from bmerge.recipe import BlockWeights
from bmerge.space.layers import KINDS, layer_patterns
from bmerge.study_file.space_config import build_space
from bmerge.study_file.space_entry import HyperparameterSpace
from bmerge.testing import tiny_sd1
from toy_study import TOY

ALPHA = Hyperparameter("alpha", default=0.5, low=0.0, high=1.0)


@pytest.fixture(scope="module")
def sd1(tmp_path_factory):
    """The architecture of Stable Diffusion 1, and its true keys by block."""
    checkpoint = open_checkpoint(tiny_sd1(tmp_path_factory.mktemp("sd1") / "a.safetensors", 0))
    architecture = load_registry().architectures["sd1"]
    keys = {}
    for key in checkpoint.tensors:
        keys.setdefault(architecture.block_of(key), []).append(key)
    return architecture, keys


def search(sd1, **config):
    architecture, keys = sd1
    entry = HyperparameterSpace(**config)
    return build_space({"alpha": entry}, [ALPHA], architecture, present=keys, keys=keys)


def of_key(weights, block, key):
    return weights.of(block, [p for p in weights.keys if fnmatchcase(key, p)])


def test_each_key_has_the_value_of_its_kind_and_block(sd1):
    space = search(sd1, layers=KINDS)
    numbers = {p.name: i / 1000 for i, p in enumerate(space.space.parameters)}
    weights = space.weights(numbers)["alpha"]
    for block, keys in sd1[1].items():
        for key in keys:
            name = f"alpha.{block}"
            if re.search(r"norm|\b(in|out)_layers\.0\.", key):
                name += ".norm"
            elif "attn" in key or "attention" in key:
                name += ".attention"
            elif re.search(r"\.ff\.|\bmlp\b", key):
                name += ".feed_forward"
            elif re.search(r"conv|in_layers\.2|out_layers\.3|skip_con|\.op\.|nin_short", key):
                name += ".convolution"
            assert of_key(weights, block, key) == numbers[name], key
    assert {name.count(".") for name in numbers} == {1, 2}


def test_patterns_are_few(sd1):
    patterns = [
        p for kinds in layer_patterns(sd1[1], KINDS).values() for s in kinds.values() for p in s
    ]
    assert len(patterns) < 200 < sum(map(len, sd1[1].values()))


def test_values_undo_weights_with_kinds_of_layers(sd1):
    space = search(sd1, layers={"attention": KINDS["attention"]}, groups={"ins": ("IN00-IN11",)})
    assert "alpha.ins.attention" in space.space.names
    assert "alpha.M00.attention" in space.space.names
    values = {name: i / 100 for i, name in enumerate(space.space.names)}
    assert space.values(space.weights(values)) == pytest.approx(values)
    assert space.values({"alpha": BlockWeights(0.25)}) == dict.fromkeys(values, 0.25)
    assert space.weights(dict.fromkeys(values, 1.0))["alpha"] == BlockWeights(1.0)
    assert space.describe().layers["alpha"]


def test_kind_that_is_all_of_a_block_takes_its_place():
    keys = {"BASE": ["a.attn.weight", "a.attn.bias"], "M00": ["m.attn.w", "m.other"]}
    entry = HyperparameterSpace(layers={"attention": ("*attn*",)})
    space = build_space({"alpha": entry}, [ALPHA], TOY, present=keys, keys=keys)
    assert {*space.space.names} == {"alpha.BASE.attention", "alpha.M00", "alpha.M00.attention"}


def test_frozen_block_has_no_kinds_and_ranges_are_those_of_the_block():
    keys = {"BASE": ["a.attn.w", "a.b"], "M00": ["m.attn.w", "m.other"]}
    blocks = {"BASE": 0.5, "M00": (0.2, 0.4)}
    entry = HyperparameterSpace(layers={"attention": ("*attn*",)}, blocks=blocks)
    space = build_space({"alpha": entry}, [ALPHA], TOY, present=keys, keys=keys)
    assert [(p.name, p.low, p.high) for p in space.space.parameters] == [
        ("alpha.M00", 0.2, 0.4),
        ("alpha.M00.attention", 0.2, 0.4),
    ]


def test_kinds_that_no_block_has_are_refused():
    keys = {"BASE": ["a.b"]}
    entry = HyperparameterSpace(layers={"attention": ("*attn*",)})
    with pytest.raises(RecipeError, match="alpha: no block has layers of these kinds"):
        build_space({"alpha": entry}, [ALPHA], TOY, present=keys, keys=keys)


def test_patterns_tell_blocks_apart_whose_keys_begin_alike():
    keys = {"BASE": ["x.1.attn", "y.attn[0]"], "M00": ["x.2.attn", "x.2.b"]}
    patterns = layer_patterns(keys, {"attention": ("*attn*",)})
    assert patterns["BASE"]["attention"] == ["x.1.*attn*", "y.*attn*"]
    assert patterns["M00"]["attention"] == ["x.2.*attn*"]
    whole = {"BASE": ["a[0].w"], "M00": ["a[1].w"]}
    patterns = layer_patterns(whole, {"all": ("*.w",)})
    assert fnmatchcase("a[0].w", patterns["BASE"]["all"][0])
    assert not fnmatchcase("a[1].w", patterns["BASE"]["all"][0])


def test_norm_of_an_attention_is_a_norm():
    keys = {"BASE": ["a.attn.norm_q.weight", "a.attn.to_q.weight"]}
    entry = HyperparameterSpace(layers=KINDS)
    space = build_space({"alpha": entry}, [ALPHA], TOY, present=keys, keys=keys)
    weights = space.weights({"alpha.BASE.attention": 0.1, "alpha.BASE.norm": 0.9})["alpha"]
    assert [of_key(weights, "BASE", key) for key in keys["BASE"]] == [0.9, 0.1]
