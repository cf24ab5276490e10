"""The optimiser's side of a run: what was finished is told to it once, then it is asked and told.

Whatever it proposes is checked here, so that no wrong proposal reaches a merge.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial

from bmerge.errors import PluginError, StudyError
from bmerge.faults import explained
from bmerge.logs import logger
from bmerge.space.points import checked_point
from bmerge.space.protocols import Foreseeing, Optimiser
from bmerge.storage.store import Store
from bmerge.study.study import PreparedStudy
from bmerge.trials.objective import reference
from bmerge.trials.told import result_of, results_of
from bmerge.trials.trial import Proposal, Trial

__all__ = ["Asking"]


class _NothingLeftError(StudyError):
    """The optimiser has nothing left to propose."""


class Asking:
    """One process's talk with the optimiser.

    Args:
        study: that has it.
        store: of the study; its trials say what the optimiser is told before it is asked.
    """

    def __init__(self, study: PreparedStudy, store: Store) -> None:
        self._study, self._store = study, store
        self._begun = False
        self.over = ""
        """Why nothing more is proposed; empty as long as there is no reason."""
        self.seconds: float | None = None
        """That the optimiser's last proposal took."""
        self._optimiser: Optimiser = study.optimiser(
            study.search.space, study.seed, store.attributes["budget"]
        )

    def ready(self, *, in_flight: bool) -> bool:
        """Tell whether the next proposal can be made now.

        Where scores depend on the trials before the optimiser's first, it cannot be asked
        while some of those are being evaluated.
        """
        if self._begun or not self._study.objectives.refer:
            return True
        return not in_flight or any(True for _ in self._study.pending(self._store.trials))

    def propose(self) -> Proposal | None:
        """Return the proposal of a new trial: the next in the queue, or the optimiser's.

        It is None, and :attr:`over` says why, where every point of the space was tried, or the
        optimiser has nothing left to propose or expects less of it than the study asks for.
        """
        study = self._study
        if pending := next(study.pending(self._store.trials), None):
            return pending
        if self._is_exhausted():
            return None
        start = time.perf_counter()
        try:
            values = self._ask()
        except _NothingLeftError as error:
            self.over = str(error)
            return None
        self.seconds = time.perf_counter() - start
        if self._expects_too_little():
            return None
        return Proposal(
            "iters", study.optimiser_name, values, study.search.weights(values), asked=True
        )

    def propose_again(self, trial: Trial) -> bool:
        """Ask for a running trial's proposal again; tell whether the optimiser knows it now."""
        if not trial.proposal.asked:
            return False
        if self._ask() == trial.proposal.values:
            return True
        if self._study.slots > 1:  # trials end in any order: that is not a surprise
            return False
        name = self._study.optimiser_name
        logger(__name__).warning("%s proposes another point than before the interruption", name)
        return False

    def tell(self, trial: Trial, *, known: bool) -> None:
        """Tell of a finished trial, if the optimiser has begun; else it is told at its beginning.

        Args:
            trial: complete or failed.
            known: whether the optimiser proposed it in this process.
        """
        if self._begun and trial.proposal.values:
            result = result_of(trial, self._store.trials, self._study.objectives)
            with self._explained(f"was told of trial {trial.number}"):
                self._optimiser.tell(replace(result, proposed=known))

    def _is_exhausted(self) -> bool:
        space = self._study.search.space
        if space.size is None:
            return False
        points = [trial.proposal.values for trial in self._store.trials.values()]
        tried = {tuple(point[n] for n in space.names) for point in points if point}
        if len(tried) < space.size:
            return False
        self.over = f"all {space.size} merges of the space were tried"
        return True

    def _expects_too_little(self) -> bool:
        least, optimiser = self._study.least_gain, self._optimiser
        gain = optimiser.expected_gain if isinstance(optimiser, Foreseeing) else None
        if least is None or gain is None or gain >= least:
            return False
        name = self._study.optimiser_name
        self.over = f"{name} expects a gain of {gain:.2g} from another trial, less than {least:g}"
        return True

    def _ask(self) -> dict[str, float]:
        """Ask for a proposal; before the first, tell what is finished: scores stand still now."""
        if not self._begun:
            self._begun = True
            normalise = self._study.objectives.normalise
            if normalise != "none" and not reference(self._store.trials):
                message = "scores cannot be normalised: no trial before the optimiser's is complete"
                raise StudyError(message, hint="set normalise to none")
            if results := results_of(self._store.trials, self._study.objectives):
                with self._explained(f"was told of {len(results)} finished trials"):
                    self._optimiser.replay(results)
        with self._explained(f"was asked for trial {len(self._store.trials)}"):
            try:
                proposal: object = self._optimiser.ask()
            except StudyError as error:
                raise _NothingLeftError(str(error)) from error
        return self._checked(proposal)

    def _explained(self, when: str) -> AbstractContextManager[None]:
        """Say of what the optimiser raises that it does, and when."""
        name = self._study.optimiser_name
        doing = f"the optimiser {name!r} failed when it {when}"
        return explained(doing, partial(PluginError, plugin=name))

    def _checked(self, proposal: object) -> dict[str, float]:
        """Return the proposal as floats of their kinds, or blame the optimiser."""
        name = self._study.optimiser_name
        if not isinstance(proposal, Mapping):
            message = f"the optimiser {name!r} proposed a {type(proposal).__name__}"
            raise PluginError(f"{message}, not a mapping of values", plugin=name)
        try:
            return checked_point(self._study.search.space, proposal)
        except ValueError as error:
            message = f"the optimiser {name!r} proposed {error}"
            raise PluginError(message, plugin=name) from error
