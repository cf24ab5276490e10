"""From scores of pictures to the benchmark's table: means, intervals, leads and ranks.

All merges painted the same pictures, so they are resampled together: a lead over a parent is
taken picture by picture, which leaves out how hard a prompt is.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from bmerge.bench.rows import MergeRow
from bmerge.evaluate.protocols import Payload
from bmerge.records import dataclass
from bmerge.study.gallery import record_of
from bmerge.trials.normal import Normal
from bmerge.trials.objective import Objectives
from bmerge.trials.trial import Proposal, Trial

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Interval", "SummaryLine", "summarise"]

_RESAMPLES = 4_000
_MODELS = frozenset({"base", "parent"})


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95 % bootstrap interval over the pictures."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class SummaryLine:
    """One line of the table.

    Args:
        row: what was measured.
        quality: the objective's mean.
        lead: over the best parent, by pictures.
        normalised: quality divided by the best parent's; None where that is not above 0.
        rank: mean over the prompts of its place among all lines, 1 is best.
        means: scorer's label → mean.
        same_as: the model whose scores a merge has exactly, as where it went back to its base.
    """

    row: MergeRow
    quality: Interval | None = None
    lead: Interval | None = None
    normalised: float | None = None
    rank: float | None = None
    means: Mapping[str, float] | None = None
    same_as: str | None = None


def summarise(
    rows: Sequence[MergeRow], pictures: Sequence[Payload], objectives: Objectives
) -> list[SummaryLine]:
    """Return the table's lines: the best first, those without a quality last.

    Args:
        rows: of one benchmark.
        pictures: that they were painted for.
        objectives: whose sum is the quality; scores are normalised over the models as they are.
    """
    painted = [row for row in rows if row.scores]
    if not painted:
        return [SummaryLine(row) for row in rows]
    sample = _Sample(pictures, painted, objectives)
    qualities = [sample.quality(row) for row in painted]
    parents = [q for row, q in zip(painted, qualities, strict=True) if row.stage == "parent"]
    rival = max(parents, key=lambda quality: quality[0], default=None)
    lines = []
    for row, own, rank in zip(painted, qualities, sample.ranks(painted), strict=True):
        lead = normalised = None
        if rival is not None and own is not rival:
            lead = _interval(own - rival)
            normalised = float(own[0] / rival[0]) if rival[0] > 0 else None
        means, same_as = sample.means(row), _same_as(row, painted)
        lines.append(SummaryLine(row, _interval(own), lead, normalised, rank, means, same_as))
    lines.sort(key=lambda line: -(line.quality.mean if line.quality else -math.inf))
    return [*lines, *(SummaryLine(row) for row in rows if not row.scores)]


def _same_as(row: MergeRow, rows: Sequence[MergeRow]) -> str | None:
    models = (r for r in rows if r.stage in _MODELS and r is not row)
    return next((model.name for model in models if model.scores == row.scores), None)


def _interval(values: NDArray[np.float64]) -> Interval:
    """Return the first value, with the interval of the others, which are resamples."""
    import numpy as np

    low, high = np.nanquantile(values[1:], (0.025, 0.975))
    return Interval(float(values[0]), float(low), float(high))


def _raw(_: str, score: float) -> float:
    """Leave a score as it is."""
    return score


class _Sample:
    """The pictures, and many resamples of them that all rows share.

    Args:
        pictures: that all rows were painted for.
        rows: those with scores.
        objectives: whose sum is the quality.
    """

    def __init__(
        self, pictures: Sequence[Payload], rows: Sequence[MergeRow], objectives: Objectives
    ) -> None:
        import numpy as np

        self.np, self.pictures = np, pictures
        self.scale = objectives.scale(dict(enumerate(self._trials(rows))))
        count = len(pictures)
        draws = np.random.default_rng(0).multinomial(count, [1 / count] * count, _RESAMPLES)
        weights = np.array([payload.weight for payload in pictures])
        self.parts = np.vstack([np.ones(count), draws]) * weights  # first the pictures themselves

    def _trials(self, rows: Sequence[MergeRow]) -> Iterator[Trial]:
        """Yield the models as they are in the form that normalisation takes its scale from."""
        for number, row in enumerate(rows):
            if row.stage in _MODELS:
                shots = tuple(record_of(p, "", row.scores[p.id]) for p in self.pictures)
                nothing = Proposal("baseline", row.name, {}, {})
                yield Trial(number, "complete", nothing, pictures=shots)

    def quality(self, row: MergeRow) -> NDArray[np.float64]:
        """Return the sum of the objectives over the pictures, then over each resample."""
        total = self.np.zeros(len(self.parts))
        for one in self.scale.sums:
            for label, weight in one.weights.items():
                normal = self.scale.normal.get(label, _raw)
                total += weight * self._mean(row, label, normal)
        return total

    def means(self, row: MergeRow) -> dict[str, float]:
        """Return scorer's label → mean of its scores as they are."""
        labels = dict.fromkeys(label for scores in row.scores.values() for label in scores)
        return {label: float(self._mean(row, label, _raw)[0]) for label in labels}

    def ranks(self, rows: Sequence[MergeRow]) -> list[float]:
        """Return each row's place among all, averaged over the prompts; equals share one."""
        prompts: defaultdict[tuple[str, str], list[Payload]] = defaultdict(list)
        for payload in self.pictures:
            prompts[payload.prompt, payload.negative_prompt].append(payload)
        table = self.np.array(
            [
                [
                    fmean(self.scale.picture(record_of(p, "", row.scores[p.id])) for p in group)
                    for group in prompts.values()
                ]
                for row in rows
            ]
        )
        above = (table[None] > table[:, None]).sum(axis=1)
        equal = (table[None] == table[:, None]).sum(axis=1)
        places: list[float] = (above + (equal + 1) / 2).mean(axis=1).tolist()
        return places

    def _mean(self, row: MergeRow, label: str, normal: Normal) -> NDArray[np.float64]:
        """Return a scorer's weighted mean over the pictures that it judges, for each resample."""
        scores = [(payload.id, row.scores[payload.id].get(label)) for payload in self.pictures]
        judged = self.np.array([score is not None for _, score in scores])
        values = self.np.array([normal(i, score) for i, score in scores if score is not None])
        parts = self.parts[:, judged]
        with self.np.errstate(invalid="ignore"):  # none of them may be in a resample
            means: NDArray[np.float64] = parts @ values / parts.sum(axis=1)
        return means
