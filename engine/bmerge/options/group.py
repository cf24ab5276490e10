"""A group of options: a frozen dataclass that everything else is made from."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, cast

from bmerge.errors import PluginError
from bmerge.options.about import About, about
from bmerge.options.fitting import problem
from bmerge.records import dataclass
from bmerge.sizes import parse_size

__all__ = ["OptionGroup", "option"]

_ABOUT = "about"


def option(
    default: Any = dataclasses.MISSING,
    help: str = "",  # noqa: A002  what it is called everywhere
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    size: bool = False,
    incidental: bool = False,
    secret: bool = False,
    placeholder: str | None = None,
) -> Any:
    """Declare a field of a group.

    Args:
        default: used where the option is left out.
        help: what it means.
        least: the smallest value allowed.
        above: what values must be greater than.
        most: the greatest value allowed.
        size: whether it is a number of bytes, which people may write as ``512M``.
        incidental: whether no result depends on it.
        secret: whether it must not be shown.
        placeholder: what stands for its value in the help of a command.
    """
    said = About(help, least, above, most, size, incidental, placeholder)
    return dataclasses.field(default=default, repr=not secret, metadata={_ABOUT: said})


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionGroup:
    """What groups are derived from, each a ``@dataclass(frozen=True, slots=True, kw_only=True)``.

    A group checks its values when it is made; sizes may be written as text.
    """

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            PluginError: if one does not fit its annotation or its range.
        """
        for name, annotation in self.annotations().items():
            value = getattr(self, name)
            if wrong := problem(value, annotation):
                raise PluginError(f"{name} must be {wrong}")
            if isinstance(value, str) and about(annotation).size:
                object.__setattr__(self, name, parse_size(value))

    @classmethod
    def annotations(cls) -> Mapping[str, Any]:
        """Return the options by name, each annotated with its type and what is said of it."""
        return _annotations(cast("Any", cls))


@cache
def _annotations(kind: type[OptionGroup]) -> Mapping[str, Any]:
    hints = typing.get_type_hints(kind, include_extras=True)
    return {
        field.name: Annotated[hints[field.name], field.metadata.get(_ABOUT, About())]
        for field in dataclasses.fields(kind)
    }
