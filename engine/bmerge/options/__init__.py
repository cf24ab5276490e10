"""Options as data: a group is declared once, and everything that shows or reads it follows.

A group is a frozen dataclass whose fields say what they mean and which values they take. From it
come signatures (:func:`unfolded`), checks, keys of files, options of the command line, JSON
schemas and documentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bmerge.rooms import offering

if TYPE_CHECKING:
    from bmerge.options.about import About
    from bmerge.options.fitting import annotations_of, problem
    from bmerge.options.group import OptionGroup, option
    from bmerge.options.meanings import meanings_of
    from bmerge.options.unfold import unfolded
else:
    _HOMES = {
        "bmerge.options.about": "About",
        "bmerge.options.fitting": "annotations_of problem",
        "bmerge.options.group": "OptionGroup option",
        "bmerge.options.meanings": "meanings_of",
        "bmerge.options.unfold": "unfolded",
    }
    __getattr__ = offering(__name__, _HOMES)

__all__ = [
    "About",
    "OptionGroup",
    "annotations_of",
    "meanings_of",
    "option",
    "problem",
    "unfolded",
]
