"""YAML or JSON that a person wrote, read strictly and with line numbers.

Plain scalars mean what they mean in JSON: ``1e-3`` is a number and ``no`` is a word, unlike in
YAML 1.1. Keys that appear twice, aliases and tags are refused.
"""

from __future__ import annotations

from pathlib import Path

from bmerge.errors import RecipeError
from bmerge.reading import NOT_TEXT, SAVE_AS_TEXT, read_text
from bmerge.recipe.node import Node

__all__ = ["Node", "parse_document", "read_document"]


def read_document(path: Path, *, name: str = "the document") -> Node:
    """Read a YAML or JSON file.

    Args:
        path: the file.
        name: what to call its whole content in messages.

    Raises:
        RecipeError: if it cannot be read or is not well-formed.
    """
    try:
        text = read_text(path)
    except UnicodeDecodeError as error:
        raise RecipeError(NOT_TEXT, path=path, hint=SAVE_AS_TEXT) from error
    except OSError as error:
        raise RecipeError(f"cannot be read: {error.strerror}", path=path) from error
    return parse_document(text, path=path, name=name)


def parse_document(text: str, *, path: Path | None = None, name: str = "the document") -> Node:
    """Read YAML or JSON text; see :func:`read_document`."""
    from bmerge.recipe.yaml_reader import read  # yaml takes as long to import as a small merge

    return read(text, path=path, name=name)
