"""What an optimiser is told of the trials that are finished."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping

from bmerge.space.protocols import Result
from bmerge.trials.objective import Objectives, Scale
from bmerge.trials.trial import Trial

__all__ = ["result_of", "results_of"]


def results_of(trials: Mapping[int, Trial], objectives: Objectives) -> list[Result]:
    """Return the finished trials of the search space in the order of their tells.

    Args:
        trials: of the study, with their present scores.
        objectives: of the study.
    """
    told = [t for t in trials.values() if t.state != "running" and t.proposal.values]
    if not told:
        return []
    scale = objectives.scale(trials)
    return [_result(trial, trials, scale) for trial in sorted(told, key=lambda t: t.sequence or 0)]


def result_of(trial: Trial, trials: Mapping[int, Trial], objectives: Objectives) -> Result:
    """Return one of the trials as an optimiser sees it."""
    return _result(trial, trials, objectives.scale(trials))


def _result(trial: Trial, trials: Mapping[int, Trial], scale: Scale) -> Result:
    return Result(
        number=trial.number,
        values=trial.proposal.values,
        score=trial.score,
        proposed=trial.proposal.asked,
        sequence=trial.sequence or 0,
        asks_before=trial.asks_before,
        scores=trial.scores,
        variance=trial.variance,
        pictures=len(trial.pictures),
        pruned=trial.state == "pruned",
        by_picture=_by_picture(trial, trials, scale),
    )


def _by_picture(trial: Trial, trials: Mapping[int, Trial], scale: Scale) -> dict[str, float]:
    """Return what each picture of a trial says, by its id; one that is there twice once."""
    if trial.score is None or trial.broken or len(scale.sums) > 1 or scale.tallies:
        return {}
    whole = (trial if trial.incumbent is None else trials[trial.incumbent]).pictures
    firsts: dict[Hashable, str] = {}
    names = {
        p["id"]: firsts.setdefault(scale.witnesses.picture(p["id"], p["seed"]), p["id"])
        for p in whole
    }
    counts = Counter(names.values())
    said = defaultdict(list)
    for picture, share in zip(trial.pictures, scale.shares(trial.pictures, whole), strict=True):
        said[names[picture["id"]]].append(share)
    return {
        name: math.fsum(some) / len(some) * counts[name] * len(counts) / len(whole)
        for name, some in said.items()
    }
