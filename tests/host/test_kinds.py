from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import pytest

from bmerge import (
    BmergeError,
    GeneratorError,
    GeneratorKind,
    OptimiserKind,
    PluginError,
    Result,
    ScorerKind,
)
from bmerge.host.kinds import PluginKind


def _factory(space, seed, budget, *, step: float = 0.5, name: str, fail: str = ""):
    if fail == "ours":
        raise GeneratorError("as it should be")
    if fail:
        raise {"import": ImportError, "type": TypeError, "value": ValueError}[fail]("no luck")
    return space, seed, budget, step, name


class _ThreeKind(PluginKind):
    """A kind of anything: what it makes is not looked at."""

    positional = ("space", "seed", "budget")


KIND = _ThreeKind("kind", _factory, "a kind")


def test_options_are_the_keyword_only_parameters():
    step, name, _ = KIND.options
    assert (step.name, step.default, step.required, step.type) == ("step", 0.5, False, "float")
    assert (name.name, name.required) == ("name", True)


def test_create_passes_arguments_and_options():
    made = KIND.create("space", 1, 2, options={"name": "x", "step": 0.1})
    assert made == ("space", 1, 2, 0.1, "x")


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"name": "x", "stp": 1}, "kind has no option 'stp'", "did you mean 'step'?"),
        ({}, "kind needs the option 'name'", None),
    ],
    ids=["unknown", "missing"],
)
def test_check_and_create_refuse_wrong_options(options, message, hint):
    for refuse in (KIND.check, lambda given: KIND.create(1, 2, 3, options=given)):
        with pytest.raises(PluginError, match=message) as caught:
            refuse(options)
        assert caught.value.hint == hint
        assert caught.value.plugin == "kind"


@pytest.mark.parametrize("fail", ["import", "type", "value"])
def test_factory_that_fails_is_a_plugin_error(fail):
    with pytest.raises(PluginError, match="kind cannot be made: .*Error: no luck"):
        KIND.create(1, 2, 3, options={"name": "x", "fail": fail})


def test_error_of_ours_passes_through():
    with pytest.raises(BmergeError, match="as it should be"):
        KIND.create(1, 2, 3, options={"name": "x", "fail": "ours"})


def test_factory_without_options_has_none():
    assert ScorerKind("plain", lambda: None, "").options == ()


def _annotated(
    *,
    number: float = 1.0,
    whole: int = 1,
    flag: bool = True,
    word: str = "",
    choice: Literal["a", "b"] = "a",
    maybe: int | None = None,
    many: str | Sequence[str] = (),
    numbers: Mapping[str, float] | None = None,
    ranges: list[tuple[float, float]] = [],  # noqa: B006
    place: Path | None = None,
    loose=None,
    unknown: NotThere = None,  # noqa: F821
    own: Result | None = None,
):
    return None


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"number": "x"}, "'number' of k must be a number, not text"),
        ({"number": True}, "'number' of k must be a number, not true or false"),
        ({"number": math.nan}, "'number' of k must be a number, not NaN"),
        ({"whole": 2.5}, "'whole' of k must be a whole number, not a number"),
        ({"whole": False}, "'whole' of k must be a whole number, not true or false"),
        ({"flag": 1}, "'flag' of k must be true or false, not a whole number"),
        ({"flag": "no"}, "'flag' of k must be true or false, not text"),
        ({"word": 12}, "'word' of k must be text, not a whole number"),
        ({"word": None}, "'word' of k must be text, not null"),
        ({"choice": "c"}, "'choice' of k must be one of 'a', 'b', not 'c'"),
        ({"maybe": "3"}, "'maybe' of k must be a whole number or null, not text"),
        ({"many": ["a", 3]}, "must be text or a list (text each), not such a list"),
        ({"many": {"a": "b"}}, "must be text or a list (text each), not a mapping"),
        ({"numbers": {"a": "b"}}, "must be a mapping (a number each) or null, not such a mapping"),
        ({"ranges": [[0, 1, 2]]}, "'ranges' of k must be a list, not such a list"),
        ({"place": 3}, "'place' of k must be a path or null, not a whole number"),
    ],
)
def test_values_are_checked_against_annotations(options, wrong):
    with pytest.raises(PluginError) as caught:
        ScorerKind("k", _annotated, "").check(options)
    assert wrong in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"number": 1, "whole": 2, "flag": False, "word": "x", "choice": "b", "maybe": None},
        {"number": math.inf, "maybe": 3, "many": "a", "numbers": None, "place": "/a"},
        {"many": [], "numbers": {"a": 1, "b": 0.5}, "ranges": [[0, 1.5]], "place": None},
        {"many": ("a", "b"), "loose": object(), "unknown": 3, "own": 5},
    ],
)
def test_values_that_fit_are_taken(options):
    ScorerKind("k", _annotated, "").check(options)


class _Made:
    def __init__(self, *, width: float = 0.5):
        self.width = width


@pytest.mark.parametrize("factory", [_Made, partial(_Made)], ids=["class", "partial"])
def test_classes_and_partials_are_checked_as_functions_are(factory):
    kind = PluginKind("k", factory, "")
    assert kind.create(options={"width": 1}).width == 1
    with pytest.raises(PluginError, match="'width' of k must be a number, not text"):
        kind.check({"width": "wide"})


def test_a_wrong_value_is_not_shown_for_it_may_be_a_password():
    with pytest.raises(PluginError) as caught:
        ScorerKind("k", _annotated, "").check({"word": 123454321})
    assert "123454321" not in str(caught.value)
    assert caught.value.hint == "put the value in quotes"


@pytest.mark.parametrize(
    "error", [KeyError("x"), OSError("gone"), ZeroDivisionError(), SystemExit(0)]
)
def test_any_failure_of_a_factory_names_its_line(error):
    def factory():
        raise error

    with pytest.raises(PluginError) as caught:
        ScorerKind("k", factory, "").create(options={})
    line = factory.__code__.co_firstlineno + 1
    assert str(caught.value).startswith(f"k cannot be made: {type(error).__name__}")
    assert f"({__file__}:{line})" in str(caught.value)


def test_essentials_are_the_options_on_which_results_depend():
    kind = OptimiserKind("kind", _factory, "a kind", incidental=("fail",))
    assert kind.essentials({"name": "x", "fail": "ours"}) == {"step": 0.5, "name": "x"}


def test_an_incidental_option_must_be_one():
    kind = OptimiserKind("kind", _factory, "a kind", incidental=("stepp",))
    with pytest.raises(PluginError, match="calls 'stepp' incidental, which is none") as caught:
        kind.check({"name": "x"})
    assert caught.value.hint == "did you mean 'step'?"


class Half:
    """A generator that cannot be closed, and an optimiser that cannot be told."""

    def load(self, model):
        """Take it."""

    def generate(self, payloads):
        """Make nothing."""

    def ask(self):
        """Propose nothing."""

    def replay(self, results):
        """Forget them."""


@pytest.mark.parametrize(
    ("kind", "method", "needs"),
    [
        (GeneratorKind, "close", "load, generate, close"),
        (OptimiserKind, "tell", "ask, tell, replay"),
        (ScorerKind, "score", "score"),
    ],
)
def test_object_that_lacks_a_method_is_refused_when_it_is_made(kind, method, needs):
    made = kind("k", lambda *_: Half(), "k")
    with pytest.raises(PluginError, match=f"^k makes a Half without the method '{method}'") as told:
        made.create(*kind.positional, options={})
    assert told.value.hint == f"it needs {needs}"


def test_scorer_may_judge_pictures_or_whole_trials():
    class Whole:
        def score_trial(self, exhibit):
            """Judge nothing."""

        def revise(self, folder):
            """Change nothing."""

    ScorerKind("k", Whole, "k").create(options={})
