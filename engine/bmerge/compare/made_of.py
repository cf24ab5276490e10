"""What a model is most likely made of: the weights of its parents that come nearest to it.

In each block the child is fitted by least squares, child ≈ Σ wᵢ · parentᵢ with Σ wᵢ = 1, which
weighted sums (1 - α, α), added differences (1, α, -α) and all sums of task vectors fulfil. Only
inner products of differences to the first parent are needed, and one pass over the files takes
them: with d = child - p₁ and eᵢ = pᵢ - p₁, the weights solve (eᵢ·eⱼ) w = (eᵢ·d).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations_with_replacement
from typing import Any

from bmerge import ops
from bmerge.compare.measured import measured
from bmerge.compare.pairs import AlignedModels
from bmerge.dtypes import is_float
from bmerge.executors import Executor, ProgressCallback
from bmerge.formats.unchanged import Unchanged
from bmerge.records import dataclass

__all__ = ["Fit", "MadeOf", "made_of"]

_SINGULAR = 1e-10
"""Share of a parent's squared difference that others must leave of it for it to have a weight."""


@dataclass(frozen=True, slots=True)
class Fit:
    """The weights of the parents that come nearest to the child in some tensors.

    Args:
        weights: one for each parent; None where parents are the same there, or sums of others.
        size: sum of the child's squares.
        left: sum of the squares of what the parents leave of it.
        nearest: its squared distance from the nearest parent.
        same: whether all parents are the same there.
    """

    weights: tuple[float | None, ...]
    size: float
    left: float
    nearest: float
    same: bool

    @property
    def residual(self) -> float:
        """Norm of what is left of the child, over the child's norm."""
        return math.sqrt(self.left / self.size) if self.size else 0.0

    @property
    def explained(self) -> float:
        """The share of the squared distance from the nearest parent that the others explain.

        0 … 1; 1 where the child is that parent.
        """
        return 1.0 - min(1.0, self.left / self.nearest) if self.nearest else 1.0

    @property
    def data(self) -> dict[str, Any]:
        """The same as plain data."""
        return {
            "weights": list(self.weights), "residual": self.residual,
            "explained": self.explained, "parents_equal": self.same,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class MadeOf:
    """The fits of a model.

    Args:
        alignment: the child, then its parents.
        blocks: block → the fit in it, in the architecture's order.
        total: with one weight for all tensors.
    """

    alignment: AlignedModels
    blocks: dict[str, Fit]
    total: Fit

    @property
    def explained(self) -> float:
        """The share that weights per block explain of the distance from the nearest parent."""
        left = sum(fit.left for fit in self.blocks.values())
        return 1.0 - min(1.0, left / self.total.nearest) if self.total.nearest else 1.0


def made_of(
    alignment: AlignedModels, *, executor: Executor, progress: ProgressCallback | None = None
) -> MadeOf:
    """Find the weights of a model's parents in each block.

    Args:
        alignment: of the child and two or more parents.
        executor: runs the pass over their files.
        progress: called while it runs.

    Raises:
        ExecutorError: if a file cannot be read.
        RecipeError: if a model was changed meanwhile.
    """
    unchanged = Unchanged.of(alignment.checkpoints)
    rows = [row for row in alignment.rows if is_float(row.infos[0].dtype)]
    count = len(alignment.checkpoints)
    numbers = measured(
        [row.infos for row in rows],
        _products,
        alignment.architecture,
        executor=executor,
        progress=progress,
    )
    unchanged.check()
    sums: dict[str, list[float]] = {}
    for row, found in zip(rows, numbers, strict=True):
        known = sums.get(row.block, [0.0] * len(found))
        sums[row.block] = [one + other for one, other in zip(known, found, strict=True)]
    order = [block for block in alignment.architecture.blocks if block in sums]
    blocks = {block: _fit(sums[block], count - 1) for block in order}
    total = [sum(each) for each in zip(*sums.values(), strict=True)]
    return MadeOf(alignment, blocks, _fit(total, count - 1))


def _products(child: Any, first: Any, *others: Any) -> list[Any]:
    """Return the child's square and all inner products of the differences to the first parent."""
    finite = ops.isfinite(child) & ops.isfinite(first)
    for other in others:
        finite = finite & ops.isfinite(other)
    apart = [ops.where(finite, each - first, 0.0) for each in (child, *others)]
    child = ops.where(finite, child, 0.0)
    pairs = combinations_with_replacement(apart, 2)
    return [ops.vecdot(child, child), *(ops.vecdot(one, other) for one, other in pairs)]


def _fit(numbers: Sequence[float], parents: int) -> Fit:
    """Solve for the weights.

    Args:
        numbers: as :func:`_products` gives them, summed over tensors.
        parents: how many.
    """
    size, *products = numbers
    places = combinations_with_replacement(range(parents), 2)
    gram = dict(zip(places, products, strict=True))
    gram |= {(j, i): value for (i, j), value in gram.items()}
    found = _solved(gram, parents)
    known = [0.0 if weight is None else weight for weight in found]
    left = gram[0, 0] - 2 * sum(w * gram[0, i] for i, w in enumerate(known, 1))
    left += sum(v * w * gram[i, j] for i, v in enumerate(known, 1) for j, w in enumerate(known, 1))
    distances = [gram[0, 0] - 2 * gram[0, i] + gram[i, i] for i in range(1, parents)]
    nearest = max(0.0, min([gram[0, 0], *distances]))
    same = all(not gram[i, i] for i in range(1, parents))
    first = None if same else 1 - sum(known)
    return Fit((first, *found), size, max(0.0, left), nearest, same)


def _solved(gram: dict[tuple[int, int], float], parents: int) -> list[float | None]:
    """Solve the normal equations by Cholesky's method; None where there is no own direction."""
    free: list[int] = []
    rows: dict[int, dict[int, float]] = {}
    for i in range(1, parents):
        row: dict[int, float] = {}
        for j in free:
            done = sum(row[k] * rows[j][k] for k in free if k in rows[j] and k < j)
            row[j] = (gram[i, j] - done) / rows[j][j]
        rest = gram[i, i] - sum(value * value for value in row.values())
        if rest > _SINGULAR * gram[i, i]:
            rows[i] = {**row, i: math.sqrt(rest)}
            free.append(i)
    forward: dict[int, float] = {}
    for i in free:
        done = sum(rows[i][k] * forward[k] for k in free if k < i)
        forward[i] = (gram[0, i] - done) / rows[i][i]
    weights: dict[int, float] = {}
    for i in reversed(free):
        done = sum(rows[k][i] * weights[k] for k in free if k > i)
        weights[i] = (forward[i] - done) / rows[i][i]
    return [weights.get(i) for i in range(1, parents)]
