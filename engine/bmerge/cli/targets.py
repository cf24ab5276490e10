"""Where a command may write: checked before any work is done, and said the same everywhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from bmerge.errors import FormatError
from bmerge.formats.target import regular_target

__all__ = ["check_yaml_target", "force_option", "named_output", "refuse_existing"]

F = TypeVar("F", bound=Callable[..., Any])

_SUFFIXES = (".yaml", ".yml")


def check_yaml_target(target: Path, what: str, *, force: bool) -> None:
    """Refuse a name that cannot or must not be written.

    Args:
        target: the file.
        what: is written, for the message: ``recipe`` or ``study``.
        force: whether a file that is there may be replaced.

    Raises:
        FormatError: tells why.
    """
    if target.suffix.lower() not in _SUFFIXES:
        message = f"cannot write {target}: a {what} is a YAML file"
        raise FormatError(message, path=target, hint=f"name it {target.stem}.yaml")
    regular_target(target)
    refuse_existing(target, force=force)


def named_output(output: str) -> Path:
    """Return the file that ``--output`` names.

    Raises:
        FormatError: if it names none, as a variable that a shell does not know would.
    """
    if not output:
        raise FormatError("the output's name is empty", hint="name a file after -o")
    return Path(output)


def refuse_existing(target: Path, *, force: bool) -> None:
    """Refuse a file that is there, unless it may be replaced.

    Raises:
        FormatError: names it and the option.
    """
    if target.exists() and not force:
        raise FormatError(f"{target} exists", path=target, hint="--force replaces it")


def force_option(command: F) -> F:
    """Give a command the option ``--force``, as its argument ``force``."""
    return click.option("--force", is_flag=True, help="Replace the output if it exists.")(command)
