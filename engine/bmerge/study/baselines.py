"""Baselines: what a found merge must beat. Each model pure, then the centre of the space.

They are the first trials of a study and are scored like all others.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from bmerge.errors import StudyError
from bmerge.recipe.schema import BlockWeights
from bmerge.study.space import SearchSpace
from bmerge.study.trial import Proposal

if TYPE_CHECKING:
    from bmerge.method import Hyperparameter

__all__ = ["baselines", "pure_models"]

_MOST = 3000
"""Settings that are looked at; with one weight per model there would be millions."""


def pure_models(
    hyperparameters: Sequence[Hyperparameter],
    reduces_to_input: Callable[[Sequence[float]], int | None],
) -> dict[int, dict[str, float]]:
    """Find uniform hyperparameters under which the merge is one of its inputs.

    Args:
        hyperparameters: of the method.
        reduces_to_input: hyperparameters in that order → index of the input that the merge
            then equals, or None.

    Returns:
        Index of an input → hyperparameters; inputs that no setting gives are left out.
    """
    found: dict[int, dict[str, float]] = {}
    settings = itertools.product(*(_candidates(h) for h in hyperparameters))
    for values in itertools.islice(settings, _MOST):
        index = reduces_to_input(values)
        if index is not None:
            names = [h.name for h in hyperparameters]
            found.setdefault(index, dict(zip(names, values, strict=True)))
    return dict(sorted(found.items()))


def baselines(
    search: SearchSpace, pure: dict[int, dict[str, float]], names: Sequence[str]
) -> Iterator[Proposal]:
    """Yield the proposals for the pure models and the centre of the space.

    Args:
        search: the space.
        pure: from :func:`pure_models`.
        names: of the inputs, in their order, for example ``a``, ``b``.
    """
    for index, uniform in pure.items():
        weights = {name: BlockWeights(value) for name, value in uniform.items()}
        try:
            values = search.values(weights)
        except StudyError:
            values = {}  # outside the space, because of freezes or ranges; still worth seeing
        yield Proposal("baseline", f"model {names[index]}", values, weights)
    centre = search.centre()
    yield Proposal("baseline", "centre", centre, search.weights(centre))


def _candidates(h: Hyperparameter) -> list[float]:
    """Return values of ``h`` at which a method may let an input through: 0, 1 and the range's."""
    low, high = h.minimum, h.maximum
    return [
        value
        for value in dict.fromkeys((h.default, 0.0, 1.0, h.low, h.high))
        if (low is None or value >= low) and (high is None or value <= high)
    ]
