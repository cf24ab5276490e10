"""Entry points of the installed distributions, read from their files.

:mod:`importlib.metadata` tells the same, but importing it takes as long as all the rest of a
small merge takes to begin. Like it, this looks through the folders of ``sys.path``, and the
first distribution of a name hides later ones. It does not look into zip files.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from functools import reduce
from pathlib import Path

from bmerge.records import dataclass

__all__ = ["EntryPoint", "entry_points"]

_SUFFIXES = {".dist-info": "METADATA", ".egg-info": "PKG-INFO"}
"""How the folder that describes a distribution ends → the file in it with name and version."""


@dataclass(frozen=True, slots=True)
class EntryPoint:
    """A name that a distribution gives to one of its objects.

    Args:
        name: of the entry.
        value: ``module`` or ``module:object``.
        distribution: its name.
        version: of the distribution.
    """

    name: str
    value: str
    distribution: str
    version: str

    @property
    def module(self) -> str:
        """The module that holds the object."""
        return self.value.partition(":")[0].strip()

    def load(self) -> object:
        """Import the module and return the object, or the module where no object is named."""
        names = self.value.partition(":")[2].partition("[")[0].strip()
        module = importlib.import_module(self.module)
        return reduce(getattr, names.split("."), module) if names else module


def entry_points(group: str, path: Sequence[str] | None = None) -> list[EntryPoint]:
    """Return the entry points of one group.

    Args:
        group: section of the distributions' ``entry_points.txt``.
        path: folders in which distributions are installed; None takes ``sys.path``.
    """
    found = []
    for folder in _distributions(sys.path if path is None else path):
        entries = _section(f"{folder}/entry_points.txt", group)
        if entries:
            name, version = _identity(folder)
            found += [EntryPoint(key, value, name, version) for key, value in entries]
    return found


def _distributions(path: Sequence[str]) -> Iterator[str]:
    """Yield the folders that describe distributions, the first of each name."""
    seen: set[str] = set()
    for place in dict.fromkeys(path):
        try:
            names = os.listdir(place or ".")  # noqa: PTH208  there are hundreds
        except OSError:  # sys.path may name what is not there, or a zip file
            continue
        for folder in sorted(name for name in names if name.endswith(tuple(_SUFFIXES))):
            name = folder[: folder.rindex(".")].partition("-")[0].lower()
            if not name.isalnum():
                name = re.sub(r"[-_.]+", "_", name)
            if name not in seen:
                seen.add(name)
                yield f"{place or '.'}/{folder}"


def _section(file: str, group: str) -> list[tuple[str, str]]:
    """Return the (name, value) pairs of one section of a file; none if there is no such file."""
    try:
        with open(file, "rb", buffering=0) as opened:  # noqa: PTH123  as there are hundreds
            data = opened.read()
    except OSError:
        return []
    if group.encode() not in data:
        return []
    section, pairs = "", []
    for line in map(str.strip, data.decode().splitlines()):
        if line.startswith("["):
            section = line.strip("[]")
        elif section == group and line and not line.startswith("#"):
            name, _, value = line.partition("=")
            pairs.append((name.strip(), value.strip()))
    return pairs


def _identity(folder: str) -> tuple[str, str]:
    """Return name and version from the head of a distribution's description."""
    file = Path(folder, _SUFFIXES[folder[folder.rindex(".") :]])
    head = file.read_text(encoding="utf-8").partition("\n\n")[0]
    fields = dict(line.split(": ", 1) for line in head.splitlines() if ": " in line)
    return fields["Name"].strip(), fields["Version"].strip()
