"""Parameters as Optuna's storage has them: a choice by its word, which its dashboard shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bmerge.space.protocols import Parameter

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

__all__ = ["distribution_of", "parameter_of", "stored_value", "values_of"]


def distribution_of(p: Parameter) -> BaseDistribution:
    """Return a parameter's kind and bounds in Optuna's words."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if p.choices:
        return CategoricalDistribution(p.choices)
    if p.integer:
        return IntDistribution(int(p.low), int(p.high), log=p.log)
    return FloatDistribution(p.low, p.high, log=p.log)


def parameter_of(name: str, distribution: BaseDistribution) -> Parameter:
    """Return a parameter in our words, but for its simplex, which Optuna has no word for."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        words = tuple(map(str, distribution.choices))
        return Parameter(name, 0.0, float(len(words) - 1), choices=words)
    if not isinstance(distribution, FloatDistribution | IntDistribution):
        raise TypeError(f"{name} is of the kind {type(distribution).__name__}")
    return Parameter(
        name,
        float(distribution.low),
        float(distribution.high),
        log=distribution.log,
        integer=isinstance(distribution, IntDistribution),
    )


def stored_value(p: Parameter, value: float) -> float | int | str:
    """Return what is stored for ``value``."""
    if p.choices:
        return p.choices[int(value)]
    return int(value) if p.integer else value


def values_of(
    params: Mapping[str, Any], distributions: Mapping[str, BaseDistribution]
) -> dict[str, Any]:
    """Return parameter → value of a stored trial.

    Raises:
        ValueError: if a word is none of the choices.
    """
    found = {}
    for name, value in params.items():
        choices = getattr(distributions.get(name), "choices", None)
        found[name] = value if choices is None else float(choices.index(value))
    return found
