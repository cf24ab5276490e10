"""Where a command may write a YAML file: checked before any work is done."""

from __future__ import annotations

from pathlib import Path

from bmerge.errors import FormatError
from bmerge.formats.target import regular_target

__all__ = ["check_yaml_target"]

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
    if target.exists() and not force:
        raise FormatError(f"{target} exists", path=target, hint="--force replaces it")
