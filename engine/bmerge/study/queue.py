"""The proposals of a study's first trials: those that are given, then those of the design.

The design is made when it is reached. It takes scipy's statistics, which take as long to import as
half of what else comes before the first trial; evaluators elsewhere never reach it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import takewhile

from bmerge.trials.trial import Proposal

__all__ = ["Queue", "baselines_of"]


class Queue(Collection[Proposal]):
    """Proposals in the order in which they are tried.

    Args:
        given: the first ones: baselines, attempts, what other studies found.
        design: makes those that follow; called once at most.
        count: how many it makes.
    """

    def __init__(
        self, given: Sequence[Proposal], design: Callable[[], Sequence[Proposal]], count: int
    ) -> None:
        self._given, self._make, self._count = given, design, count

    def __len__(self) -> int:
        """Return how many there are, without making them."""
        return len(self._given) + self._count

    def __iter__(self) -> Iterator[Proposal]:
        """Yield the proposals."""
        yield from self._given
        yield from self._design

    def __contains__(self, proposal: object) -> bool:
        """Tell whether it is among them."""
        return any(proposal == each for each in self)

    @cached_property
    def _design(self) -> Sequence[Proposal]:
        return self._make() if self._count else ()

    @property
    def given(self) -> Sequence[Proposal]:
        """The first ones, for which no design is made."""
        return self._given


def baselines_of(queue: Iterable[Proposal]) -> Iterator[Proposal]:
    """Yield the baselines of a study, which come first; no design is made for it."""
    given = queue.given if isinstance(queue, Queue) else queue
    return takewhile(lambda proposal: proposal.phase == "baseline", given)
