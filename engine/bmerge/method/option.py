"""Options of merge methods: which form of a method is meant, where there are several.

Unlike a hyperparameter an option is not a number, is the same for all blocks and is not searched.
"""

from __future__ import annotations

from typing import TypeAlias

from bmerge.records import dataclass

__all__ = ["Option", "OptionValue"]

OptionValue: TypeAlias = str | bool
"""A word or a truth value."""


@dataclass(frozen=True, slots=True)
class Option:
    """A choice among forms of a method: a parameter annotated ``Literal[…]`` or ``bool``.

    Args:
        name: of the function's parameter, and everywhere else.
        default: taken where none is given.
        choices: all values there are.
    """

    name: str
    default: OptionValue
    choices: tuple[OptionValue, ...]

    def problem(self, value: object) -> str | None:
        """Say what is wrong with ``value``; None if it is valid."""
        # True == 1: the type counts too.
        if any(value == choice and type(value) is type(choice) for choice in self.choices):
            return None
        return f"{option_text(value)} is none of {', '.join(map(option_text, self.choices))}"


def option_text(value: object) -> str:
    """Return a value as it is written in recipes and on the command line."""
    return str(value).lower() if isinstance(value, bool) else str(value)
