from __future__ import annotations

import pytest

from bmerge import BmergeError, GeneratorError, OptimiserKind, PluginError, ScorerKind


def _factory(space, seed, budget, *, step: float = 0.5, name: str, fail: str = ""):
    if fail == "ours":
        raise GeneratorError("as it should be")
    if fail:
        raise {"import": ImportError, "type": TypeError, "value": ValueError}[fail]("no luck")
    return space, seed, budget, step, name


KIND = OptimiserKind("kind", _factory, "a kind")


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
