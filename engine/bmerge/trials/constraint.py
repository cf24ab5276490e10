"""Constraints: what a merge must not lose against a model that the study has tried as it is.

A trial that breaks one cannot win, be on the Pareto front or be raced against. Its score is lowered
by what it lacks, so that every optimiser is led back to where the constraint holds without knowing
of it. What is missing has units of its own; trials before the optimiser's first tell how much of
them is as much as how much of the score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from bmerge.records import dataclass
from bmerge.trials.trial import Trial

__all__ = ["Constraint", "exchange_rate"]

_STEEP = 2.0  # how many times its spread the score falls over the spread of what is constrained


@dataclass(frozen=True, slots=True)
class Constraint:
    """A scorer's mean that must not fall behind that of a model.

    Args:
        scorer: its label.
        model: letter of the model.
        slack: by how much the mean may be lower.
    """

    scorer: str
    model: str
    slack: float = 0.0

    def __str__(self) -> str:
        return f"{self.scorer} no worse than model {self.model}"

    def lack(self, trial: Trial, trials: Mapping[int, Trial]) -> float:
        """Return by how much a trial's mean is below what is allowed; 0 where it holds.

        Args:
            trial: complete or pruned, with its means.
            trials: among which is the model's own; as long as that is not complete, all holds.
        """
        rival = self._rival(trials)
        if rival is None or rival.number == trial.number or self.scorer not in trial.means:
            return 0.0
        return max(0.0, rival.means[self.scorer] - self.slack - trial.means[self.scorer])

    def _rival(self, trials: Mapping[int, Trial]) -> Trial | None:
        for trial in trials.values():
            proposal = trial.proposal
            if proposal.phase == "baseline" and proposal.source == f"model {self.model}":
                return trial if trial.state == "complete" else None
        return None


def exchange_rate(
    constraint: Constraint, trials: Iterable[Trial], score_of: Callable[[Trial], float]
) -> float:
    """Return how much of the score is taken for each unit that is missing.

    Args:
        constraint: what is missing.
        trials: complete ones, by whose spreads it goes.
        score_of: their scores.
    """
    known = [
        (t.means[constraint.scorer], score_of(t)) for t in trials if constraint.scorer in t.means
    ]
    if not known:
        return _STEEP
    means, scores = zip(*known, strict=True)
    of_means, of_scores = max(means) - min(means), max(scores) - min(scores)
    return _STEEP * (of_scores / of_means if of_means and of_scores else 1.0)
