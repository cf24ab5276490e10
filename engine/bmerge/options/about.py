"""What there is to say of one option beside its type and its default."""

from __future__ import annotations

import typing
from typing import Any

from bmerge.records import dataclass

__all__ = ["About", "about", "bare"]


@dataclass(frozen=True, slots=True)
class About:
    """The meaning of an option, and its range; ``Annotated[float, About("seconds", above=0)]``.

    Args:
        help: what it means, in a line or two.
        least: the smallest value allowed.
        above: what values must be greater than.
        most: the greatest value allowed.
        size: whether it is a number of bytes, which people may write as ``512M``.
        incidental: whether no result depends on it.
        placeholder: what stands for its value in the help of a command.
    """

    help: str = ""
    least: float | None = None
    above: float | None = None
    most: float | None = None
    size: bool = False
    incidental: bool = False
    placeholder: str | None = None

    def bounds(self, value: float) -> str | None:
        """Say which values are allowed, as ``1 or more``, if this one is not."""
        if self.least is not None and value < self.least:
            return f"{self.least:g} or more"
        if self.above is not None and value <= self.above:
            return f"above {self.above:g}"
        if self.most is not None and value > self.most:
            return f"{self.most:g} or less"
        return None


def about(annotation: Any) -> About:
    """Return what an evaluated annotation says of an option."""
    said = getattr(annotation, "__metadata__", ())
    return next((item for item in said if isinstance(item, About)), About())


def bare(annotation: Any) -> Any:
    """Return an annotation without what is said beside the type."""
    origin = typing.get_origin(annotation)
    return annotation.__origin__ if origin is typing.Annotated else annotation
