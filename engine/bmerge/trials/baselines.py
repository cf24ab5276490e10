"""Baselines: what a found merge must beat. Each model as it is, then the centre of the space.

They are the first trials of a study and are scored like all others. No merge is needed to have a
model as it is; where a point of the search space means the same, the optimiser learns of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from bmerge.errors import StudyError
from bmerge.recipe.schema import BlockWeights
from bmerge.space.space import SearchSpace
from bmerge.trials.trial import Proposal

if TYPE_CHECKING:
    from bmerge.method import Hyperparameter

__all__ = ["baselines", "model_name", "pure_models"]

_MOST, _WORK = 1000, 300_000
"""Settings that are looked at, and operations that they may take together: under a second."""


def pure_models(
    groups: Sequence[Sequence[Hyperparameter]],
    reduces_to_input: Callable[[Sequence[float]], int | None],
    count: int,
    *,
    operations: int = 1,
) -> dict[int, dict[str, float]]:
    """Find uniform hyperparameters under which the merge is one of its inputs.

    Args:
        groups: hyperparameters of the method, those together that are of one kind for each model.
        reduces_to_input: hyperparameters in that order → index of the input that the merge
            then equals, or None.
        count: of the inputs.
        operations: of the merge, which one look takes; with many models there are many.

    Returns:
        Index of an input → hyperparameters; inputs that no setting gives are left out.
    """
    names = [h.name for group in groups for h in group]
    found: dict[int, dict[str, float]] = {}
    settings = itertools.product(*map(_candidates, groups))
    for parts in itertools.islice(settings, min(_MOST, _WORK // operations + 1)):
        values = [value for part in parts for value in part]
        index = reduces_to_input(values)
        if index is not None:
            found.setdefault(index, dict(zip(names, values, strict=True)))
            if len(found) == count:
                break
    return dict(sorted(found.items()))


def baselines(
    search: SearchSpace, pure: Mapping[int, Mapping[str, float]], count: int
) -> Iterator[Proposal]:
    """Yield the proposals for the models as they are and the centre of the space.

    Args:
        search: the space.
        pure: from :func:`pure_models`.
        count: of the models.
    """
    for index in range(count):
        weights = {name: BlockWeights(value) for name, value in pure.get(index, {}).items()}
        values: dict[str, float] = {}
        if index in pure:
            try:
                values = search.values(weights)
            except StudyError:
                values = {}  # outside the space, because of freezes or ranges; still worth seeing
        source = f"model {model_name(index)}"
        yield Proposal("baseline", source, values, weights, model=index)
    centre = search.centre()
    yield Proposal("baseline", "centre", centre, search.weights(centre))


def model_name(index: int) -> str:
    """Return a model's letter: a, b, …, z, aa, ab, …."""
    name, rest = "", index + 1
    while rest:
        rest, letter = divmod(rest - 1, 26)
        name = chr(ord("a") + letter) + name
    return name


def _candidates(group: Sequence[Hyperparameter]) -> list[tuple[float, ...]]:
    """Return values of a group at which a method may let an input through.

    They are 0, 1, the default and the ends of the range. Of a group for each model all are alike,
    or all but one are 0.
    """
    if not group:  # of further models, where there are none
        return [()]
    h = group[0]
    values = [v for v in dict.fromkeys((h.default, 0.0, 1.0, h.low, h.high)) if not h.problem(v)]
    if len(group) == 1:
        return [(value,) for value in values]
    alike = [(value,) * len(group) for value in values]
    single = [
        tuple(value if place == index else 0.0 for place in range(len(group)))
        for value in dict.fromkeys((1.0, *values))
        for index in range(len(group))
        if value and not h.problem(value) and not h.problem(0.0)
    ]
    return [*single, *alike]
