"""What is asked before the first trial, so that nothing is found out at a trial's cost.

A run asks what is cheap to ask and stops at the first complaint; ``bmerge run FILE --check`` asks
everything, has a small picture made where a generator can make one, and continues after complaints.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from bmerge.evaluate.evaluation import Evaluator
from bmerge.evaluate.protocols import Checked
from bmerge.faults import contained
from bmerge.records import dataclass
from bmerge.storage.lock import FolderLock
from bmerge.storage.stored import StoredStudy
from bmerge.storage.unchanged import check_definition
from bmerge.study.prove import check_confirmable
from bmerge.study.room import Need, check_room, needs_of, takes_files
from bmerge.study.study import PreparedStudy
from bmerge.trials.limits import Limits
from bmerge.trials.trial import Trial

__all__ = ["Finding", "Forecast", "check_all", "check_before", "forecast_of"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer of a check.

    Args:
        what: was asked.
        error: what is wrong with it; None if nothing is.
        asked: whether it could be asked at all; it cannot where a plugin has no check.
    """

    what: str
    error: Exception | None = None
    asked: bool = True


@dataclass(frozen=True, slots=True)
class Forecast:
    """What the rest of a study will take.

    Args:
        trials: that are left, at least; None where only time limits them.
        needs: room that they need in all.
        seconds: of a trial; None if nothing is known.
        measured: complete trials that ``seconds`` is the mean of; 0 if it is the time of one
            merge alone, without pictures.
    """

    trials: int | None
    needs: tuple[Need, ...]
    seconds: float | None
    measured: int


def check_before(study: PreparedStudy, trials: Mapping[int, Trial], *, keep_best: bool) -> None:
    """Ask, before the first trial of a run, what can be asked cheaply.

    Args:
        study: that is to be run.
        trials: of it so far.
        keep_best: whether the best merge will be written.

    Raises:
        BmergeError: the first complaint.
    """
    check_confirmable(study)
    check_room(needs_of(study, trials, keep_best=keep_best))
    for place in study.workplaces:
        for _, part in _parts(place.evaluator):
            if isinstance(part, Checked):
                part.check(paint=False)


def check_all(
    study: PreparedStudy, stored: StoredStudy | None, *, accept_changes: bool = False
) -> Iterator[Finding]:
    """Ask everything that can be asked before a study is run, one after the other.

    Args:
        study: that shall be run.
        stored: the same study as an earlier run has left it; None if there is none.
        accept_changes: whether contents may have changed that its results depend on.

    Raises:
        StudyError: if a run is working on it.
    """
    trials = {} if stored is None else stored.trials
    with FolderLock(study.folder) if stored else contextlib.nullcontext():
        if stored is not None and any(t.state != "running" for t in trials.values()):
            known = stored.definition
            check = partial(check_definition, accept_changes=accept_changes)
            here = partial(check, known, study.definition, study.folder)
            yield _finding("the study so far", here)
        if study.confirm:
            yield _finding("confirmation", lambda: check_confirmable(study))
        yield _finding("room", lambda: check_room(needs_of(study, trials)))
        for what, part in (each for place in study.workplaces for each in _parts(place.evaluator)):
            if isinstance(part, Checked):
                yield _finding(what, partial(part.check, paint=True))
            else:
                yield Finding(what, asked=False)


def forecast_of(study: PreparedStudy, stored: StoredStudy | None, limits: Limits) -> Forecast:
    """Return what the trials that are left will take, from what can be measured.

    Args:
        study: that shall be run.
        stored: the same study as an earlier run has left it; None if there is none.
        limits: of the search.

    Raises:
        BmergeError: if nothing has been measured yet, and a merge fails.
    """
    trials = {} if stored is None else stored.trials
    complete = [trial for trial in trials.values() if trial.state == "complete"]
    left = limits.trials_left(trials.values(), len(study.evaluator.payloads))
    seconds: float | None = None
    if complete:
        seconds = sum(trial.seconds["total"] for trial in complete) / len(complete)
    elif takes_files(study.evaluator.generator):
        seconds = _seconds_of_a_merge(study)
    return Forecast(
        left,
        tuple(needs_of(study, trials, count=1 if left is None else left)),
        seconds,
        len(complete),
    )


def _parts(evaluator: Evaluator) -> Iterator[tuple[str, object]]:
    """Yield what a study asks of, with what to call it."""
    yield "generator", evaluator.generator
    for entry in evaluator.scorers:
        yield f"scorer {entry.label}", entry.scorer


def _finding(what: str, check: Callable[[], object]) -> Finding:
    try:
        with contained():
            check()
    except Exception as error:  # noqa: BLE001  a plugin's check can raise anything
        return Finding(what, error)
    return Finding(what)


def _seconds_of_a_merge(study: PreparedStudy) -> float:
    """Write one merge where the trials' merges go, and remove it again."""
    model = study.merger.model(study.search.weights(study.search.centre()))
    start = time.perf_counter()
    try:
        model.file()
        return time.perf_counter() - start
    finally:
        model.close()
