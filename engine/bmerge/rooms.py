"""Packages that import what they offer when it is first used (PEP 562).

The ``__init__.py`` of a room names what others may use. Were it to import all of that, whoever
uses one name would wait for every module of the room: a small merge for two hundred, of which it
runs half.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # typing takes longer to import than all that is done here
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

__all__ = ["offering"]


def offering(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package, which imports a name's module at its first use.

    No name may be called like a module of the package, which would take its place.

    Args:
        package: its own name.
        homes: module → the names that are taken from it, with spaces between.
    """
    home_of = {name: module for module, names in homes.items() for name in names.split()}

    def attribute(name: str) -> Any:
        if name not in home_of:
            message = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(message)
        import importlib  # which the version is told without

        value = getattr(importlib.import_module(home_of[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return attribute
