"""How far models are apart: tensor by tensor, and for the groups that tensors are in."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any

from bmerge import ops
from bmerge.compare.layers import LAYERS
from bmerge.compare.measured import measured
from bmerge.compare.pairs import AlignedModels, TensorRow
from bmerge.compare.same import same_values
from bmerge.dtypes import is_float
from bmerge.executors import Executor, ProgressCallback
from bmerge.formats.unchanged import Unchanged
from bmerge.records import dataclass

__all__ = ["Difference", "Distance", "compare"]


@dataclass(frozen=True, slots=True)
class Distance:
    """How far two models are apart in some tensors; from a third, if there is one.

    Args:
        keys: how many tensors.
        changed: how many of them differ.
        elements: how many numbers.
        elements_changed: how many of them differ.
        nonfinite: numbers that are NaN or infinite in one of the models; they count as 0.
        a: sum of the first model's squares, each less the base's value if there is a base.
        b: that of the second.
        apart: sum of the squared differences between the two.
        base: sum of the base's squares; None without a base.
        greatest: the greatest difference of two elements.
    """

    keys: int = 0
    changed: int = 0
    elements: int = 0
    elements_changed: int = 0
    nonfinite: int = 0
    a: float = 0.0
    b: float = 0.0
    apart: float = 0.0
    base: float | None = None
    greatest: float = 0.0

    @classmethod
    def of(cls, distances: Sequence[Distance]) -> Distance:
        """Return the distance in the tensors of all."""
        bases = [each.base for each in distances if each.base is not None]
        return cls(
            sum(each.keys for each in distances),
            sum(each.changed for each in distances),
            sum(each.elements for each in distances),
            sum(each.elements_changed for each in distances),
            sum(each.nonfinite for each in distances),
            sum((each.a for each in distances), 0.0),
            sum((each.b for each in distances), 0.0),
            sum((each.apart for each in distances), 0.0),
            sum(bases) if bases else None,
            max((each.greatest for each in distances), default=0.0),
        )

    @property
    def relative(self) -> float | None:
        """The norm of the difference over the first model's; None if that is 0 and this is not.

        With a base, over the base's.
        """
        return _ratio(self.apart, self.a if self.base is None else self.base)

    @property
    def cosine(self) -> float | None:
        """The cosine of the two models, or of their differences to the base; None of nothing."""
        if not self.a or not self.b:
            return None
        cosine = (self.a + self.b - self.apart) / (2 * math.sqrt(self.a) * math.sqrt(self.b))
        return max(-1.0, min(1.0, cosine))

    @property
    def moved(self) -> tuple[float | None, float | None] | None:
        """How far each model is from the base, over the base's norm; None without a base."""
        if self.base is None:
            return None
        return _ratio(self.a, self.base), _ratio(self.b, self.base)

    @property
    def data(self) -> dict[str, Any]:
        """What there is to say, as plain data."""
        found = {
            "keys": self.keys, "changed": self.changed, "elements": self.elements,
            "elements_changed": self.elements_changed, "distance": self.relative,
            "cosine": self.cosine, "greatest": self.greatest, "nonfinite": self.nonfinite,
        }  # fmt: skip
        return found if self.moved is None else {**found, "moved": list(self.moved)}


def _ratio(part: float, whole: float) -> float | None:
    if not part:
        return 0.0
    return math.sqrt(part) / math.sqrt(whole) if whole else None


@dataclass(frozen=True)
class Difference:
    """How far the first two of several models are apart.

    Args:
        alignment: their tensors; the third model is the base.
        distances: one for each tensor that can be compared.
    """

    alignment: AlignedModels
    distances: tuple[tuple[TensorRow, Distance], ...]

    @cached_property
    def total(self) -> Distance:
        """In all tensors."""
        return Distance.of(list(self.components.values()))

    def by(self, *kinds: Callable[[TensorRow], str]) -> dict[tuple[str, ...], Distance]:
        """Return the distance in each group of tensors.

        Args:
            kinds: what tensors of one group have in common.
        """
        groups: defaultdict[tuple[str, ...], list[Distance]] = defaultdict(list)
        for row, distance in self.distances:
            groups[tuple(kind(row) for kind in kinds)].append(distance)
        return {group: Distance.of(several) for group, several in groups.items()}

    @cached_property
    def components(self) -> dict[str, Distance]:
        """In each component."""
        return {name: found for (name,), found in self.by(lambda row: row.component).items()}

    @cached_property
    def blocks(self) -> dict[str, Distance]:
        """In each block, in the architecture's order."""
        found = self.by(lambda row: row.block)
        return _in_order(found, self.alignment.architecture.blocks)

    @cached_property
    def layers(self) -> dict[str, Distance]:
        """In each kind of layer."""
        return _in_order(self.by(lambda row: row.layer), LAYERS)


def _in_order(found: dict[tuple[str, ...], Distance], names: Iterable[str]) -> dict[str, Distance]:
    return {name: found[name,] for name in names if (name,) in found}


def compare(
    alignment: AlignedModels, *, executor: Executor, progress: ProgressCallback | None = None
) -> Difference:
    """Compare the first two of several models, and both with the third if there is one.

    Args:
        alignment: of two or three models.
        executor: runs the pass over their files.
        progress: called while it runs.

    Raises:
        ExecutorError: if a file cannot be read.
        FormatError: likewise.
        RecipeError: if a model was changed meanwhile.
    """
    unchanged = Unchanged.of(alignment.checkpoints)
    floats = [row for row in alignment.rows if is_float(row.infos[0].dtype)]
    numbers = measured(
        [row.infos for row in floats],
        _with_base if len(alignment.checkpoints) > 2 else _pair,
        alignment.architecture,
        executor=executor,
        progress=progress,
    )
    found = {row.key: _distance(row, each) for row, each in zip(floats, numbers, strict=True)}
    distances = tuple((row, found.get(row.key) or _whole(row)) for row in alignment.rows)
    unchanged.check()
    return Difference(alignment, distances)


def _pair(a: Any, b: Any) -> list[Any]:
    finite = ops.isfinite(a) & ops.isfinite(b)
    return _numbers(ops.where(finite, a, 0.0), ops.where(finite, b, 0.0), a, b, finite)


def _with_base(a: Any, b: Any, base: Any) -> list[Any]:
    finite = ops.isfinite(a) & ops.isfinite(b) & ops.isfinite(base)
    one, other = (ops.where(finite, model - base, 0.0) for model in (a, b))
    size = ops.vector_norm(ops.where(finite, base, 0.0))
    return [*_numbers(one, other, a, b, finite), size]


def _numbers(one: Any, other: Any, a: Any, b: Any, finite: Any) -> list[Any]:
    """Return what a distance is made of; NaN equals NaN here, since nothing changed there."""
    apart = ops.where(finite, a - b, 0.0)
    differs = (a != b) & ~(ops.isnan(a) & ops.isnan(b))
    return [
        ops.vector_norm(one), ops.vector_norm(other), ops.vector_norm(apart),
        ops.max(ops.abs(apart)), ops.sum(differs), ops.sum(~finite),
    ]  # fmt: skip


def _distance(row: TensorRow, numbers: Sequence[float]) -> Distance:
    a, b, apart, greatest, changed, nonfinite, *base = numbers
    elements = row.infos[0].numel
    return Distance(
        1, int(changed > 0), elements, round(changed), round(nonfinite), a * a, b * b,
        apart * apart, base[0] ** 2 if base else None, max(greatest, 0.0),
    )  # fmt: skip


def _whole(row: TensorRow) -> Distance:
    """Compare tensors that are not floats: they are the same or not."""
    first, second = row.infos[:2]
    same = first.dtype == second.dtype and same_values(first, second)
    return Distance(1, int(not same), first.numel, 0 if same else first.numel)
