"""The loop of a study: propose, merge, generate, score, store, tell; again until enough.

Everything that has happened is in the store before the next thing happens, so a run can be
killed at any moment and the next one goes on: finished trials are told to the optimiser again,
a trial that was running is evaluated again under its number.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bmerge.errors import (
    BmergeError,
    GeneratorError,
    PluginError,
    ScorerError,
    StudyError,
    StudyInterruptedError,
)
from bmerge.evaluate.evaluation import ScoredPicture
from bmerge.evaluate.pictures import save_picture
from bmerge.study.best import write_best, write_front
from bmerge.study.definition import check_definition
from bmerge.study.events import (
    Event,
    PictureDone,
    StudyFinished,
    StudyStarted,
    TrialFinished,
    TrialStarted,
    Waiting,
)
from bmerge.study.judging import judge_trial, revisions_of
from bmerge.study.objective import reference
from bmerge.study.protocols import Optimiser
from bmerge.study.store import Store
from bmerge.study.study import Study
from bmerge.study.trial import Proposal, Trial, best_of, front_of, results_of

__all__ = ["run_study"]

_logger = logging.getLogger(__name__)

_FAILURES = 3  # failed trials in a row after which something is wrong that trials do not mend
_TOLERANCE = 1e-9  # of a proposal against its bounds, relative to their width


def run_study(
    study: Study,
    *,
    trials: int | None = None,
    on_event: Callable[[Event], None] = lambda _: None,
    keep_best: bool = True,
    accept_changes: bool = False,
) -> StudyFinished:
    """Run a study to its end, or take it up where an earlier run stopped.

    Args:
        study: what to run. Its generator is closed at the end, whatever happens.
        trials: how many trials the study shall have in all; None takes the study's own.
        on_event: called from this thread with each :mod:`event <bmerge.study.events>`.
        keep_best: whether the best merge is written at the end.
        accept_changes: whether it goes on with other contents of files, weights and code.

    Returns:
        The last event, with the best merge.

    Raises:
        StudyError: if the study cannot be run or its trials fail one after the other.
        StudyInterruptedError: after Ctrl-C; what is finished is stored.
    """
    try:
        with Store(
            study.folder,
            study.name,
            definition=study.definition,
            objectives=study.objectives,
            budget=study.n_iters,
            url=study.storage,
        ) as store:
            known = store.attributes["definition"]
            store.define(
                check_definition(
                    known, study.definition, study.folder, accept_changes=accept_changes
                )
            )
            total = study.trials if trials is None else trials
            return _Run(study, store, total, on_event, keep_best=keep_best).run()
    except KeyboardInterrupt as interrupt:
        message = f"interrupted; finished trials are stored in {study.folder}"
        raise StudyInterruptedError(message, hint="the same command again goes on") from interrupt
    finally:
        study.evaluator.generator.close()


class _Run:
    """One process's work on a study."""

    def __init__(
        self,
        study: Study,
        store: Store,
        total: int,
        on_event: Callable[[Event], None],
        *,
        keep_best: bool,
    ) -> None:
        self.study, self.store, self.total, self.on_event = study, store, total, on_event
        self.keep_best = keep_best
        self.optimiser: Optimiser = study.optimiser(
            study.search.space, study.seed, store.attributes["budget"]
        )
        self.begun = False
        self.failures = 0

    def run(self) -> StudyFinished:
        """Go through the trials and write the best."""
        running = self.store.running
        done = len(self.store.trials) - len(running)
        self.on_event(StudyStarted(done, max(self.total, done), best_of(self.store.revised)))
        for trial in running:
            self._evaluate(trial, known=self._asked_again(trial), again=True)
        while len(self.store.trials) < self.total:
            proposal = self._propose(len(self.store.trials))
            trial = self.store.start(proposal, self.study.search.space)
            self._evaluate(trial, known=proposal.asked)
        return self._finish()

    def _propose(self, number: int) -> Proposal:
        if number < len(self.study.queue):
            return self.study.queue[number]
        values = self._ask()
        weights = self.study.search.weights(values)
        return Proposal("iters", self.study.optimiser_name, values, weights, asked=True)

    def _asked_again(self, trial: Trial) -> bool:
        """Ask for a running trial's proposal again, so that the optimiser knows what it is told."""
        if not trial.proposal.asked:
            return False
        if self._ask() == trial.proposal.values:
            return True
        name = self.study.optimiser_name
        _logger.warning("%s proposes another point than before the interruption", name)
        return False

    def _ask(self) -> dict[str, float]:
        """Ask for a proposal; before the first, tell what is finished: scores stand still now."""
        if not self.begun:
            self.begun = True
            if self.study.objectives.normalise != "none" and not reference(self.store.trials):
                message = "scores cannot be normalised: no trial before the optimiser's is complete"
                raise StudyError(message, hint="set normalise to none")
            if results := results_of(self.store.trials):
                self.optimiser.replay(results)
        return self._checked(self.optimiser.ask())

    def _checked(self, proposal: Mapping[str, float]) -> dict[str, float]:
        """Return the proposal as floats within their bounds, or blame the optimiser."""
        name = self.study.optimiser_name
        parameters = self.study.search.space.parameters
        if set(proposal) != set(self.study.search.space.names):
            message = f"the optimiser {name!r} proposed values for other parameters than asked for"
            raise PluginError(message, plugin=name)
        values = {}
        for p in parameters:
            value, slack = float(proposal[p.name]), _TOLERANCE * (p.high - p.low)
            if not (math.isfinite(value) and p.low - slack <= value <= p.high + slack):
                message = f"the optimiser {name!r} proposed {p.name} = {value:g}"
                raise PluginError(f"{message}, outside [{p.low:g}, {p.high:g}]", plugin=name)
            values[p.name] = min(max(value, p.low), p.high)
        return values

    def _evaluate(self, trial: Trial, *, known: bool, again: bool = False) -> None:
        """Evaluate a trial, store what came of it and tell the optimiser.

        ``known`` says whether this optimiser asked for the trial in this process.
        """
        proposal = trial.proposal
        self.on_event(TrialStarted(trial.number, proposal.phase, proposal.source, again))
        finished = self._attempt(trial)
        sequence = sum(other.state != "running" for other in self.store.trials.values())
        finished = self.store.finish(
            replace(finished, sequence=sequence, asks_before=self.store.asks)
        )
        self.store.revise(revisions_of(self.study))
        if self.begun and proposal.values:
            self.optimiser.tell(replace(finished.result, proposed=known))
        self.on_event(TrialFinished(finished, best_of(self.store.revised)))
        self._count_failures(finished)

    def _attempt(self, trial: Trial) -> Trial:
        """Return the trial complete or failed; an error that may pass is retried once."""
        try:
            try:
                return self._merge_and_score(trial)
            except (GeneratorError, ScorerError) as error:
                if not error.transient:
                    raise
                _logger.warning("trial %d is tried again: %s", trial.number, error)
                proposal = trial.proposal
                again = TrialStarted(trial.number, proposal.phase, proposal.source, again=True)
                self.on_event(again)
                return self._merge_and_score(trial)
        except StudyError:
            raise  # the study's folder or storage is broken: no trial can be stored
        except BmergeError as error:
            return replace(trial, state="failed", reason=str(error))
        except Exception as error:
            _logger.debug("trial %d failed", trial.number, exc_info=True)
            reason = f"{type(error).__name__}: {error}"
            return replace(trial, state="failed", reason=reason)

    def _merge_and_score(self, trial: Trial) -> Trial:
        """Return the trial complete; where its pictures only wait to be judged, they are kept."""
        trial = self.store.trials[trial.number]
        if not trial.pictures or not self._are_there(trial.pictures):
            trial = self._paint(trial)
        if self.study.evaluator.trial_scorers:
            self.store.park(trial)
            on_wait = lambda reason: self.on_event(Waiting(trial.number, reason))  # noqa: E731
            trial = judge_trial(self.study, self.store.trials, trial.number, on_wait)
        return replace(trial, state="complete")

    def _are_there(self, pictures: Sequence[Mapping[str, Any]]) -> bool:
        return all((self.study.folder / picture["file"]).is_file() for picture in pictures)

    def _paint(self, trial: Trial) -> Trial:
        """Merge, and make the pictures and the scores of each."""
        start = time.perf_counter()
        pictures: list[dict[str, object]] = []
        model = self.study.merger.model(trial.proposal.weights)
        try:
            evaluation = self.study.evaluator.evaluate(
                model, lambda scored: self._keep(trial.number, scored, pictures)
            )
        finally:
            model.close()
        seconds = {**evaluation.seconds, "total": time.perf_counter() - start}
        means = evaluation.means
        return replace(trial, means=means, pictures=tuple(pictures), seconds=seconds)

    def _keep(self, number: int, scored: ScoredPicture, pictures: list[dict[str, object]]) -> None:
        """Store a picture and its record."""
        payload = scored.picture.payload
        file = save_picture(self.study.folder, number, scored.picture, scored.scores)
        pictures.append(
            {
                "id": payload.id,
                "file": file,
                "seed": payload.seed,
                "weight": payload.weight,
                "scores": dict(scored.scores),
            }
        )
        total = len(self.study.evaluator.payloads)
        self.on_event(PictureDone(number, len(pictures) - 1, total, scored.score))

    def _count_failures(self, trial: Trial) -> None:
        self.failures = self.failures + 1 if trial.state == "failed" else 0
        if self.failures == _FAILURES:
            message = f"{_FAILURES} trials failed one after the other, the last: {trial.reason}"
            raise StudyError(message, hint="mend that; the same command again goes on")

    def _finish(self) -> StudyFinished:
        self.store.revise(revisions_of(self.study))
        best = best_of(self.store.revised)
        checkpoint = recipe = None
        if best is not None and self.keep_best:
            checkpoint, recipe = write_best(self.study.merger, best, self.study.folder)
        front = write_front(self.study.merger, front_of(self.store.revised), self.study.folder)
        finished = StudyFinished(best, checkpoint, recipe, front)
        self.on_event(finished)
        return finished
