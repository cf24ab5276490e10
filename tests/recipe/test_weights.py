from __future__ import annotations

import logging
import math

import pytest

from bmerge.architectures import builtin, load_architecture
from bmerge.architectures.generic import generic
from bmerge.errors import RecipeError
from bmerge.recipe import load_presets, parse_weights

SD1, SDXL, SDXL_VAE = (next(a for a in builtin() if a.id == i) for i in ("sd1", "sdxl", "sdxl-vae"))
PRESETS = load_presets()
LIST_26 = [i / 100 for i in range(26)]


def values(value, architecture=SD1):
    weights = parse_weights(value, architecture, presets=PRESETS)
    assert set(weights.blocks) <= set(architecture.blocks)
    return [weights.of(block) for block in architecture.blocks]


@pytest.mark.parametrize("value", [0.4, "0.4", " 0.4 ", "4e-1"], ids=repr)
def test_number_is_for_all_blocks(value):
    assert values(value) == [0.4] * 26


@pytest.mark.parametrize(
    "value", [LIST_26, tuple(LIST_26), ",".join(map(str, LIST_26))], ids=["list", "tuple", "text"]
)
def test_list_is_in_the_order_of_the_blocks(value):
    assert values(value) == LIST_26


def test_list_of_25_leaves_the_base_alone():
    assert values(LIST_26[1:]) == [0, *LIST_26[1:]]


CUT = [*LIST_26[:10], LIST_26[13], *LIST_26[14:23]]


@pytest.mark.parametrize(
    ("architecture", "length", "expected", "dropped"),
    [
        (SDXL, 20, LIST_26[:20], 0),
        (SDXL, 21, LIST_26[:20], 1),
        (SDXL, 26, CUT, 6),
        (SDXL_VAE, 20, [*LIST_26[:20], LIST_26[0]], 0),
        (SDXL_VAE, 21, LIST_26[:21], 0),
        (SDXL_VAE, 26, [*CUT, LIST_26[0]], 6),
    ],
    ids=["sdxl 20", "sdxl 21", "sdxl 26", "vae 20", "vae 21", "vae 26"],
)
def test_lists_of_other_lengths_are_cut_and_it_is_said(
    caplog, architecture, length, expected, dropped
):
    with caplog.at_level(logging.WARNING):
        assert values(LIST_26[:length], architecture) == expected
    assert (f"drops {dropped}" in caplog.text) == bool(dropped)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "IN00-IN05=0.2,M00=1,*=0.5",
            {"IN00": 0.2, "IN05": 0.2, "IN06": 0.5, "M00": 1.0, "BASE": 0.5, "OUT11": 0.5},
        ),
        ("*=0.5, IN00-OUT11=0.1, IN03 = 0.9", {"BASE": 0.5, "IN02": 0.1, "IN03": 0.9, "M00": 0.1}),
        ("IN03=0.9,IN00-OUT11=0.1,*=0.5", {"BASE": 0.5, "IN03": 0.9, "IN04": 0.1}),
        ("IN11-OUT00=1,*=-0.5", {"IN10": -0.5, "IN11": 1, "M00": 1, "OUT00": 1, "OUT01": -0.5}),
        ("ALL_A,BASE=0.3,OUT11=1", {"BASE": 0.3, "IN00": 0.0, "OUT11": 1.0}),
    ],
    ids=["issue", "order", "order 2", "across", "preset"],
)
def test_assignments_go_from_general_to_single(text, expected):
    weights = parse_weights(text, SD1, presets=PRESETS)
    assert {block: weights.of(block) for block in expected} == expected


def test_mapping_means_the_same_as_text():
    mapping = {"IN00-IN05": 0.2, "M00": 1, "*": 0.5}
    assert parse_weights(mapping, SD1) == parse_weights("IN00-IN05=0.2,M00=1,*=0.5", SD1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("*=0.5,BASE=0.2", 0.2), ("*=0.5,BASE=0.2,VAE=0.9", 0.9), ("*=0.3", 0.3), ("0.3", 0.3)],
)
def test_vae_follows_the_base_unless_it_is_named(text, expected):
    weights = parse_weights(text, SDXL_VAE)
    assert weights.of("BASE") == (0.2 if "BASE" in text else 0.3)
    assert weights.of("VAE") == expected


def test_a_value_of_a_follower_that_is_the_default_is_written_down():
    weights = parse_weights("BASE=0.2,VAE=0.5,*=0.5", SDXL_VAE)
    assert parse_weights(weights.assignments, SDXL_VAE).of("VAE") == 0.5


@pytest.mark.parametrize(
    ("value", "message", "hint"),
    [
        ([0.1, 0.2], "the list has 2 weights, but sd1 takes 25 or 26", "in the order BASE, IN00"),
        ("1,2,3", "the list has 3 weights", "in the order"),
        ("IN12=1,*=0", "unknown block 'IN12' of sd1", "did you mean 'IN1"),
        ("IN00-IM05=1,*=0", "unknown block 'IM05'", "did you mean 'IN05'?"),
        ("IN05-IN00=1,*=0", "range 'IN05-IN00' runs backwards", "write IN00-IN05"),
        ("IN00=x,*=0", "bad number 'x' for IN00", None),
        ("IN00=nan,*=0", "bad number 'nan' for IN00", None),
        ("IN00=1", "no value for BASE, IN01", "add '*=…'"),
        ("IN00=1,IN00=2,*=0", "IN00 is given twice", None),
        ("GRAD_W", "'GRAD_W' is neither a number nor a preset", "did you mean 'GRAD_"),
        ("GRAD_V,0.3", "cannot read '0.3'", "write block=value"),
        ("", "'' is neither a number nor a preset", None),
        ("0_5", "'0_5' is neither a number nor a preset", "a number is written 0.5"),
        ("IN00=0_5,*=0", "bad number '0_5' for IN00", None),
        ("\N{MINUS SIGN}0.5", "is neither a number nor a preset", "- as the keyboard has it"),
        ("50%", "'50%' is neither a number nor a preset", "no %"),
        ("in00=1,*=0", "unknown block 'in00'", "did you mean 'IN00'?"),
        ("IN00:0.5", "neither a number nor a preset", "write IN00=0.5"),
        ("GRAD_V:GRAD_A@", "neither a number nor a preset", "written GRAD_V:GRAD_A@0.5"),
        ("0,5", "bad number '0,5'", "write 0.5"),
        ("0.5,1", "the list has 2 weights", "in the order"),
        ("*=0,5", "cannot read '5'", "0.5 with a point"),
        (math.inf, "bad number inf", None),
        (None, "bad number None", None),
        (True, "bad number True", None),
        ([True] * 26, "bad number True", None),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_mistakes_are_named_in_one_line(value, message, hint):
    with pytest.raises(RecipeError) as caught:
        parse_weights(value, SD1, presets=PRESETS)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert hint is None or hint in caught.value.hint


def test_preset_does_not_fit_any_architecture():
    with pytest.raises(RecipeError, match="preset GRAD_V has 26 weights, but generic:x.2 takes 2"):
        parse_weights("GRAD_V", generic(["x.0.a", "x.1.a"]), presets=PRESETS)


def test_presets_are_the_well_known_numbers():
    assert len(PRESETS) >= 39
    assert all(len(weights) == 26 for weights in PRESETS.values())
    assert PRESETS["GRAD_V"][:4] == pytest.approx((0, 1, 0.9166666667, 0.8333333333))
    assert PRESETS["GRAD_A"][13] == 1
    assert PRESETS["FLAT_25"] == (0, *[0.25] * 25)
    assert PRESETS["WRAP08"] == (0, *[1] * 4, *[0] * 17, *[1] * 4)
    assert PRESETS["RING08_SOFT"][6:12] == (0.5, 1, 1, 1, 0.5, 0)
    assert PRESETS["SMOOTHSTEP"][2] == pytest.approx(0.00506365740740741)
    assert PRESETS["3SMOOTHSTEP"][10] == pytest.approx(0.94921875)
    assert PRESETS["SMOOTHSTEP*3"] == PRESETS["3SMOOTHSTEP"]
    assert PRESETS["COSINE"][5] == pytest.approx(0.933012701892219)
    assert PRESETS["FAKE_CUBIC_HERMITE"][1] == 0
    assert PRESETS["FAKE_CUBIC_HERMITE"][2] == pytest.approx(0.157576195987654)
    assert PRESETS["ALL_B"] == (1,) * 26


def _folded(t):
    """Return t for t up to 1, and back down and up again beyond it."""
    return abs((t + 1) % 2 - 1)


def _smoothstep(t):
    return 3 * t**2 - 2 * t**3


STEPS = [i / 24 for i in range(25)]
FORMULAS = {
    "GRAD_V": lambda t: abs(2 * t - 1),
    "GRAD_A": lambda t: 1 - abs(2 * t - 1),
    "SMOOTHSTEP": _smoothstep,
    "2SMOOTHSTEP": lambda t: _folded(2 * _smoothstep(t)),
    "3SMOOTHSTEP": lambda t: _folded(3 * _smoothstep(t)),
    "4SMOOTHSTEP": lambda t: _folded(4 * _smoothstep(t)),
    "HALF_SMOOTHSTEP": lambda t: _smoothstep(_folded(2 * t)),
    "ONE_THIRD_SMOOTHSTEP": lambda t: _smoothstep(_folded(3 * t)),
    "ONE_FOURTH_SMOOTHSTEP": lambda t: _smoothstep(_folded(4 * t)),
    "COSINE": lambda t: (1 + math.cos(math.pi * t)) / 2,
}
REVERSED = {
    "REVERSE_SMOOTHSTEP": "SMOOTHSTEP",
    "2R_SMOOTHSTEP": "2SMOOTHSTEP",
    "3R_SMOOTHSTEP": "3SMOOTHSTEP",
    "4R_SMOOTHSTEP": "4SMOOTHSTEP",
    "HALF_R_SMOOTHSTEP": "HALF_SMOOTHSTEP",
    "ONE_THIRD_R_SMOOTHSTEP": "ONE_THIRD_SMOOTHSTEP",
    "ONE_FOURTH_R_SMOOTHSTEP": "ONE_FOURTH_SMOOTHSTEP",
    "REVERSE_COSINE": "COSINE",
    "TRUE_REVERSE_CUBIC_HERMITE": "TRUE_CUBIC_HERMITE",
    "FAKE_REVERSE_CUBIC_HERMITE": "FAKE_CUBIC_HERMITE",
}


@pytest.mark.parametrize("name", FORMULAS)
def test_preset_is_its_formula(name):
    assert PRESETS[name] == pytest.approx([0, *map(FORMULAS[name], STEPS)], abs=1e-6)


@pytest.mark.parametrize("name", REVERSED)
def test_reversed_preset_is_one_less_the_other(name):
    other = PRESETS[REVERSED[name]]
    assert PRESETS[name][1:] == pytest.approx([1 - weight for weight in other[1:]], abs=1e-6)


@pytest.mark.parametrize("architecture", [SD1, SDXL, SDXL_VAE], ids=lambda known: known.id)
def test_between_two_presets_every_block_is_their_weighted_sum(architecture):
    first, second = values("GRAD_A", architecture), values("SMOOTHSTEP/2", architecture)
    between = [0.75 * a + 0.25 * b for a, b in zip(first, second, strict=True)]
    assert values("GRAD_A:SMOOTHSTEP/2@0.25", architecture) == pytest.approx(between, abs=1e-6)
    changed = values("GRAD_A : SMOOTHSTEP/2 @ .25, BASE=0.9", architecture)
    assert changed[:2] == pytest.approx([0.9, between[1]])


def test_between_a_number_and_a_preset_the_base_counts_too():
    assert values("1:GRAD_V@0.5")[:2] == pytest.approx([0.5, 1])
    assert values("GRAD_V:GRAD_A@1.5")[1] == pytest.approx(-0.5)


def test_presets_of_a_user_are_added(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(f"MINE: {[0.5] * 25}\nGRAD_V: {[0.1] * 26}\nALSO: MINE\n")
    presets = load_presets(file)
    assert presets["MINE"] == presets["ALSO"] == (0, *[0.5] * 25)
    assert presets["GRAD_V"] == (0.1,) * 26
    assert presets["GRAD_A"] == PRESETS["GRAD_A"]


def test_preset_of_the_wrong_length_is_refused_with_its_line(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("\nMINE: [1, 2]\n")
    with pytest.raises(RecipeError, match=r"mine.yaml:2: preset MINE has 2 weights, not 25 or 26"):
        load_presets(file)


def test_one_weight_of_a_list_may_be_that_of_several_blocks():
    architecture = load_architecture(
        "{id: x, name: x, blocks: [A, B, C, D], rules: {'': A}, "
        "lists: {2: [A+C+D, B], 3: [A+C, B+D, '-']}}"
    )
    weights = parse_weights([0.1, 0.2], architecture)
    assert [weights.of(block) for block in "ABCD"] == [0.1, 0.2, 0.1, 0.1]
    weights = parse_weights([0.1, 0.2, 0.3], architecture)
    assert [weights.of(block) for block in "ABCD"] == [0.1, 0.2, 0.1, 0.2]
