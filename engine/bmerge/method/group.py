"""Parameters that several methods share, declared once: their ranges, defaults and meaning."""

from __future__ import annotations

from bmerge.options import OptionGroup
from bmerge.records import dataclass

__all__ = ["ParameterGroup"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterGroup(OptionGroup):
    """What groups of a method's parameters are derived from, each a frozen dataclass.

    Its fields are annotated as the parameters of :func:`bmerge.merge_method` are, and their
    meaning is that of :func:`bmerge.option`. A keyword-only parameter of a method whose default is
    a group becomes as many parameters as the group has fields; the body gets a group with tensors
    or numbers in them, the function of a method its fields by name.
    """

    def __post_init__(self) -> None:
        """Take any values: a recipe's have been checked, and a body is traced with symbols."""
