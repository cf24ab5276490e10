"""Statistics of the whole model: how a method declares them, and what is refused."""

from __future__ import annotations

from typing import Annotated

import pytest

from bmerge import Statistic, Weight, merge_method, ops
from bmerge.errors import MethodError
from bmerge.expr import reduces_to_input


def spread(a, b):
    return ops.vector_norm(b - a, axis=0)


@merge_method
def even(a, b, *, alpha: Weight = 0.5, mean: Annotated[float, Statistic(spread, ops.mean)]):
    """Mix."""
    return a + alpha * mean * (b - a)


def test_statistic_is_a_parameter_that_is_neither_searched_nor_given():
    assert [h.name for h in even.hyperparameters] == ["alpha"]
    assert [s.name for s in even.statistics] == ["mean"]
    assert even.graph(2).scalars == ("alpha", "mean")
    assert even(1.0, 3.0, alpha=0.5, mean=4.0) == 5.0
    with pytest.raises(MethodError, match="even has no hyperparameter 'mean'"):
        even.complete({"mean": 1.0}, 2, float)


def test_copies_are_found_while_it_is_not_known():
    assert reduces_to_input(even.graph(2), [0.0]) == 0
    assert reduces_to_input(even.graph(2), [1.0]) is None
    assert reduces_to_input(even.graph(2), [1.0, 0.0]) == 0


@pytest.mark.parametrize(
    ("measure", "fold", "message"),
    [
        (lambda a, b: b - a, ops.mean, "its measure does not give one value per tensor or column"),
        (lambda a, b: ops.sum(a, axis=-1), ops.mean, "its measure does not give one value"),
        (spread, ops.abs, "its fold does not give one value"),
        (ops.sum, ops.mean, "takes"),
    ],
    ids=["elements", "vectors", "fold", "models"],
)
def test_what_gives_too_much_is_refused(measure, fold, message):
    statistic = Statistic(measure, fold, name="mean")
    with pytest.raises(MethodError, match=message):
        _ = statistic.measure_graph(2), statistic.fold_graph()
