"""Command lines with places for values: ``scp {checkpoint} gpu:/models/{name}``.

A command line is split into arguments once, as a shell would; the values go in afterwards. So a
space or a quote in a value cannot become an argument of its own, and no shell is involved.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence

from bmerge import GeneratorError, split_command

__all__ = ["Template"]


class Template:
    """A command line, checked when it is made.

    Args:
        text: as the user wrote it, or already split into arguments.
        known: the names that may stand in braces.
        needed: those that must.
        option: how the user calls it, for messages.

    Raises:
        GeneratorError: if it is empty, or names something unknown, or lacks something.
    """

    def __init__(
        self, text: str | Sequence[str], *, known: Sequence[str], needed: Sequence[str], option: str
    ) -> None:
        try:
            self.arguments = tuple(split_command(text) if isinstance(text, str) else text)
            used = {name for argument in self.arguments for name in _names(argument)}
        except ValueError as error:
            raise GeneratorError(f"{option}: {error}: {text!r}", blame="study") from error
        if not self.arguments:
            raise GeneratorError(f"{option} is empty", blame="study")
        places = ", ".join(f"{{{name}}}" for name in known)
        for name in sorted(used - set(known)):
            raise GeneratorError(
                f"{option} has no {{{name}}}", blame="study", hint=f"it may use {places}"
            )
        for name in needed:
            if name not in used:
                raise GeneratorError(
                    f"{option} must use {{{name}}}", blame="study", hint=f"it may use {places}"
                )
        self.names = frozenset(used)

    def fill(self, values: Mapping[str, str]) -> list[str]:
        """Return the arguments with ``values`` in place."""
        return [argument.format_map(values) for argument in self.arguments]


def _names(argument: str) -> list[str]:
    """Return the names in braces; ValueError for braces that do not pair."""
    return [name for _, name, _, _ in string.Formatter().parse(argument) if name is not None]
