"""@merge_method: what it reads from a signature, what it refuses, and what the object can do."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Literal

import pytest

from bmerge import (
    Alike,
    Difference,
    ParameterGroup,
    PerModel,
    Range,
    Weight,
    merge_method,
    option,
    tensor_method,
)
from bmerge.errors import MethodError
from bmerge.method import Hyperparameter, MergeMethod, Option


@merge_method
def mix(
    a,
    b: NotImported,  # noqa: F821  only annotations of hyperparameters are looked at
    *,
    alpha: Weight = 0.5,
    beta: Annotated[float, Range(-1, 2, minimum=-3)] = 1,
):
    """Mix two models.

    More words.
    """
    return (1 - alpha) * a + alpha * beta * b


@merge_method(name="average", aliases=("mean",))
def n_average(*models):
    """Average any number of models."""
    return sum(models[1:], start=models[0]) / len(models)


def test_method_is_read_from_the_signature():
    assert isinstance(mix, MergeMethod)
    assert (mix.name, mix.aliases, mix.model_names, mix.variadic) == ("mix", (), ("a", "b"), False)
    assert mix.hyperparameters == (
        Hyperparameter("alpha", 0.5, 0.0, 1.0, None, None),
        Hyperparameter("beta", 1.0, -1.0, 2.0, -3.0, None),
    )
    assert mix.summary == "Mix two models."
    assert mix.doc == "Mix two models.\n\nMore words."


def test_method_with_arguments_to_the_decorator():
    assert (n_average.name, n_average.aliases) == ("average", ("mean",))
    assert (n_average.model_names, n_average.variadic) == ((), True)
    assert n_average.hyperparameters == ()


def test_calling_the_method_calls_the_function():
    assert mix(2.0, 4.0) == 3.0
    assert mix(2.0, 4.0, alpha=1.0, beta=0.5) == 2.0
    assert n_average(1.0, 2.0, 6.0) == 3.0


def test_method_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        mix.name = "other"


@pytest.mark.parametrize(("method", "n"), [(mix, 2), (n_average, 1), (n_average, 5)])
def test_number_of_models_that_fits(method, n):
    method.check_models(n)
    assert method.graph(n).n_models == n


@pytest.mark.parametrize(
    ("method", "n", "message"),
    [
        (mix, 3, r"mix takes 2 models \(a, b\), got 3"),
        (mix, 0, r"mix takes 2 models \(a, b\), got 0"),
        (n_average, 0, r"average takes 1 or more models \(…\), got 0"),
        (merge_method(lambda a: a, name="one"), 2, r"one takes 1 model \(a\), got 2"),
        (
            merge_method(lambda base, *others: base, name="base_and"), 0,
            r"base_and takes 1 or more models \(base, …\), got 0",
        ),
    ],
)  # fmt: skip
def test_number_of_models_that_does_not_fit(method, n, message):
    with pytest.raises(MethodError, match=message):
        method.check_models(n)
    with pytest.raises(MethodError, match=message):
        method.graph(n)


def test_graph_is_traced_once_for_each_number_of_models():
    calls = []

    @merge_method
    def counted(*models, alpha: Weight = 0.5):
        calls.append(len(models))
        return models[0] * alpha

    graphs = [counted.graph(2), counted.graph(3), counted.graph(2)]
    assert calls == [2, 3]
    assert graphs[0] is graphs[2]
    assert graphs[0].scalars == ("alpha",)


def test_validate_accepts_what_has_a_meaning():
    mix.validate({})
    mix.validate({"alpha": 17.0, "beta": -3.0})


@pytest.mark.parametrize(
    ("values", "message", "hint"),
    [
        ({"alpa": 1.0}, "mix has no hyperparameter 'alpa'", "did you mean 'alpha'?"),
        ({"alpha": float("nan")}, "mix: alpha = nan is not a finite number", None),
        ({"alpha": float("inf")}, "mix: alpha = inf is not a finite number", None),
        ({"beta": -3.1}, "mix: beta = -3.1 is less than -3.0", "valid: -3.0 to any"),
    ],
)
def test_validate_refuses_with_a_hint(values, message, hint):
    with pytest.raises(MethodError) as caught:
        mix.validate(values)
    assert str(caught.value) == message
    assert caught.value.hint == hint


def _models_with_default(a, b=None):
    return a


def _keywords(a, **options):
    return a


def _no_models(*, alpha: Weight = 0.5):
    return alpha


def _no_default(a, *, alpha: Weight):
    return a


def _no_annotation(a, *, alpha=0.5):
    return a


def _plain_float(a, *, alpha: float = 0.5):
    return a


def _unknown_annotation(a, *, alpha: Wheight = 0.5):  # noqa: F821
    return a


def _boolean(a, *, alpha: Weight = True):
    return a


def _empty_range(a, *, alpha: Annotated[float, Range(1, 1)] = 1):
    return a


def _outside(a, *, alpha: Annotated[float, Range(0, 1, maximum=0.5)] = 0.2):
    return a


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (_models_with_default, "the model 'b' has a default"),
        (_keywords, "takes **options"),
        (_no_models, "takes no model"),
        (_no_default, "'alpha' has no number as its default"),
        (_no_annotation, "'alpha' has no annotation"),
        (_plain_float, "'alpha' has the annotation float"),
        (_unknown_annotation, "'alpha' has the annotation Wheight"),
        (_boolean, "'alpha' has no number as its default"),
        (_empty_range, "'alpha' is searched from 1 to 1"),
        (_outside, "'alpha' has a value out of its own bounds: 1.0 is greater than 0.5"),
    ],
)
def test_signature_of_no_merge_method_is_refused(function, words):
    with pytest.raises(MethodError) as caught:
        merge_method(function)
    assert words in str(caught.value)
    assert function.__name__ in str(caught.value)


def test_annotations_say_what_is_a_difference():
    @merge_method
    def mixed(a: Alike, b, *more: Difference) -> Difference:
        """Mix."""
        return a + b + more[0]

    kinds = [mixed.content_of(index).value for index in range(4)]
    assert kinds == ["alike", "model", "difference", "difference"]
    assert mixed.gives.value == "difference"


@dataclass(frozen=True, slots=True, kw_only=True)
class Summing(ParameterGroup):
    """How a sum is made."""

    weight: PerModel[Weight] = option(0.5, "one for each model")
    scale: Annotated[float, Range(0, 2, minimum=0)] = option(1.0, "factor of the sum")
    halved: bool = option(default=False, help="divide by 2")
    sign: Literal["plus", "minus"] = option("plus", "of the sum")

    def of(self, models):
        parts = [w * model for w, model in zip(self.weight, models, strict=True)]
        whole = self.scale * sum(parts[1:], start=parts[0]) / (2 if self.halved else 1)
        return whole if self.sign == "plus" else -whole


@pytest.mark.parametrize("declare", [merge_method, tensor_method])
def test_a_group_stands_for_its_parameters(declare):
    @declare
    def summed(base, *models, power: Weight = 0.1, sums: Summing = Summing(scale=1.5)):
        """Add up.

        Args:
            base: the first.
            models: all others.
            power: of the base.
            sums: how.
        """
        return base * power + sums.of(models)

    assert summed.hyperparameters == (
        Hyperparameter("power", 0.1, 0.0, 1.0),
        Hyperparameter("weight", 0.5, 0.0, 1.0, per_model=True),
        Hyperparameter("scale", 1.5, 0.0, 2.0, minimum=0.0),
    )
    assert summed.options == (
        Option("halved", default=False, choices=(True, False)),
        Option("sign", "plus", ("plus", "minus")),
    )
    assert "    weight: one for each model.\n    scale: factor of the sum.\n" in summed.doc
    assert summed(10.0, 2.0, 4.0, weight=(1.0, 0.5), halved=True) == 10.0 * 0.1 + 1.5 * 4.0 / 2
    assert summed(10.0, 2.0, scale=1.0, sign="minus") == 10.0 * 0.1 - 1.0


def test_a_method_of_a_group_is_traced_for_each_form():
    @merge_method
    def summed(*models, sums: Summing = Summing()):
        """Add up."""
        return sums.of(models)

    plain, halved = summed.graph(2), summed.graph(2, {"halved": True})
    assert plain.scalars == halved.scalars == ("weight_1", "weight_2", "scale")
    assert plain is not halved
    with pytest.raises(MethodError, match=r"scale = -1.0 is less than 0.0"):
        summed.validate({"scale": -1.0})
