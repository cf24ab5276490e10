"""A study, ready to run: objects only, no names of plugins.

Whoever starts one (the command line) has read the file, opened the models and constructed the
plugins; the loop in :mod:`bmerge.study.loop` does the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Protocol

from bmerge.evaluate.evaluation import Evaluator
from bmerge.evaluate.protocols import MergedModel
from bmerge.recipe.schema import BlockWeights, Recipe
from bmerge.records import dataclass
from bmerge.space.protocols import Optimiser, Space
from bmerge.space.space import SearchSpace
from bmerge.storage.definition import StudyDefinition
from bmerge.storage.store import Store
from bmerge.study.design import initial_points
from bmerge.study.desk import Desk, Evaluates
from bmerge.study_file.config import InitialDesign, Racing
from bmerge.trials.limits import UNLIMITED, Limits
from bmerge.trials.objective import Objectives
from bmerge.trials.trial import Proposal, Trial

__all__ = [
    "Closeable",
    "MergesModels",
    "OptimiserFactory",
    "PreparedStudy",
    "RemoteEvaluators",
    "Workplace",
    "initial_proposals",
]


_ASKS = 40  # that an optimiser may reckon with, where only time limits them


class Closeable(MergedModel, Protocol):
    """A merged model that lets go of its files when its trial ends."""

    def close(self) -> None:
        """Remove what was written for it."""


class MergesModels(Protocol):
    """What a study needs of :class:`bmerge.pipeline.Merger`."""

    @property
    def scratch(self) -> Path:
        """The folder for merged files of trials."""

    def size(self, merge: Mapping[str, BlockWeights] | int | Recipe, /) -> int:
        """Return the bytes of a merge's file, but for its header."""

    def model(self, merge: Mapping[str, BlockWeights] | int | Recipe, /) -> Closeable:
        """Return a merge that has not been carried out yet.

        Args:
            merge: its hyperparameters, the index of an input that is given as it is, or the recipe
                of any other merge.
        """

    def write(self, merge: Mapping[str, BlockWeights] | int | Recipe, output: Path, /) -> object:
        """Write a merge to a file, atomically."""

    def recipe(self, merge: Mapping[str, BlockWeights] | int | Recipe, /) -> Recipe:
        """Return the recipe whose merge ``write`` writes."""

    def close(self) -> None:
        """Remove what is kept of one trial for the next; there may be more of them."""


class OptimiserFactory(Protocol):
    """Makes the optimiser once its space, seed and budget are known."""

    def __call__(self, space: Space, seed: int, budget: int, /) -> Optimiser:
        """Return a new optimiser."""


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where one trial at a time is evaluated.

    Args:
        evaluator: generates and scores.
        merger: makes its merged models.
    """

    evaluator: Evaluator
    merger: MergesModels


class RemoteEvaluators(Protocol):
    """Evaluators that are not in this process."""

    @property
    def number(self) -> int:
        """How many there are."""

    def evaluators(self, study: PreparedStudy, desk: Desk, /) -> Sequence[Evaluates]:
        """Return them, each for one thread; called once, when a run begins."""

    def close(self) -> None:
        """Let them go."""


@dataclass(frozen=True, slots=True)
class PreparedStudy:
    """Everything that a run needs.

    Args:
        name: of the study.
        folder: where it is stored.
        search: the search space.
        merger: makes merged models and writes the best.
        evaluator: generates and scores.
        objectives: what is maximised.
        optimiser: makes the optimiser.
        optimiser_name: as the source of its proposals.
        seed: of the optimiser.
        queue: proposals of the first trials, in order: baselines, attempts, initial design.
        n_iters: trials that the optimiser proposes after them; None for as many as ``limits`` let.
        definition: from :func:`bmerge.storage.definition.definition_of`.
        storage: URL of an Optuna database, or None.
        patience: minutes for which a run waits for its surroundings.
        limits: of the search, beside ``n_iters``.
        least_gain: the search ends once the optimiser expects less of its next proposal; None
            for however little.
        confirm: fresh pictures for the winner and its rivals; None for an eighth of the search's,
            64 at most; 0 for none.
        rivals: name → recipe of further merges that the winner is compared with.
        file: that describes the study, where there is one.
        others: where trials are evaluated as well, at the same time.
        remote: evaluators in other processes, instead of those here; None for none.
        racing: whether trials that fall behind are stopped; ``auto`` measures whether that pays.
    """

    name: str
    folder: Path
    search: SearchSpace
    merger: MergesModels
    evaluator: Evaluator
    objectives: Objectives
    optimiser: OptimiserFactory
    optimiser_name: str
    seed: int
    queue: Collection[Proposal]
    n_iters: int | None
    definition: StudyDefinition
    storage: str | None = None
    patience: float = 30.0
    limits: Limits = UNLIMITED
    least_gain: float | None = None
    racing: Racing = "auto"
    confirm: int | None = 0
    rivals: Mapping[str, Recipe] = field(default_factory=dict)
    file: Path | None = None
    others: tuple[Workplace, ...] = ()
    remote: RemoteEvaluators | None = None

    @property
    def workplaces(self) -> tuple[Workplace, ...]:
        """Where trials are evaluated, one at a time in each."""
        return (Workplace(self.evaluator, self.merger), *self.others)

    @property
    def slots(self) -> int:
        """How many trials are evaluated at the same time."""
        return len(self.workplaces) if self.remote is None else self.remote.number

    def close(self) -> None:
        """Close all generators and mergers, and let evaluators elsewhere go."""
        if self.remote is not None:
            self.remote.close()
        for place in self.workplaces:
            place.evaluator.close()
            place.merger.close()

    def pending(self, trials: Mapping[int, Trial]) -> Iterator[Proposal]:
        """Yield what of the queue no trial has begun yet, in order.

        A study of an earlier release may have begun without some baselines: it gets them now.
        """
        begun = Counter((t.proposal.phase, t.proposal.source) for t in trials.values())
        for proposal in self.queue:
            kind = proposal.phase, proposal.source
            if not begun[kind]:
                yield proposal
            begun[kind] -= begun[kind] > 0

    def open_store(self, *, forking: bool = False) -> Store:
        """Open the study's trials, or begin them; see :class:`bmerge.storage.store.Store`."""
        return Store(
            self.folder,
            self.name,
            definition=self.definition,
            objectives=self.objectives,
            budget=self.asks,
            url=self.storage,
            forking=forking,
        )

    @property
    def bounds(self) -> Limits:
        """The limits of the search, if nobody says otherwise: whichever comes first."""
        if self.n_iters is None:
            return self.limits
        trials = len(self.queue) + self.n_iters
        return replace(self.limits, trials=min(trials, self.limits.trials or trials))

    @property
    def trials(self) -> int | None:
        """How many trials the study has at most; None where only pictures or time limit them."""
        return self.bounds.trials

    @property
    def asks(self) -> int:
        """How many proposals the optimiser may reckon with; whole trials, where pictures count."""
        left = self.bounds.trials_left((), len(self.evaluator.payloads))
        return _ASKS if left is None else max(0, left - len(self.queue))


def initial_proposals(
    search: SearchSpace, design: InitialDesign, count: int, seed: int
) -> list[Proposal]:
    """Return the proposals of the initial design."""
    return [
        Proposal("init", design, point, search.weights(point))
        for point in initial_points(design, search.space, count, seed)
    ]
