"""Numbers that a method needs of the whole model before the first tensor is merged."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from bmerge.errors import MethodError
from bmerge.expr import Extent, Graph, extent_of, trace
from bmerge.records import dataclass

__all__ = ["Statistic"]


@dataclass(frozen=True, slots=True)
class Statistic:
    """A number that is taken over all tensors of the models; inside ``Annotated[float, …]``.

    First ``measure`` is computed for each tensor, then ``fold`` for all that it gave, as one
    tensor of one dimension. Both are made of operators and :mod:`bmerge.ops`, as methods are.

    Args:
        measure: function of the models' tensors of one key; gives one value, or one per column
            (a reduction with ``axis=0``).
        fold: function of all values together; gives one.
        skip: glob patterns of keys that take no part.
        name: of the method's parameter; set by ``@merge_method``.
    """

    measure: Callable[..., Any]
    fold: Callable[[Any], Any]
    skip: tuple[str, ...] = ()
    name: str = ""

    def measure_graph(self, n_models: int) -> Graph:
        """Return what is computed for each tensor.

        Raises:
            MethodError: if it gives more than a value per column.
        """
        graph = _traced(self.measure, n_models)
        if extent_of(graph) not in {Extent.SCALAR, Extent.COLUMNS}:
            message = f"{self.name}: its measure does not give one value per tensor or column"
            raise MethodError(message, hint="reduce with axis=None or axis=0")
        return graph

    def fold_graph(self) -> Graph:
        """Return what is computed of all values.

        Raises:
            MethodError: if it gives more than one.
        """
        graph = _traced(self.fold, 1)
        if extent_of(graph) is not Extent.SCALAR:
            message = f"{self.name}: its fold does not give one value"
            raise MethodError(message, hint="reduce with axis=None")
        return graph


@lru_cache(maxsize=256)
def _traced(function: Callable[..., Any], n_models: int) -> Graph:
    return trace(function, n_models, ())
