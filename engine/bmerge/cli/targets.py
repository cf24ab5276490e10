"""Where a command may write: checked before any work is done, and said the same everywhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from bmerge.errors import FormatError
from bmerge.formats.target import regular_target

__all__ = ["check_yaml_target", "force_option", "named_output", "refuse_existing"]

F = TypeVar("F", bound=Callable[..., Any])

_SUFFIXES = (".yaml", ".yml")
_SEPARATORS = tuple({os.sep, os.altsep or os.sep})


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


def named_output(output: str, *, folder: bool = False) -> Path:
    """Return the file that ``--output`` or its like names.

    Args:
        output: the name.
        folder: whether it may be that of a folder.

    Raises:
        FormatError: if it names none, as a variable that a shell does not know would, or a folder.
    """
    if not output:
        raise FormatError("the output's name is empty", hint="name a file")
    path = Path(output)
    if output.endswith(_SEPARATORS) and not folder:
        message = f"cannot write {output}: a name with {output[-1]} at its end is a folder's"
        raise FormatError(message, path=path, hint="name a file")
    return path


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
