"""The search space: what is a dimension, what it means, and what is wrong with a file."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bmerge import RecipeError, StudyError, load_registry
from bmerge.method import Hyperparameter
from bmerge.recipe import BlockWeights, load_presets, parse_weights
from bmerge.study_file.space_config import build_space
from bmerge.study_file.space_entry import HyperparameterSpace
from toy_study import ALPHA, BLOCKS, TOY

BETA = Hyperparameter("beta", default=0.25, low=0.0, high=0.5, minimum=0.0, maximum=1.0)


def space(hyperparameters=(ALPHA,), architecture=TOY, present=None, **config):
    entries = {name: HyperparameterSpace(**entry) for name, entry in config.items()}
    return build_space(entries, hyperparameters, architecture, present=present)


def test_space_has_a_dimension_for_every_block_and_hyperparameter():
    search = space((ALPHA, BETA))
    assert search.space.names == tuple(f"{h}.{b}" for h in ("alpha", "beta") for b in BLOCKS)
    assert {(p.low, p.high) for p in search.space.parameters[6:]} == {(0.0, 0.5)}


def test_space_freeze_leaves_only_named_blocks():
    search = space(alpha={"freeze": 0.3, "blocks": {"IN00-IN01": (0.2, 0.8)}})
    assert search.space.names == ("alpha.IN00", "alpha.IN01")
    weights = search.weights({"alpha.IN00": 0.5, "alpha.IN01": 0.6})["alpha"]
    assert [weights.of(b) for b in BLOCKS] == [0.3, 0.5, 0.6, 0.3, 0.3, 0.3]


def test_space_group_is_one_dimension():
    search = space(alpha={"groups": {"ends": ("BASE", "OUT00-OUT01")}})
    assert search.space.names == ("alpha.ends", "alpha.IN00", "alpha.IN01", "alpha.M00")
    weights = search.weights(dict(zip(search.space.names, (0.1, 0.2, 0.3, 0.4), strict=True)))
    assert [weights["alpha"].of(b) for b in BLOCKS] == [0.1, 0.2, 0.3, 0.4, 0.1, 0.1]


def test_space_group_can_be_frozen_or_have_a_range():
    groups = {"ins": ("IN00-IN01",), "outs": ("OUT00-OUT01",)}
    search = space(alpha={"groups": groups, "blocks": {"ins": 0.7, "outs": (0.1, 0.2)}})
    assert search.space.names == ("alpha.BASE", "alpha.M00", "alpha.outs")
    assert search.space.parameters[-1].high == 0.2
    assert search.weights(search.centre())["alpha"].of("IN01") == 0.7


def test_space_single_is_one_value_for_all_blocks_but_exceptions():
    search = space(alpha={"single": True, "range": (0.1, 0.9), "blocks": {"M00": 1.0}})
    assert search.space.names == ("alpha",)
    weights = search.weights({"alpha": 0.4})["alpha"]
    assert (weights.of("BASE"), weights.of("M00")) == (0.4, 1.0)


def test_space_uniform_weights_are_one_number():
    assert space().weights(dict.fromkeys(space().space.names, 0.5))["alpha"] == BlockWeights(0.5)


def test_space_leaves_out_blocks_without_tensors():
    search = space(present={"IN00", "M00"})
    assert search.space.names == ("alpha.IN00", "alpha.M00")
    assert search.weights({"alpha.IN00": 0.1, "alpha.M00": 0.2})["alpha"].of("BASE") == 0.5


def test_space_searches_a_follower_with_its_leader_unless_it_is_named():
    follows = replace(TOY, follows={"OUT01": "BASE"})
    assert "alpha.OUT01" not in space(architecture=follows).space.names
    assert space(architecture=follows).layouts[0].dimension["OUT01"] == "alpha.BASE"
    named = space(architecture=follows, alpha={"blocks": {"OUT01": (0.0, 1.0)}})
    assert "alpha.OUT01" in named.space.names
    frozen = space(architecture=follows, alpha={"blocks": {"BASE": 0.1}})
    assert frozen.layouts[0].frozen == {"BASE": 0.1, "OUT01": 0.1}


def test_space_values_undo_weights():
    search = space((ALPHA, BETA), alpha={"groups": {"ins": ("IN00-IN01",)}}, beta={"freeze": 0.1})
    values = {name: i / 10 for i, name in enumerate(search.space.names)}
    assert search.values(search.weights(values)) == values


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"M00": 0.4}, "alpha at M00 is 0.4, but frozen at 0.3"),
        ({"M00": 0.3, "IN01": 0.2}, r"alpha at IN01 is 0.2, elsewhere in alpha.ins 0.5"),
        ({"M00": 0.3, "BASE": 1.5}, r"alpha.BASE = 1.5, outside \[0, 1\]"),
    ],
    ids=["frozen", "group", "bounds"],
)
def test_space_says_why_weights_are_outside(weights, message):
    search = space(alpha={"blocks": {"M00": 0.3}, "groups": {"ins": ("IN00-IN01",)}})
    with pytest.raises(StudyError, match=message):
        search.values({"alpha": BlockWeights(0.5, weights)})


def test_space_has_no_weights_for_patterns_of_keys():
    with pytest.raises(StudyError, match=r"alpha at \*.bias is not searched"):
        space().values({"alpha": BlockWeights(0.5, {}, {"*.bias": 0.1})})


@pytest.mark.parametrize(
    ("config", "message", "hint"),
    [
        ({"alhpa": {}}, "unknown hyperparameter 'alhpa'", "'alpha'"),
        ({"alpha": {"blocks": {"IN0": 0.5}}}, "unknown block 'IN0'", "'IN0"),
        ({"alpha": {"blocks": {"IN00-M01": 0.5}}}, "unknown block 'M01'", "M00"),
        ({"alpha": {"blocks": {"M00-IN00": 0.5}}}, "'M00-IN00' runs backwards", None),
        ({"alpha": {"blocks": {"IN00": 0.5, "IN00-M00": 1.0}}}, "IN00 is set by 'IN00'", None),
        ({"alpha": {"groups": {"a": ("M00",), "b": ("IN00-OUT00",)}}}, "'a' and in 'b'", None),
        ({"alpha": {"groups": {"M00": ("IN00",)}}}, "'M00' has the name of a block", None),
        (
            {"alpha": {"groups": {"a": ("M00",)}, "blocks": {"M00": 0.1}}},
            "M00 is in the group 'a'; set that instead",
            None,
        ),
        ({"beta": {"range": (0.0, 1.5)}}, "beta: 1.5 is greater than 1.0", None),
        ({"alpha": {"freeze": 0.5}, "beta": {"freeze": 0.5}}, "nothing to search", None),
    ],
    ids=lambda value: str(value)[:40],
)
def test_space_error_names_what_is_wrong(config, message, hint):
    with pytest.raises(RecipeError, match=message) as caught:
        space((ALPHA, BETA), **config)
    assert hint is None or hint in caught.value.hint


def test_space_has_logarithms_and_whole_numbers():
    steps = Hyperparameter("steps", default=4.0, low=1.0, high=64.0)
    search = space((ALPHA, steps), alpha={"freeze": 0.5}, steps={"single": True, "log": True})
    assert [p.kind for p in search.space.parameters] == ["log"]
    assert search.centre() == {"steps": 8.0}
    whole = space((steps,), steps={"integer": True, "blocks": {"M00": (2.0, 6.0)}})
    assert {p.kind for p in whole.space.parameters} == {"integer"}
    assert whole.weights(whole.centre())["steps"].of("M00") == 4.0
    assert whole.describe().kinds["steps.M00"] == ("integer",)
    with pytest.raises(StudyError, match="steps.M00 = 4.5, which is not a whole number"):
        whole.values({"steps": BlockWeights(4.0, {"M00": 4.5})})


def test_space_weights_of_all_models_sum_to_1_in_every_block():
    weight = Hyperparameter("weight", 0.5, 0.0, 2.0, per_model=True).of_models(3)
    config = {h.name: {"simplex": True, "groups": {"ins": ("IN00-IN01",)}} for h in weight}
    search = space(weight, **config)
    assert set(search.space.simplices) == {
        f"weight.{block}" for block in ("ins", "BASE", "M00", "OUT00", "OUT01")
    }
    centre = search.weights(search.centre())
    assert sum(centre[h.name].of("IN01") for h in weight) == pytest.approx(1.0)
    assert centre["weight_2"].of("M00") == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"weight_1": {"log": True}}, "weight_1: a range on a logarithmic scale begins above 0"),
        ({"weight_1": {"integer": True, "range": (0.0, 1.5)}}, "a range of whole numbers, not"),
        ({"weight_1": {"integer": True, "blocks": {"M00": 0.5}}}, "a range of whole numbers, not"),
        ({"weight_1": {"simplex": True}}, "weight_1 sums to 1 with weight_2, which the space has"),
        ({"weight_1": {"simplex": True, "range": (0.0, 2.0)}}, r"have the range \[0, 1\], not"),
        ({"weight_1": {"simplex": True, "integer": True}}, "neither logarithms nor whole numbers"),
        ({"alpha": {"simplex": True}}, "alpha has no partners"),
        (
            {"weight_1": {"simplex": True}, "weight_2": {"simplex": True, "blocks": {"M00": 0.1}}},
            "weight.M00: all of weight_1, weight_2 must be searched there",
        ),
    ],
    ids=str,
)
def test_space_of_impossible_kinds_is_refused(config, message):
    weight = Hyperparameter("weight", 0.5, 0.0, 2.0, per_model=True).of_models(2)
    with pytest.raises(RecipeError, match=message):
        space((ALPHA, *weight), **config)


def test_space_chooses_between_presets():
    sd1 = load_registry().architectures["sd1"]
    texts = ("GRAD_V", "IN00-IN05=0.2,*=1", "0.5")
    search = build_space({"alpha": HyperparameterSpace(presets=texts)}, [ALPHA], sd1)
    (choice,) = search.space.parameters
    assert (choice.name, choice.kind, choice.choices) == ("alpha", "categorical", texts)
    grad = search.weights({"alpha": 0.0})["alpha"]
    assert grad == parse_weights("GRAD_V", sd1, presets=load_presets())
    assert search.weights({"alpha": 1.0})["alpha"].of("IN03") == 0.2
    assert search.values({"alpha": BlockWeights(0.5)}) == {"alpha": 2.0}
    with pytest.raises(StudyError, match="alpha is none of its presets there"):
        search.values({"alpha": BlockWeights(0.3)})
    assert search.describe().kinds == {"alpha": ("categorical", *texts)}


@pytest.mark.parametrize(
    ("presets", "message"),
    [
        (("GRAD_V",), "alpha: presets must be two or more"),
        (("0.5", "GRAD_W"), "alpha: 'GRAD_W' is neither a number nor a preset"),
        (("0.5", "3"), "alpha: preset 3: 3.0 is greater than 1.0"),
    ],
    ids=str,
)
def test_space_of_impossible_presets_is_refused(presets, message):
    within = replace(ALPHA, maximum=1.0)
    entry = HyperparameterSpace(presets=presets)
    with pytest.raises(RecipeError, match=message):
        build_space({"alpha": entry}, [within], TOY)
