"""Scorers that judge whole trials: what they are shown, and what becomes of their scores."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from bmerge.evaluate.protocols import Exhibit, StoredPicture, TrialScorer
from bmerge.evaluate.scoring import WeightedScorer, asked
from bmerge.study.study import PreparedStudy
from bmerge.trials.picture_record import PictureRecord
from bmerge.trials.revision import Revisions
from bmerge.trials.trial import Trial

__all__ = ["judge_trial", "revisions_of"]


def judge_trial(
    study: PreparedStudy, trials: Mapping[int, Trial], number: int, on_wait: Callable[[str], None]
) -> Trial:
    """Return a trial with the scores of those scorers that judge it as a whole.

    Args:
        study: what is run.
        trials: all of it; the one to be judged has its pictures and the other scores.
        number: of the trial.
        on_wait: called now and then while a scorer waits, with what for.
    """
    start = time.perf_counter()
    trial = trials[number]
    for entry in study.evaluator.trial_scorers:
        trial = _with_scores(trial, entry, _exhibit(study, trials, number, entry, on_wait))
    seconds = time.perf_counter() - start
    total = trial.seconds["total"] + seconds
    return replace(trial, seconds={**trial.seconds, "judge": seconds, "total": total})


def revisions_of(study: PreparedStudy) -> Revisions:
    """Return what the scorers that judge whole trials say of all trials now."""
    return {
        entry.label: dict(entry.scorer.revise(study.folder))
        for entry in study.evaluator.trial_scorers
        if isinstance(entry.scorer, TrialScorer)
    }


def _exhibit(
    study: PreparedStudy,
    trials: Mapping[int, Trial],
    number: int,
    entry: WeightedScorer,
    on_wait: Callable[[str], None],
) -> Exhibit:
    payloads = {payload.id: payload for payload in study.evaluator.payloads}
    pictures = [StoredPicture(payloads[p["id"]], p["file"]) for p in trials[number].pictures]
    weighted = any(other.weight for other in study.evaluator.picture_scorers)
    earlier = [t.number for t in trials.values() if t.state == "complete" and t.number != number]
    objective = _objectives(study, trials, [number, *earlier])
    return Exhibit(
        folder=study.folder,
        trial=number,
        pictures=tuple(picture for picture in pictures if entry.judges(picture.payload)),
        objective=objective[0] if weighted else None,
        earlier=tuple(objective[1:]),
        on_wait=on_wait,
    )


def _objectives(
    study: PreparedStudy, trials: Mapping[int, Trial], numbers: list[int]
) -> list[float]:
    """Return trials' scores by the scorers that judge pictures one by one."""
    labels = [entry.label for entry in study.evaluator.picture_scorers]
    scale = study.objectives.scale(trials)
    found = []
    for number in numbers:
        means = {label: trials[number].means[label] for label in labels}
        scored = scale.scored(replace(trials[number], state="complete", means=means), trials)
        found.append(scored.score or 0.0)
    return found


def _with_scores(trial: Trial, entry: WeightedScorer, exhibit: Exhibit) -> Trial:
    """Ask a scorer, and add what it says to the trial's pictures and means."""
    assert isinstance(entry.scorer, TrialScorer)
    payloads = [picture.payload for picture in exhibit.pictures]
    scores = asked(entry, lambda scorer: scorer.score_trial(exhibit), payloads)
    given = {payload.id: score for payload, score in zip(payloads, scores, strict=True)}
    pictures = tuple(
        _with_score(picture, entry.label, given[picture["id"]])
        if picture["id"] in given
        else picture
        for picture in trial.pictures
    )
    weights = [picture.payload.weight for picture in exhibit.pictures]
    total = math.fsum(w * score for w, score in zip(weights, scores, strict=True))
    means = {**trial.means, entry.label: total / math.fsum(weights)}
    return replace(trial, pictures=pictures, means=means)


def _with_score(picture: PictureRecord, label: str, score: float) -> PictureRecord:
    return {**picture, "scores": {**picture["scores"], label: score}}
