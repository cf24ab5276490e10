"""Prompts from a text file: one per line, with ``--neg`` and other settings behind it.

For example ``a cat on a roof --neg blurry, dark --steps 30``. Blank lines and lines that start
with ``#`` say nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from bmerge.errors import RecipeError, nearest
from bmerge.reading import NOT_TEXT, SAVE_AS_TEXT, read_text
from bmerge.recipe.document import Node
from bmerge.study_file.payload_settings import Draft, read_seed, read_settings

__all__ = ["parse_line", "read_prompt_texts"]

_OPTION = re.compile(r"(?:^|\s)--([a-z_]+)(?:\s+|$)")
_WORDS: Mapping[str, str] = {
    "neg": "negative_prompt", "seed": "seed", "steps": "steps", "cfg": "cfg", "width": "width",
    "height": "height", "sampler": "sampler", "weight": "weight",
}  # fmt: skip


def read_prompt_texts(file: Path) -> list[Draft]:
    """Read a file of prompts.

    Raises:
        RecipeError: with file and line, if one is not valid.
    """
    try:
        rows = read_text(file).splitlines()
    except UnicodeDecodeError as error:
        raise RecipeError(NOT_TEXT, path=file, hint=SAVE_AS_TEXT) from error
    except OSError as error:
        raise RecipeError(f"cannot be read: {error.strerror}", path=file) from error
    drafts = [
        parse_line(Node(row.strip(), number, file, "the prompt"))
        for number, row in enumerate(rows, start=1)
        if row.strip() and not row.lstrip().startswith("#")
    ]
    if not drafts:
        raise RecipeError("there is no prompt in it", path=file)
    return drafts


def parse_line(node: Node) -> Draft:
    """Read one line.

    Args:
        node: its text and place.

    Raises:
        RecipeError: if it has no prompt, or an option with a wrong name or value.
    """
    prompt, *rest = _OPTION.split(node.text())
    if not prompt.strip():
        raise node.error("the line has no prompt")
    keys: dict[str, Node] = {}
    for word, text in zip(rest[::2], rest[1::2], strict=True):
        if word not in _WORDS:
            hint = nearest(word, _WORDS) or f"known are {', '.join(_WORDS)}"
            raise node.error(f"unknown option --{word}", hint)
        name = _WORDS[word]
        keys[name] = Node(_value(name, text.strip()), node.line, node.path, f"--{word}")
    seeds = (read_seed(keys["seed"]),) if "seed" in keys else None
    return Draft(node, prompt.strip(), read_settings(keys), seeds)


def _value(name: str, text: str) -> str | int | float:
    """Return a number where one is meant and given."""
    if name in {"negative_prompt", "sampler"}:
        return text
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text
