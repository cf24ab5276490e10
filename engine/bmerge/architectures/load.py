"""Reading architectures from JSON and YAML, bmerge's own and those of plugins.

The notation of the files is that of :class:`Architecture`'s fields; in lists of blocks,
``IN00-IN11`` stands for the twelve, ``-`` for a weight without a block, and ``A+B`` for one that
is of several. ``about`` is for people who read the file. A file with ``layers`` has neither blocks
nor rules: those of a transformer follow from the names of its layers, see
:mod:`bmerge.architectures.stacks`. What a file does not say is as in the one that comes with
bmerge and is named by ``like``. bmerge's own are JSON: importing yaml takes as long as a small
merge.
"""

from __future__ import annotations

import json
import os
import re
from functools import cache, partial
from pathlib import Path
from typing import Any

from bmerge.architectures.architecture import Architecture, Variant
from bmerge.architectures.outline import Outline, whole
from bmerge.architectures.rules import Rule
from bmerge.architectures.signs import Signs
from bmerge.architectures.stacks import STACK, written_out
from bmerge.errors import ArchitectureError, nearest
from bmerge.reading import read_text

__all__ = ["builtin", "load_architecture", "outlines"]

_FIELDS = frozenset(
    {"id", "name", "blocks", "rules", "detect", "absent", "aliases", "follows", "lists"}
    | {
        "modelspec",
        "leftovers",
        "text_encoders",
        "vae",
        "image_encoder",
        "about",
        "layouts",
        "variants",
        "like",
        "divided",
    }
    | STACK
)
_FOLDER = os.path.dirname(__file__)  # noqa: PTH120
_RANGE = re.compile(r"([A-Z_]+)(\d+)-\1(\d+)")


def load_architecture(source: str | Path) -> Architecture:
    """Read an architecture.

    Args:
        source: the path of a JSON or YAML file, or (str) the text of one.

    Raises:
        ArchitectureError: if it is not sound.
    """
    where = str(source) if isinstance(source, Path) else "architecture"
    try:
        text = read_text(source) if isinstance(source, Path) else source
        is_json = isinstance(source, Path) and source.suffix == ".json"
        data = json.loads(text) if is_json else _from_yaml(text)
    except (OSError, ValueError, RecursionError) as error:
        first_line = " ".join(str(error).split())
        raise ArchitectureError(f"{where}: cannot be read: {first_line}") from error
    if not isinstance(data, dict):
        raise ArchitectureError(f"{where}: not a mapping")
    for field in data:
        if field not in _FIELDS:
            raise ArchitectureError(
                f"{where}: unknown {field!r}", hint=nearest(str(field), _FIELDS)
            )
    try:
        data = _with_like(data)
        return _build(data, _signs(data))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArchitectureError(f"{where}: missing or of the wrong type: {error}") from error


@cache
def builtin() -> tuple[Architecture, ...]:
    """Return the architectures that come with bmerge, by id."""
    return tuple(map(whole, outlines()))


@cache
def outlines() -> tuple[Outline, ...]:
    """Return the outlines of the architectures that come with bmerge, by id."""
    files = os.listdir(_FOLDER)  # noqa: PTH208  a hundred, and every merge asks for them
    own = (_outline(file[:-5]) for file in files if file.endswith(".json"))
    return tuple(sorted(own, key=lambda outline: outline.id))


def _outline(name: str) -> Outline:
    data = _with_like(_own(name))
    signs = _signs(data)
    return Outline(str(data["id"]), signs, cache(partial(_build, data, signs)))


@cache
def _own(name: str) -> dict[str, Any]:
    """Return the contents of a file that comes with bmerge."""
    with open(f"{_FOLDER}/{name}.json", "rb", buffering=0) as file:  # noqa: PTH123
        data: dict[str, Any] = json.loads(file.read())
    return data


def _from_yaml(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(error) from error


def _with_like(data: dict[str, Any]) -> dict[str, Any]:
    """Return the contents of a file with those of the one that it is like."""
    if "like" not in data:
        return data
    try:
        return {**_own(str(data["like"])), **data}
    except OSError as error:
        message = f"like {data['like']!r}, which does not come with bmerge"
        raise ValueError(message) from error


def _signs(data: dict[str, Any]) -> Signs:
    return Signs(
        tuple(map(str, data.get("detect", ()))),
        tuple(map(str, data.get("absent", ()))),
        tuple(tuple(map(str, layout)) for layout in data.get("layouts", ())),
    )


def _build(data: dict[str, Any], signs: Signs) -> Architecture:
    if "layers" in data:
        data = written_out(data)
    return Architecture(
        id=str(data["id"]),
        name=str(data["name"]),
        blocks=tuple(_expand(data["blocks"])),
        rules=tuple(Rule(str(key), str(block)) for key, block in data["rules"].items()),
        detect=signs.detect,
        absent=signs.absent,
        layouts=signs.layouts,
        aliases=_texts(data.get("aliases", {})),
        follows=_texts(data.get("follows", {})),
        lists={
            int(length): _list(int(length), blocks)
            for length, blocks in data.get("lists", {}).items()
        },
        modelspec=_texts(data.get("modelspec", {})),
        leftovers=tuple(map(str, data.get("leftovers", ()))),
        text_encoders=None if (count := data.get("text_encoders")) is None else int(count),
        vae=bool(data.get("vae", True)),
        divided=bool(data.get("divided", False)),
        image_encoder=tuple(map(str, data.get("image_encoder", ()))),
        variants=tuple(
            Variant(
                str(name),
                tuple(map(str, variant["detect"])),
                _spec(variant.get("modelspec")),
                tuple(map(str, variant.get("also", ()))),
                bool(variant.get("vae", True)),
            )
            for name, variant in data.get("variants", {}).items()
        ),
    )


def _spec(value: object) -> dict[str, str]:
    """Return metadata keys of a variant; a text alone is the id of its architecture."""
    if isinstance(value, dict):
        return _texts(value)
    return {} if value is None else {"modelspec.architecture": str(value)}


def _texts(data: dict[Any, Any]) -> dict[str, str]:
    return {str(key): str(value) for key, value in data.items()}


def _list(length: int, blocks: list[str]) -> tuple[str | None, ...]:
    """Return the blocks of a list of weights, after a check that they are as many as it says."""
    expanded = tuple(None if block == "-" else block for block in _expand(blocks))
    if len(expanded) != length:
        raise ValueError(f"the list of {length} names {len(expanded)} blocks")
    return expanded


def _expand(blocks: list[str]) -> list[str]:
    """Return block ids with ranges written out; ``-*3`` is three weights without a block."""
    expanded: list[str] = []
    for block in blocks:
        if "-" not in block:
            expanded.append(block)
        elif found := _RANGE.fullmatch(block):
            name, first, last = found.groups()
            numbers = range(int(first), int(last) + 1)
            expanded.extend(f"{name}{number:0{len(first)}}" for number in numbers)
        elif block.startswith("-*"):
            expanded.extend("-" * int(block[2:]))
        else:
            expanded.append(block)
    return expanded
