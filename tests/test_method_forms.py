"""Hyperparameters per model, options, and methods of whole tensors."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest

from bmerge import PerModel, Range, Weight, merge_method, ops, tensor_method
from bmerge.errors import MethodError
from bmerge.expr import reduces_to_input
from bmerge.method import Option


@merge_method
def weigh(
    base,
    *models,
    weight: PerModel[Weight] = 0.5,
    density: PerModel[Annotated[float, Range(0, 1, minimum=0, maximum=1)]] = 1.0,
    scale: Weight = 1.0,
    normalize: bool = False,
    vote: Literal["sum", "count"] = "sum",
):
    """Add weighted models."""
    result = base
    for model, w, d in zip(models, weight, density, strict=True):
        result = result + scale * w * d * model
    result = result / (1 + sum(weight)) if normalize else result
    return ops.abs(result) if vote == "count" else result


@merge_method
def pair(a, b, *, weight: PerModel[Weight] = 1.0):
    """Add two."""
    return weight[0] * a + weight[1] * b


@tensor_method(aliases=("back",))
def backwards(a, b, *, alpha: Weight = 0.5, part: PerModel[Weight] = 0.0):
    """Turn round."""
    return (alpha * a + b * part[1]).flip(0) + ops.random_uniform(a)


def test_hyperparameter_per_model_is_declared_once_and_numbered_for_models():
    assert [h.name for h in weigh.hyperparameters] == ["weight", "density", "scale"]
    assert [h.per_model for h in weigh.hyperparameters] == [True, True, False]
    names = [h.name for h in weigh.hyperparameters_of(3)]
    assert names == ["weight_1", "weight_2", "density_1", "density_2", "scale"]
    assert [h.name for h in weigh.hyperparameters_of(1)] == ["scale"]
    assert [h.name for h in pair.hyperparameters_of(2)] == ["weight_1", "weight_2"]
    assert weigh.graph(3).scalars == tuple(names)


def test_values_are_completed_from_the_common_one_and_the_default():
    values = weigh.complete({"weight": 0.1, "weight_2": 0.7, "density_1": 0.2}, 3, float)
    assert values == {
        "weight_1": 0.1, "weight_2": 0.7, "density_1": 0.2, "density_2": 1.0, "scale": 1.0,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["weights", "weight_3", "weight_0", "scale_1"])
def test_unknown_hyperparameter_is_an_error(name):
    with pytest.raises(MethodError, match=f"weigh has no hyperparameter '{name}'"):
        weigh.complete({name: 0.5}, 3, float)
    with pytest.raises(MethodError, match=f"weigh has no hyperparameter '{name}'"):
        weigh.validate({name: 0.5}, 3)


def test_values_per_model_are_checked():
    weigh.validate({"density": 0.5, "density_2": 1.0}, 3)
    with pytest.raises(MethodError, match=r"density_2 = 2.0 is greater than 1.0"):
        weigh.validate({"density_2": 2.0}, 3)


def test_method_is_called_with_one_number_or_one_per_model():
    assert weigh(1.0, 10.0, 100.0) == 56.0
    assert weigh(1.0, 10.0, 100.0, weight=1) == 111.0
    assert weigh(1.0, 10.0, 100.0, weight=[1, 0], normalize=True) == 5.5
    assert weigh(-1.0, vote="count") == 1.0
    with pytest.raises(MethodError, match="weight has 3 values for 2 models"):
        weigh(1.0, 10.0, 100.0, weight=[1, 0, 0])


def test_options_choose_the_graph():
    assert weigh.options == (
        Option("normalize", default=False, choices=(True, False)),
        Option("vote", default="sum", choices=("sum", "count")),
    )
    assert "abs" not in weigh.graph(2).ops
    assert "abs" in weigh.graph(2, {"vote": "count"}).ops
    assert weigh.graph(2, {"vote": "count"}) is weigh.graph(2, {"vote": "count"})
    assert reduces_to_input(weigh.graph(2), [0, 1, 1]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vote": "most"}, "weigh: vote = most is none of sum, count"),
        ({"vote": True}, "weigh: vote = true is none of sum, count"),
        ({"normalize": "true"}, "weigh: normalize = true is none of true, false"),
        ({"normalise": True}, "weigh has no option 'normalise'"),
    ],
)
def test_wrong_option_is_an_error(options, message):
    with pytest.raises(MethodError, match=message):
        weigh.graph(2, options)


def test_option_needs_a_default_among_its_choices():
    with pytest.raises(MethodError, match="'vote' has no default among its choices"):

        @merge_method
        def wrong(a, *, vote: Literal["sum", "count"] = "most"):
            return a


def test_tensor_method_is_one_call():
    graph = backwards.graph(2)
    assert backwards.opaque
    assert backwards.aliases == ("back",)
    assert graph.is_opaque
    assert graph.has_reduction
    assert graph.inputs == (0, 1)
    assert graph.nodes[graph.output].op == "call"
    assert reduces_to_input(graph, [0.0, 0.0, 1.0]) is None
    assert backwards.graph(2) is graph


def test_values_for_all_models_are_spread_and_others_kept():
    spread = weigh.spread({"weight": "w", "weight_2": "own", "scale": "s", "strange": "x"}, 3)
    assert spread == {"weight_1": "w", "weight_2": "own", "scale": "s", "strange": "x"}
    assert weigh.spread({"weight": "w"}, 1) == {}
