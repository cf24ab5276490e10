"""Whether a study, or another long work, continues under the definition that it was begun with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bmerge.errors import StudyError
from bmerge.logs import logger
from bmerge.storage.completed import HASH, completed
from bmerge.storage.definition import StudyDefinition

__all__ = ["check_definition", "check_unchanged"]

_DIGITS = 12  # of a hash that are shown
_INNER = re.compile(r"(?<=^generator)\.options|(?<=^optimiser)\.options|(?<=\])\.options|\.text$")
"""Levels of the definition that a study file does not have."""


def check_definition(
    stored: StudyDefinition,
    wanted: StudyDefinition,
    folder: Path,
    *,
    what: str = "study",
    accept_changes: bool = False,
) -> StudyDefinition:
    """Refuse to continue with a study under another definition; see :func:`check_unchanged`.

    Returns:
        The definition to be stored from now on: what an earlier release has not recorded is
        taken from ``wanted``.
    """
    before, now = stored.to_json(), wanted.to_json()
    check_unchanged(before, now, folder, what=what, accept_changes=accept_changes)
    release = stored.recorded.bmerge or wanted.recorded.bmerge
    return replace(wanted, recorded=replace(wanted.recorded, bmerge=release))


def check_unchanged(
    stored: Mapping[str, Any],
    wanted: Mapping[str, Any],
    folder: Path,
    *,
    what: str,
    accept_changes: bool = False,
) -> None:
    """Refuse to continue with what was begun under another definition.

    Args:
        stored: the definition that it was begun with, as plain data.
        wanted: the present one.
        folder: where it is.
        what: it is.
        accept_changes: whether another content of a file, of weights or of code is only told.
            Nobody but the user can know whether it matters.

    Raises:
        StudyError: that names the first difference and what to do.
    """
    known = completed(stored, wanted)
    if known.get("bmerge") != wanted.get("bmerge"):
        message = "the %s in %s was begun with bmerge %s, this is %s: scores may differ for that"
        logger(__name__).warning(message, what, folder, known["bmerge"], wanted["bmerge"])
    own = {key: wanted[key] for key in ("bmerge", "plugins") if key in wanted}
    for place, before, now in _differences(known | own, wanted, ""):
        shown = f"{_INNER.sub('', place)}: {_short(before)}, now {_short(now)}"
        message = f"the {what} in {folder} was made with different {shown}"
        content = HASH in str(before) and HASH in str(now)
        if not (content and accept_changes):
            former = "put the former one back" if content else "write the former value there"
            advice = f"{former}, or start a new {what} with another --out"
            more = "; --accept-changes continues anyway" if content and what == "study" else ""
            raise StudyError(message, hint=advice + more)
        logger(__name__).warning("%s", message)


def _differences(before: Any, now: Any, place: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield place, old and new value of everything that differs."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys((*before, *now)):
            inner = f"{place}.{key}" if place else str(key)
            yield from _differences(before.get(key), now.get(key), inner)
    elif _is_list(before) and _is_list(now) and len(before) == len(now):
        for index, pair in enumerate(zip(before, now, strict=True)):
            yield from _differences(*pair, f"{place}[{index}]")
    elif before != now:
        yield place, before, now


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)


def _short(value: object) -> str:
    """Return ``value`` as text that fits a line."""
    text = f"{len(value)} entries" if isinstance(value, list | tuple) else repr(value)
    text = re.sub(rf"({HASH}\w{{{_DIGITS}}})\w+", r"\1", text)
    return text if len(text) <= 60 else text[:57] + "..."
