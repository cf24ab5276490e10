"""What a study has found out about its parameters: importance, curves, pairs, uncertainty."""

from __future__ import annotations

from bmerge.findings.importance import Importance, importances, points_of
from bmerge.findings.surface import Curve, Pair, fit_surface
from bmerge.records import dataclass
from bmerge.storage.stored import StoredStudy
from bmerge.trials.winner import winner_of

__all__ = ["Understanding", "understand"]


@dataclass(frozen=True, slots=True)
class Understanding:
    """What is known of the parameters that are numbers, the most important first.

    Args:
        importances: how much each matters; empty of too few trials.
        curves: what each does, in the same order.
        pairs: that clearly interact, the greatest first.
    """

    importances: tuple[Importance, ...] = ()
    curves: tuple[Curve, ...] = ()
    pairs: tuple[Pair, ...] = ()


def understand(study: StoredStudy) -> Understanding:
    """Read what the finished trials of a study say of its parameters."""
    best = winner_of(study.trials, study.objectives)
    trials = [trial for trial in study.trials.values() if trial.state != "running"]
    bounds = study.definition.space.numbers
    found = () if best is None else importances(trials, best, bounds)
    if best is None or not found:
        return Understanding()
    ordered = {one.name: bounds[one.name] for one in found}
    points = points_of(trials, list(ordered))
    rows = [point.proposal.values for point in points]
    scores = [point.score or 0.0 for point in points]
    import scipy.linalg  # type: ignore[import-untyped]  # noqa: F401  what is there is limited
    from threadpoolctl import threadpool_limits

    # On busy cores threads that wait for each other take three times as much of the processor.
    with threadpool_limits(1, user_api="blas"):
        surface = fit_surface(rows, scores, best.proposal.values, ordered)
    return Understanding(found, surface.curves, surface.pairs)
