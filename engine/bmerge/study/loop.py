"""The loop of a study: propose, merge, generate, score, store, tell; again until enough.

Everything that has happened is in the store before the next thing happens, so a run can be
killed at any moment and the next one continues: finished trials are told to the optimiser again,
a trial that was running is evaluated again under its number. What is to blame for a failure is
decided in :mod:`bmerge.study.failures`, and waited for in :mod:`bmerge.study.waiting`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from bmerge.errors import BmergeError, PluginError, StudyError, StudyInterruptedError
from bmerge.faults import EndedError, contained
from bmerge.logs import logger
from bmerge.storage.store import Store
from bmerge.storage.unchanged import check_definition
from bmerge.study.asking import Asking
from bmerge.study.best import write_best, write_front
from bmerge.study.events import Event, StudyFinished, StudyStarted, TrialFinished, TrialStarted
from bmerge.study.failures import blame_of
from bmerge.study.judging import revisions_of
from bmerge.study.preflight import check_before
from bmerge.study.prove import LEAST, contenders_of, prove, share_of
from bmerge.study.racing import Races
from bmerge.study.slots import slots_of
from bmerge.study.study import PreparedStudy
from bmerge.study.waiting import Patience
from bmerge.system import nearby
from bmerge.trials.limits import Limits, minutes_of, pictures_of
from bmerge.trials.proof import Proof
from bmerge.trials.trial import Proposal, Trial, best_of, front_of
from bmerge.trials.winner import winner_of

__all__ = ["run_study"]

_FAILURES = 3  # failed trials in a row after which something is wrong that trials do not fix
_LONG = 100.0  # proposals that a trial lasts for which no evaluator needs one in advance


def run_study(
    study: PreparedStudy,
    *,
    trials: int | None = None,
    limits: Limits | None = None,
    on_event: Callable[[Event], None] = lambda _: None,
    keep_best: bool = True,
    accept_changes: bool = False,
    retry_failed: bool = False,
) -> StudyFinished:
    """Run a study to its end, or take it up where an earlier run stopped.

    Args:
        study: what to run. Its generators are closed at the end, whatever happens.
        trials: how many trials the study shall have in all; short for ``limits`` of just that.
        limits: of the search; None takes the study's own.
        on_event: called from this thread with each :mod:`event <bmerge.study.events>`.
        keep_best: whether the best merge is written at the end.
        accept_changes: whether it continues with other contents of files, weights and code.
        retry_failed: whether failed trials are evaluated again, before any other.

    Returns:
        The last event, with the best merge.

    Raises:
        StudyError: if the study cannot be run, its surroundings fail for longer than its
            patience, or its trials fail one after the other.
        BmergeError: whatever the study is to blame for; nothing of it is stored.
        StudyInterruptedError: after Ctrl-C; what is finished is stored.
    """
    try:
        with contained(), study.open_store() as store:
            _settle_definition(study, store, accept_changes=accept_changes)
            given = limits if trials is None else Limits(trials=trials)
            if study.file is not None:
                store.describe({"file": str(study.file.absolute())})
            run = _Run(study, store, given or study.bounds, on_event, keep_best=keep_best)
            return run.run(retry_failed=retry_failed)
    except KeyboardInterrupt as interrupt:
        message = f"interrupted; finished trials are stored in {nearby(study.folder)}"
        hint = "run the same command again to continue"
        raise StudyInterruptedError(message, hint=hint) from interrupt
    except EndedError as error:  # of a plugin's code, where nothing of a trial depends on it
        raise PluginError(f"a plugin ended the run: {error}") from error
    finally:
        study.close()


def _settle_definition(study: PreparedStudy, store: Store, *, accept_changes: bool) -> None:
    """Refuse to continue under another definition, unless there is nothing that depends on it.

    Pictures of an unfinished trial count once all are there: a person may have judged them.
    """
    whole = len(study.evaluator.payloads)
    known = store.definition
    try:
        settled = check_definition(
            known, study.definition, study.folder, accept_changes=accept_changes
        )
    except StudyError:
        if store.begun or any(len(trial.pictures) >= whole for trial in store.running):
            raise
        store.forget(study.definition, study.asks)
    else:
        store.define(settled)


class _Run:
    """One process's work on a study."""

    def __init__(
        self,
        study: PreparedStudy,
        store: Store,
        limits: Limits,
        on_event: Callable[[Event], None],
        *,
        keep_best: bool,
    ) -> None:
        self.study, self.store, self.limits, self.on_event = study, store, limits, on_event
        self.keep_best = keep_best
        self.asking = Asking(study, store)
        self.patience = Patience(study.patience, study.evaluator, on_event)
        self.slots = slots_of(study, store, self.patience, on_event)
        self.flying: dict[int, bool] = {}  # trials in slots, whether the optimiser knows them
        self.again: list[Trial] = []  # that an earlier run has begun
        self.ahead: Proposal | None = None  # of the next trial, made while all slots are busy
        self.lasted = 0.0  # seconds of the last trial
        self.races = Races(study, store, on_event)
        self.failures = 0

    def run(self, *, retry_failed: bool) -> StudyFinished:
        """Go through the trials and write the best."""
        if retry_failed:
            self.patience.through(self.store.reopen)
        self.on_event(self._started())
        limit = self._limit()
        if limit and not self.store.trials:
            message = f"no trial can begin: {limit}"
            raise StudyError(message, hint="allow for more pictures, trials or minutes")
        if self.store.running or not limit:
            self.patience.through(self._check)
        reopened = self.store.reopened  # before the optimiser hears of the others
        self.again = [*reopened, *(t for t in self.store.running if t not in reopened)]
        self.reopened = {trial.number for trial in reopened}
        try:
            self._evaluate_all()
        finally:
            self.slots.close()
        finished = self.patience.through(self._finish)
        finished = replace(finished, proof=self._confirm())  # last: the best is there already
        self.on_event(finished)
        return finished

    def _limit(self) -> str | None:
        """Say why no further trial begins."""
        whole = len(self.study.evaluator.payloads)
        return self.asking.over or self.limits.reached(self.store.trials.values(), whole)

    def _started(self) -> StudyStarted:
        finished, total = self.store.finished, self.limits.trials
        return StudyStarted(
            len(finished),
            None if total is None else max(total, len(finished)),
            best_of(self.store.revised),
            self.limits,
            pictures_of(finished),
            minutes_of(finished),
        )

    def _check(self) -> None:
        check_before(self.study, self.store.trials, keep_best=self.keep_best)

    def _evaluate_all(self) -> None:
        """Fill the slots with trials, and store and tell what comes of them, until enough."""
        while True:
            while self.slots.free and self._begin_next():
                pass
            if not self.slots.busy:
                return
            self._look_ahead()
            try:
                outcome = self.slots.wait()
            except BmergeError as error:
                if blame_of(error) == "study" and not self.store.begun:
                    self.store.forget(self.study.definition, self.study.asks)
                raise
            self._end(outcome)

    def _look_ahead(self) -> None:
        """Have the next proposal ready for whichever of several slots is free first.

        It does not know of one trial more than if it was made then, which costs more than it saves
        where trials last long.
        """
        if self.study.slots == 1 or self.ahead or self.again or self._limit():
            return
        known = self.asking.seconds  # None before the first, which imports what it needs
        if known is not None and self.lasted > _LONG * known:
            return
        if self.asking.ready(in_flight=True):
            self.ahead = self.asking.propose()

    def _begin_next(self) -> bool:
        """Begin the next trial, if there is one: what an earlier run has begun comes first."""
        again = bool(self.again)
        if again:
            trial = self.again.pop(0)
            known = trial.number not in self.reopened and self.asking.propose_again(trial)
        elif self._limit() or not self.asking.ready(in_flight=bool(self.flying)):
            return False
        else:
            proposal, self.ahead = self.ahead or self.asking.propose(), None
            if proposal is None:
                return False
            start = lambda: self.store.start(proposal, self.study.search.space)  # noqa: E731
            trial, known = self.patience.through(start), proposal.asked
        proposal = trial.proposal
        self.on_event(TrialStarted(trial.number, proposal.phase, proposal.source, again))
        self.flying[trial.number] = known
        self.slots.start(trial, self.races.race(trial))
        return True

    def _end(self, outcome: Trial) -> None:
        """Store what came of a trial and tell the optimiser."""
        self.lasted = outcome.seconds.get("total", self.lasted)
        finished = self.patience.through(lambda: self._store(outcome), outcome.number)
        self.asking.tell(finished, known=self.flying.pop(finished.number))
        self.on_event(TrialFinished(finished, best_of(self.store.revised)))
        self._count_failures(finished)
        if finished.number in self.reopened:
            self.failures = 0  # to fail as before is nothing new

    def _store(self, outcome: Trial) -> Trial:
        """Store what came of a trial."""
        others = [trial for trial in self.store.finished if trial.number != outcome.number]
        known = [trial.sequence for trial in others]
        sequence = max((number for number in known if number is not None), default=-1) + 1
        flying = [self.store.trials[number] for number in self.flying if number != outcome.number]
        asks = sum(trial.proposal.asked for trial in (*others, *flying, outcome))
        finished = replace(outcome, sequence=sequence, asks_before=asks)
        if self.store.trials[outcome.number].state == "running":  # else what follows failed
            self.store.finish(finished)
        self.store.revise(revisions_of(self.study))
        return self.store.trials[outcome.number]

    def _count_failures(self, trial: Trial) -> None:
        self.failures = self.failures + 1 if trial.state == "failed" else 0
        if self.failures == _FAILURES:
            message = f"{_FAILURES} trials failed one after the other, the last: {trial.reason}"
            hint = "fix that and run the same command again: it continues where it stopped"
            raise StudyError(message, hint=hint)

    def _confirm(self) -> Proof | None:
        """Compare the winner with its rivals, if it has any, on fresh pictures, if they suffice."""
        study, trials = self.study, self.store.revised
        if study.confirm == 0 or best_of(trials) is None:
            return None
        entries = contenders_of(study, trials, ())
        count = share_of(study.confirm, pictures_of(trials.values()), len(entries))
        few = len(entries) < 2 or count < LEAST
        if study.confirm is None and (few or study.evaluator.trial_scorers):
            return None
        if few:  # of what was only known when the search had ended
            why = f"{study.confirm} pictures for {len(entries)} merges prove nothing"
            if len(entries) < 2:
                why = "there is no other merge to compare it with"
            logger(__name__).warning("the winner is not confirmed: %s", why)
            return None
        return prove(study, trials, entries, count, self.on_event)

    def _finish(self) -> StudyFinished:
        self.store.revise(revisions_of(self.study))
        best = winner_of(self.store.revised, self.study.objectives)
        checkpoint = recipe = None
        if best is not None and self.keep_best:
            checkpoint, recipe = write_best(self.study.merger, best, self.study.folder)
        front = write_front(self.study.merger, front_of(self.store.revised), self.study.folder)
        leader = best_of(self.store.revised)
        return StudyFinished(best, checkpoint, recipe, front, self._limit() or "", leader=leader)
