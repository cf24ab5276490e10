"""What an optimiser is, and the words that it shares with the study: space, proposal, result.

An optimiser knows the space, a seed and the results so far; nothing of merges or pictures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Literal, Protocol, runtime_checkable

from bmerge.records import dataclass

__all__ = ["Foreseeing", "Optimiser", "Parameter", "ParameterKind", "Result", "Space"]

ParameterKind = Literal["float", "log", "integer", "categorical", "simplex"]
"""What an optimiser must be able to take: numbers, numbers by their logarithm, whole numbers,
choices between words, weights that sum to 1."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One dimension of the search space.

    Args:
        name: unique within the space, for example ``alpha.IN04`` or ``alpha.unet``.
        low: least value.
        high: greatest value, above ``low``.
        log: whether values matter by their logarithm; ``low`` is above 0 then.
        integer: whether values are whole numbers, with bounds that are; they are floats all the
            same.
        choices: two or more words, between which nothing lies. The value is the position of one,
            from ``low``, 0, to ``high``, the last one's.
        simplex: name of the group whose values, each within [0, 1], sum to 1; or None.
    """

    name: str
    low: float
    high: float
    log: bool = False
    integer: bool = False
    choices: tuple[str, ...] = ()
    simplex: str | None = None

    @property
    def kind(self) -> ParameterKind:
        """What an optimiser must be able to take."""
        if self.choices:
            return "categorical"
        if self.simplex is not None:
            return "simplex"
        if self.integer:
            return "integer"
        return "log" if self.log else "float"


@dataclass(frozen=True, slots=True)
class Space:
    """The dimensions that an optimiser searches, in a fixed order."""

    parameters: tuple[Parameter, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters' names, in order."""
        return tuple(parameter.name for parameter in self.parameters)

    @property
    def size(self) -> int | None:
        """How many points there are; None where numbers lie between any two."""
        if not all(p.kind in ("integer", "categorical") for p in self.parameters):
            return None
        return math.prod(int(p.high - p.low) + 1 for p in self.parameters)

    @property
    def simplices(self) -> dict[str, tuple[Parameter, ...]]:
        """Name of each simplex → its parameters, in order."""
        found: dict[str, tuple[Parameter, ...]] = {}
        for p in self.parameters:
            if p.simplex is not None:
                found[p.simplex] = (*found.get(p.simplex, ()), p)
        return found

    def centre(self) -> dict[str, float]:
        """Return the middle of every parameter; of a simplex, equal weights."""
        groups = self.simplices
        return {
            p.name: 1 / len(groups[p.simplex]) if p.simplex else _middle(p) for p in self.parameters
        }


def _middle(p: Parameter) -> float:
    """Return the middle of a parameter on its own scale; of choices, the first."""
    if p.choices:
        return p.low
    middle = math.sqrt(p.low * p.high) if p.log else (p.low + p.high) / 2
    return float(math.floor(middle)) if p.integer else middle


@dataclass(frozen=True, slots=True)
class Result:
    """One finished trial, as an optimiser sees it.

    Args:
        number: of the trial, from 0, in the order in which they were asked for.
        values: parameter name → value that was tried.
        score: what is maximised, over all pictures of the study; None for a failed trial. With
            several objectives, their sum.
        proposed: whether this optimiser's ``ask`` made the proposal (initial points and
            queued ones were not asked for).
        sequence: position among all tells of the study, from 0.
        asks_before: how many asks of this optimiser came before this tell.
        scores: each objective's value where there are several, in the study's order; else, and
            for a failed trial, empty.
        variance: of the score's error as the mean over all pictures of the study: 0 where they
            were all made. That different pictures would have said something else does not count.
        pictures: how many the score comes from; None where nobody counted.
        pruned: whether the trial was stopped early, because it was behind the best one on the
            pictures that it had. Its score is then the best one's plus the mean difference on
            those pictures: too low for a good merge that was unlucky, hardly ever too high.
        by_picture: id of each picture → what it says of the trial. The mean of all pictures of a
            complete trial is its score; the same id is the same prompt and seed in every trial,
            and a picture that the study lists twice is there once, with what both say.
            Empty where pictures do not add up to the score: with several objectives, with a tally
            other than the mean, where a constraint lowers the score, and for a failed trial.
    """

    number: int
    values: Mapping[str, float]
    score: float | None
    proposed: bool = True
    sequence: int = 0
    asks_before: int = 0
    scores: tuple[float, ...] = ()
    variance: float = 0.0
    pictures: int | None = None
    pruned: bool = False
    by_picture: Mapping[str, float] = field(default_factory=dict)


@runtime_checkable
class Optimiser(Protocol):
    """Proposes the next trial.

    Life: constructed once per process with ``(space, seed, budget, **options)``. If trials are
    already finished, those of the initial design or of earlier runs, ``replay`` is called once,
    before anything else. Then come ``ask`` and ``tell``, from one thread; every ask is told once,
    in the order of finishing. They alternate where one trial is evaluated at a time. Where there
    are several, more asks come before a tell: what was asked for and not told yet is in flight,
    and its neighbourhood is not worth asking for again.
    """

    def ask(self) -> Mapping[str, float]:
        """Return the next point: a value within its bounds for every parameter.

        Raises:
            StudyError: if nothing is left to propose.
        """

    def tell(self, result: Result) -> None:
        """Take the result of one trial, failed ones too."""

    def replay(self, results: Sequence[Result]) -> None:
        """Take what is finished already: the initial design, and what earlier runs did.

        Afterwards the optimiser must propose what it would have proposed without an
        interruption; where it cannot, it comes as near as it can and logs a warning. Points of
        the initial design, which the study makes itself, were not asked for.

        Args:
            results: all finished trials in the order of their tells.
        """


@runtime_checkable
class Foreseeing(Protocol):
    """What an optimiser has beside ``ask`` if its kind says ``foresees=True``."""

    @property
    def expected_gain(self) -> float | None:
        """By how much the last proposal is expected to exceed the best score.

        Read after each ``ask``; None where that proposal was made in another way. The study ends
        once it is below ``least_gain``, if its file has that.
        """
