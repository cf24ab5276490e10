"""A warm start: the best merges of another study are the first that this one tries.

Only their points are taken over. Each is evaluated anew, so the other study may have had other
prompts, another generator or other models; one that still counts as it is can be forked instead,
see :mod:`bmerge.study.fork`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from bmerge.errors import StudyError
from bmerge.space.space import SearchSpace
from bmerge.storage.stored import StoredStudy, has_study, read_study
from bmerge.study_file.config import WarmStartConfig
from bmerge.trials.trial import Proposal

__all__ = ["warm_points", "warm_proposals"]

Point = Mapping[str, float]


def warm_points(config: WarmStartConfig | None, folder: Path, search: SearchSpace) -> list[Point]:
    """Return the points that a study begins with.

    Args:
        config: what the study file says.
        folder: of the study; if it has begun, its definition has its points: they stay when the
            other study continues or is gone.
        search: its space.

    Raises:
        StudyError: if the other study cannot be read, or has no merge within the space.
    """
    if config is None:
        return []
    if has_study(folder):
        known = read_study(folder).definition.recorded.warm
        if known is not None:
            return [{name: float(value) for name, value in point.items()} for point in known]
    return _best_points(read_study(config.study), config.trials, search)


def warm_proposals(points: Iterable[Point], search: SearchSpace) -> Iterable[Proposal]:
    """Yield the proposals of points."""
    for number, point in enumerate(points, start=1):
        yield Proposal("init", f"warm start {number}", point, search.weights(point))


def _best_points(study: StoredStudy, count: int, search: SearchSpace) -> list[Point]:
    """Return the points of the best complete merges that lie within a space, the best first."""
    complete = [trial for trial in study.trials.values() if trial.state == "complete"]
    found: list[Point] = []
    reason = "it has no complete merge"
    for trial in sorted(complete, key=lambda trial: (-(trial.score or 0.0), trial.number)):
        if trial.proposal.model is not None or trial.proposal.recipe is not None:
            continue
        try:
            point = search.values(trial.proposal.weights)
        except StudyError as error:
            reason = f"in trial {trial.number}, {error}"
            continue
        if point not in found:
            found.append(point)
    if not found:
        message = f"no merge of {study.folder} lies within the space: {reason}"
        raise StudyError(message, hint="leave warm_start out, or widen the space")
    return found[:count]
