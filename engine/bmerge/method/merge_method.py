"""A merge method as an object: what the function is called, takes and computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from bmerge.errors import MethodError, nearest
from bmerge.expr import Graph, trace
from bmerge.method.hyperparameter import Hyperparameter

__all__ = ["MergeMethod"]


@dataclass(frozen=True, slots=True)
class MergeMethod:
    """A merge method; made by ``@merge_method``. Calling it calls the function.

    Args:
        name: by which recipes and the command line call it.
        aliases: other names for the same.
        function: the body, over tensors of one key.
        model_names: the named input models, in order.
        variadic: whether any number of further models may follow.
        hyperparameters: in the order of the signature.
        summary: first line of the documentation.
        doc: the documentation.
    """

    name: str
    aliases: tuple[str, ...]
    function: Callable[..., Any]
    model_names: tuple[str, ...]
    variadic: bool
    hyperparameters: tuple[Hyperparameter, ...]
    summary: str
    doc: str

    def __call__(self, *models: Any, **hyperparameters: Any) -> Any:
        """Call the function."""
        return self.function(*models, **hyperparameters)

    def check_models(self, n: int) -> None:
        """Check that the method takes ``n`` models.

        Raises:
            MethodError: if it does not.
        """
        fixed = len(self.model_names)
        fits = n >= max(fixed, 1) if self.variadic else n == fixed
        if not fits:
            names = ", ".join((*self.model_names, "…") if self.variadic else self.model_names)
            count = f"{max(fixed, 1)} or more models" if self.variadic else _plural(fixed, "model")
            raise MethodError(f"{self.name} takes {count} ({names}), got {n}")

    def graph(self, n_models: int) -> Graph:
        """Return what the method computes from ``n_models`` models; traced once.

        Raises:
            MethodError: if it does not take that many, or its body cannot be traced.
        """
        self.check_models(n_models)
        return _graph(self, n_models)

    def validate(self, values: Mapping[str, float]) -> None:
        """Check the values of some or all hyperparameters.

        Raises:
            MethodError: if there is no such hyperparameter, or its value has no meaning.
        """
        known = {hyperparameter.name: hyperparameter for hyperparameter in self.hyperparameters}
        for name, value in values.items():
            if name not in known:
                message = f"{self.name} has no hyperparameter {name!r}"
                raise MethodError(message, hint=nearest(name, known))
            problem = known[name].problem(value)
            if problem:
                raise MethodError(f"{self.name}: {name} = {problem}", hint=_bounds(known[name]))


@lru_cache(maxsize=256)
def _graph(method: MergeMethod, n_models: int) -> Graph:
    names = [hyperparameter.name for hyperparameter in method.hyperparameters]
    return trace(method.function, n_models, names, name=method.name)


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _bounds(hyperparameter: Hyperparameter) -> str | None:
    low, high = hyperparameter.minimum, hyperparameter.maximum
    if low is None and high is None:
        return None
    return f"valid: {'any' if low is None else low} to {'any' if high is None else high}"
