"""Options as data: a group is declared once, and everything that shows or reads it follows.

A group is a frozen dataclass whose fields say what they mean and which values they take. From it
come signatures (:func:`unfolded`), checks, keys of files, options of the command line, JSON
schemas and documentation.
"""

from __future__ import annotations

from bmerge.options.about import About
from bmerge.options.fitting import annotations_of, problem
from bmerge.options.group import OptionGroup, option
from bmerge.options.meanings import meanings_of
from bmerge.options.unfold import unfolded

__all__ = [
    "About",
    "OptionGroup",
    "annotations_of",
    "meanings_of",
    "option",
    "problem",
    "unfolded",
]
