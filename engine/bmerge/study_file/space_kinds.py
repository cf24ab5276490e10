"""Kinds of parameters in a study file: logarithms, whole numbers, weights that sum to 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bmerge.space.protocols import Space
from bmerge.study_file.space_entry import HyperparameterSpace, Range

if TYPE_CHECKING:
    from bmerge.method import Hyperparameter

__all__ = ["check_simplices", "kind_problem", "simplex_of"]


def kind_problem(config: HyperparameterSpace, bounds: Range) -> str | None:
    """Say why a value or a range cannot be of the kind that the file says; None if it can."""
    low, high = bounds
    if config.log and low <= 0:
        return f"a range on a logarithmic scale begins above 0, not at {low:g}"
    if config.integer and not (low.is_integer() and high.is_integer()):
        return f"whole numbers have a range of whole numbers, not [{low:g}, {high:g}]"
    if config.integer and config.log and low < 1:
        return f"whole numbers on a logarithmic scale begin at 1 or above, not at {low:g}"
    if config.simplex and low < high and (low, high) != (0.0, 1.0):
        return f"weights that sum to 1 have the range [0, 1], not [{low:g}, {high:g}]"
    return None


def simplex_of(hyperparameter: str, dimension: str) -> str:
    """Return the group of a dimension: ``weight.IN00`` for that of ``weight_2``'s in IN00."""
    common = _stem(hyperparameter) or hyperparameter
    return common + dimension[len(hyperparameter) :]


def _stem(hyperparameter: str) -> str:
    """Return what those of all models have in common: ``weight`` of ``weight_2``; else nothing."""
    step, dot, name = hyperparameter.rpartition(".")
    stem = name.rpartition("_")[0]
    return step + dot + stem if stem else ""


def check_simplices(
    space: Space,
    config: Mapping[str, HyperparameterSpace],
    hyperparameters: Sequence[Hyperparameter],
) -> None:
    """Refuse weights that sum to 1 where some of them are not searched, or there is one alone.

    Raises:
        RecipeError: at the hyperparameter that is to blame.
    """
    marked = [h.name for h in hyperparameters if h.name in config and config[h.name].simplex]
    for name in marked:
        entry = config[name]
        if entry.log or entry.integer:
            entry.fail(
                "", f"{name}: weights that sum to 1 are neither logarithms nor whole numbers"
            )
        common = _stem(name)
        partners = [h.name for h in hyperparameters if common and h.name.startswith(f"{common}_")]
        if len(partners) < 2:
            entry.fail("", f"{name} has no partners that it could sum to 1 with")
        for partner in set(partners) - {*marked}:
            entry.fail("", f"{name} sums to 1 with {partner}, which the space has otherwise")
    for group, members in space.simplices.items():
        partners = [name for name in marked if f"{group}.".startswith(f"{_stem(name)}.")]
        if len(members) < len(partners):
            message = f"{group}: all of {', '.join(partners)} must be searched there"
            config[partners[0]].fail("", message)
