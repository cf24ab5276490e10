"""What a report shows, as plain data: the templates know nothing of how a study is stored.

``load`` fills these from a study's folder; ``page`` draws them. Scores are greater-is-better.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Literal

from bmerge.findings.importance import Importance
from bmerge.findings.surface import Curve, Pair
from bmerge.foreign.lineage import Lineage
from bmerge.recipe.schema import BlockWeights
from bmerge.records import dataclass
from bmerge.trials.comparison import Comparison
from bmerge.trials.proof import Proof

__all__ = ["Candidate", "ReportData", "Role", "Shot", "TrialRow", "WeightMap"]

Role = Literal["parent", "uniform", "best", "trial"]

_TOP = 5


@dataclass(frozen=True, slots=True)
class Shot:
    """One stored picture.

    Args:
        prompt: that it was made for.
        seed: of its noise.
        score: the objective's value for it.
        file: where it lies.
        name: of the file within the study's folder.
    """

    prompt: str
    seed: int
    score: float
    file: Path
    name: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One merge that the headline compares.

    Args:
        role: what it is to the reader.
        label: its short name.
        score: the objective's mean over its pictures.
        shots: payload id → picture; candidates are compared where their ids are equal.
        interval: 95 % confidence interval of the score over its pictures, if there are several.
    """

    role: Role
    label: str
    score: float
    shots: Mapping[str, Shot]
    interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class TrialRow:
    """One trial in the table and in the plots.

    Args:
        number: from 0, in the order of asking.
        phase: which part of the study proposed it.
        score: the objective; None for a failed trial.
        scores: scorer → mean over the trial's pictures.
        parameters: what was tried.
        reason: why it failed.
        objectives: objective → value, where there are several; the score is their sum.
        front: whether it is on the Pareto front.
        pruned: after how many pictures it was stopped, because it was behind; its score is an
            estimate then.
        broken: whether a constraint does not hold.
        shots: payload id → picture.
        behind: how far the best is ahead of it, picture by picture; None for the best itself, for
            trials without all pictures, and where there are fewer than two pictures.
    """

    number: int
    phase: str
    score: float | None
    scores: Mapping[str, float]
    parameters: Mapping[str, float]
    reason: str | None = None
    objectives: Mapping[str, float] = field(default_factory=dict)
    front: bool = False
    pruned: int | None = None
    broken: bool = False
    shots: Mapping[str, Shot] = field(default_factory=dict)
    behind: Comparison | None = None


@dataclass(frozen=True, slots=True)
class WeightMap:
    """One hyperparameter of the best merge, to be drawn over the blocks.

    Args:
        name: of the hyperparameter.
        weights: its value per block.
        low: start of the colour scale.
        high: end of the colour scale.
        low_means: what the merge is where the value is ``low``, for example a model's name.
        high_means: likewise for ``high``.
    """

    name: str
    weights: BlockWeights
    low: float
    high: float
    low_means: str = ""
    high_means: str = ""


@dataclass(frozen=True, slots=True)
class ReportData:
    """Everything on the page.

    Args:
        title: the study's name.
        method: the merge method's name.
        objective: what the score is, in words.
        models: names of the merged models.
        candidates: parents, uniform merges and the best one; the best one last.
        trials: in the order of their numbers.
        blocks: block ids of the architecture, in its order.
        weights: the best merge's hyperparameters.
        recipe: the best merge's recipe as text.
        versions: name → version of what ran.
        commands: how to reproduce it: (what for, command line).
        proof: how the best merge compares with others on fresh pictures; None if nobody asked.
        importances: of the parameters, the greatest first; empty where there are too few trials.
        curves: what each of them does, in the same order.
        pairs: of parameters that clearly interact, the greatest first.
        lost: what belongs on the page and cannot be read, by its name within the study's folder.
        objectives: names of the objectives, where there are several.
        winner: number of the trial whose merge the study returns; None for the leader.
        hashes: what results depend on, and its SHA-256: models, weights of scorers, code.
        lineage: family tree of the best merge; None where no file tells it.
        times: what a trial's time goes into, in words; empty where no trial is complete.
    """

    title: str
    method: str
    objective: str
    models: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    trials: tuple[TrialRow, ...]
    blocks: tuple[str, ...]
    weights: tuple[WeightMap, ...]
    recipe: str
    versions: Mapping[str, str]
    commands: tuple[tuple[str, str], ...]
    objectives: tuple[str, ...] = ()
    winner: int | None = None
    lost: tuple[str, ...] = ()
    proof: Proof | None = None
    importances: tuple[Importance, ...] = ()
    curves: tuple[Curve, ...] = ()
    pairs: tuple[Pair, ...] = ()
    hashes: tuple[tuple[str, str], ...] = ()
    lineage: Lineage | None = None
    times: str = ""

    @property
    def best(self) -> TrialRow | None:
        """The winner: see :mod:`bmerge.trials.winner`."""
        return next((trial for trial in self.trials if trial.number == self.winner), self.leader)

    @property
    def leader(self) -> TrialRow | None:
        """The complete trial with the highest score, the earliest of equal ones."""
        return max(self._scored, key=lambda trial: trial.score or 0.0, default=None)

    @property
    def top(self) -> tuple[TrialRow, ...]:
        """The winner, then the complete trials with the highest scores."""
        best = self.best
        order = sorted(self._scored, key=lambda trial: (trial != best, -(trial.score or 0.0)))
        return tuple(order[:_TOP])

    @property
    def _scored(self) -> list[TrialRow]:
        whole = [t for t in self.trials if t.score is not None and t.pruned is None]
        return [t for t in whole if not t.broken] or whole

    @property
    def rivals(self) -> tuple[TrialRow, ...]:
        """The trials that their pictures cannot tell from the best, the nearest first."""
        unsure = [t for t in self.trials if t.behind is not None and t.behind.low <= 0]
        return tuple(sorted(unsure, key=lambda trial: -(trial.score or 0.0)))

    @property
    def gallery(self) -> tuple[TrialRow, ...]:
        """The trials that have pictures, the best first, those without a score last."""
        painted = [trial for trial in self.trials if trial.shots]
        order = {True: float("inf")}
        return tuple(sorted(painted, key=lambda t: order.get(t.score is None, -(t.score or 0.0))))
