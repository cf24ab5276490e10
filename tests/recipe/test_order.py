"""The order of what needs one another: of any depth, each thing once, circles told."""

from __future__ import annotations

import pytest

from bmerge import RecipeError
from bmerge.recipe import BlockWeights, ModelRef, Recipe, Step, Value, parse_recipe
from bmerge.recipe.asking import answered
from bmerge.recipe.order import CircleError, in_order

NEEDS = {"a": ["b", "c"], "b": ["d"], "c": ["d", "b"], "d": []}


def test_everything_comes_once_and_after_what_it_needs():
    assert in_order(["a"], NEEDS.__getitem__) == ["d", "b", "c", "a"]
    assert in_order(["d", "c", "a"], NEEDS.__getitem__) == ["d", "b", "c", "a"]
    assert in_order([], NEEDS.__getitem__) == []


def test_each_thing_is_asked_once_however_often_it_is_needed():
    asked = []

    def needs(number):
        asked.append(number)
        return [number - 1, number - 1] if number else []

    assert in_order([50_000], needs) == list(range(50_001))
    assert len(asked) == 50_001


@pytest.mark.parametrize(
    ("needs", "circle"),
    [
        ({"a": ["a"]}, ["a", "a"]),
        ({"a": ["b"], "b": ["c"], "c": ["b"]}, ["b", "c", "b"]),
        ({"a": ["d", "b"], "d": [], "b": ["d", "a"]}, ["a", "b", "a"]),
    ],
)
def test_circles_are_told(needs, circle):
    with pytest.raises(CircleError) as caught:
        in_order(["a"], needs.__getitem__)
    assert caught.value.circle == circle


def test_questions_may_be_as_deep_as_they_like():
    def depth(number):
        return 0 if number == 0 else 1 + (yield depth(number - 1))

    assert answered(depth(50_000)) == 50_000


def test_recipe_made_in_python_with_a_circle_is_an_error():
    steps = tuple(
        Step(name, "weighted_sum", (Value("a"), Value(other)), {"alpha": BlockWeights(0.5)})
        for name, other in (("x", "y"), ("y", "x"))
    )
    recipe = Recipe("", (ModelRef("a", name="a"),), steps=steps, result=Value("x"))
    with pytest.raises(RecipeError, match="steps need one another: x → y → x"):
        recipe.in_order()


def test_long_circle_in_a_file_is_named_with_its_line():
    lines = [f"  s{n}: {{fallback: [a, s{n - 1}]}}" for n in range(1, 3000)]
    text = "models: {a: a}\nsteps:\n  s0: {fallback: [s2999]}\n" + "\n".join(lines)
    with pytest.raises(RecipeError, match="steps need one another: ") as caught:
        parse_recipe(text + "\nresult: s5\n")
    assert str(caught.value).endswith("s5 → s4 → s3 → … → s7 → s6 → s5")
    assert caught.value.line == 8
