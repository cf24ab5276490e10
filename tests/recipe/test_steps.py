"""Recipes of steps as text: what is read, what is refused with which line, and dumping."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmerge.errors import RecipeError
from bmerge.recipe import (
    ZERO,
    BlockWeights,
    Fallback,
    ModelRef,
    Pick,
    Recipe,
    Step,
    Value,
    dump_recipe,
    parse_recipe,
)

TEXT = """\
models:
  a: a.safetensors
  base: {path: base.safetensors, content: model}
  d: {path: d.safetensors, content: difference}
steps:
  style:
    method: ties
    models: [0, a - base, d]
    hyperparameters: {density: 0.3, weight_2: {M00: 1, "*": 0.5}}
    options: {vote: count}
    seed: 3
  full: {fallback: [base, a]}
  out: {pick: {"*": full, vae: a}}
  whole: {method: add, models: [out, style]}
result: whole
seed: 1
"""


def test_every_form_is_read():
    recipe = parse_recipe(TEXT)
    weights = {"density": BlockWeights(0.3), "weight_2": BlockWeights(0.5, {"M00": 1.0})}
    assert recipe == Recipe(
        "",
        (
            ModelRef("a.safetensors", name="a"),
            ModelRef("base.safetensors", name="base"),
            ModelRef("d.safetensors", name="d", content="difference"),
        ),
        seed=1,
        steps=(
            Step(
                "style", "ties", (ZERO, Value("a", "base"), Value("d")), weights,
                {"vote": "count"}, 3,
            ),
            Fallback("full", (Value("base"), Value("a"))),
            Pick("out", {"*": Value("full"), "vae": Value("a")}),
            Step("whole", "add", (Value("out"), Value("style"))),
        ),
        result=Value("whole"),
    )  # fmt: skip
    assert parse_recipe(dump_recipe(recipe)) == recipe
    assert [step.name for step in recipe.in_order()] == ["full", "out", "style", "whole"]


def test_last_step_is_the_result():
    assert parse_recipe(TEXT.replace("result: whole\n", "")) == parse_recipe(TEXT)


@pytest.mark.parametrize(
    ("old", "new", "line", "message", "hint"),
    [
        ("base, a]}", "bose, a]}", 12, "no model or step is called 'bose'", "did you mean 'base'?"),
        ("[out, style]", "[out, style - 1]", 14, "must be a name or 'name - name'", None),
        ("seed: 3", "sead: 3", 11, "unknown key 'sead'", "did you mean 'seed'?"),
        ("[base, a]", "[base, whole]", 14, "steps need one another: whole → out → full →", None),
        ("[out, style]", "[out, d]", 6, "step 'style' is not used by the result, 'whole'", None),
        ("  a: a", "  x: x\n  a: a", 2, "model 'x' is not used by the result", None),
        ("  full: {", "  a: {", 12, "'a' is a model and a step", None),
        ("  full: {", "  7up: {", 12, "'7up' is not a name", "letters, digits and _"),
        ("{fallback: [base, a]}", "{base: a}", 12, "step 'full' must have one of 'method'", None),
        ("{fallback: [base, a]}", "{fallback: []}", 12, "fallback is empty", None),
        ("pick: {", "fallback: [a], pick: {", 13, "step 'out' must have one of", None),
        ("seed: 1", "method: ties", 16, "'method' belongs in a step", None),
        ("result: whole", "result: [a]", 15, "result must be text, not a list", None),
        ("content: model", "content: lora", 3, "content must be one of model, difference", None),
        ("method: add, models: [out, style]", "method: add", 14, "has no 'models'", None),
    ],
)  # fmt: skip
def test_mistake_is_named_with_its_line(tmp_path, old, new, line, message, hint):
    from bmerge.recipe import load_recipe

    assert TEXT.count(old) == 1
    file = tmp_path / "r.yaml"
    file.write_text(TEXT.replace(old, new))
    with pytest.raises(RecipeError, match=message.replace("[", r"\[")) as caught:
        load_recipe(file)
    assert caught.value.line == line
    assert hint is None or caught.value.hint.startswith(hint)


def test_neither_steps_nor_method_nor_result_is_refused():
    with pytest.raises(RecipeError, match="has no 'method'"):
        parse_recipe("models: [a]")
    with pytest.raises(RecipeError, match="neither steps nor a 'result'"):
        parse_recipe("models: {a: b}\nsteps: {}")


NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1)
WEIGHTS = st.builds(
    BlockWeights,
    st.floats(allow_nan=False, allow_infinity=False),
    st.dictionaries(TEXTS.filter(lambda t: not set(t) & set("*?[-")), st.floats(-1, 1)),
)


@st.composite
def recipes(draw):
    """Draw a recipe of steps, each of which takes the one before it."""
    names = draw(st.lists(NAMES, min_size=3, max_size=7, unique=True))
    models = tuple(ModelRef(draw(TEXTS), name=name) for name in names[:2])
    steps, last = [], Value(names[0], names[1])
    for name in names[2:]:
        kind = draw(st.sampled_from(["method", "pick", "fallback"]))
        if kind == "method":
            seed = draw(st.none() | st.integers(0, 2**64 - 1))
            given = draw(st.dictionaries(TEXTS, WEIGHTS, max_size=2))
            options = draw(st.dictionaries(TEXTS, st.booleans() | TEXTS, max_size=2))
            steps.append(Step(name, draw(TEXTS), (last, ZERO), given, options, seed))
        elif kind == "pick":
            steps.append(Pick(name, {draw(TEXTS): last}))
        else:
            steps.append(Fallback(name, (last, Value(names[0]))))
        last = Value(name)
    return Recipe("", models, steps=tuple(steps), result=last)


@settings(max_examples=40)
@given(recipes())
def test_any_recipe_of_steps_loads_back_equal(recipe):
    assert parse_recipe(dump_recipe(recipe)) == recipe
