"""Block weights as people write them, turned into a value for every block.

Five forms: a number for all blocks; a list in the architecture's order; text such as
``IN00-IN05=0.2,M00=1,*=0.5``; a preset's name, which assignments may follow
(``GRAD_V,BASE=0.3``), or what lies between two presets (``GRAD_V:GRAD_A@0.25``); a mapping with the
same names as the text. An assignment may also name keys, by a glob pattern: ``*attn2*=0.3``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TypeAlias

from bmerge.architectures import Architecture
from bmerge.errors import RecipeError, nearest
from bmerge.logs import logger
from bmerge.recipe.schema import BlockWeights

__all__ = ["block_range", "is_pattern", "parse_weights"]

Presets: TypeAlias = Mapping[str, Sequence[float]]
_WILD = frozenset("*?[")
_BETWEEN = r"(?P<first>[^:]+):(?P<second>[^@]+)@(?P<share>.+)"
_QUANTITY = r"[-+\u2010-\u2015\u2212]?[\d.,_]+ *%?"
"""What looks like a number, with a minus sign of print or a per cent sign perhaps."""
_DECIMAL_COMMA = r"[-+]?\d+,\d+"
_NO_PRESETS: Presets = MappingProxyType({})


def parse_weights(
    value: object, architecture: Architecture, *, presets: Presets = _NO_PRESETS
) -> BlockWeights:
    """Return the value of a hyperparameter in every block.

    In text and mappings a pattern of keys goes before a single block, that before a range, and a
    range before ``*``; of patterns, the last that matches a key counts. A block
    that follows another (the VAE of ``sdxl-vae``) takes that one's value unless it is named.

    Args:
        value: a number, a list of numbers, text, or a mapping of block, range, pattern or ``*`` →
            number.
        architecture: whose blocks are meant.
        presets: name → list of weights.

    Raises:
        RecipeError: if it is none of these, or names no value for some block.
    """
    if isinstance(value, str):
        return _from_text(value.strip(), architecture, presets)
    if isinstance(value, Mapping):
        return _from_assignments(value.items(), architecture, {})
    if isinstance(value, Sequence):
        return _complete(_from_list([_number(item) for item in value], architecture), architecture)
    return BlockWeights(_number(value))


def _from_text(text: str, architecture: Architecture, presets: Presets) -> BlockWeights:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) == 1 and _is_number(text):
        return BlockWeights(_number(text))
    if all(_is_number(part) for part in parts):
        if re.fullmatch(_DECIMAL_COMMA, text) and 2 not in (
            len(architecture.blocks),
            *architecture.lists,
        ):
            raise RecipeError(f"bad number {text!r}", hint=f"write {text.replace(',', '.')}")
        return parse_weights([_number(part) for part in parts], architecture)
    values: dict[str, float] = {}
    if "=" not in parts[0]:
        values = _from_presets(parts.pop(0), architecture, presets)
    return _from_assignments(map(_assignment, parts), architecture, values)


def _from_presets(text: str, architecture: Architecture, presets: Presets) -> dict[str, float]:
    """Return the weights of a preset, or of what lies between two of them.

    ``A:B@0.25`` is 0.75 A + 0.25 B in every block, the base included, as sd-meh interpolates
    presets; each may be a number too. Shares below 0 or above 1 go beyond them.
    """
    between = None if text in presets else re.fullmatch(_BETWEEN, text)
    if between is None:
        return _from_preset(text, architecture, presets)
    share = _number(between["share"], where=f" for the share of {between['second']}")
    first, second = (
        _from_preset(name.strip(), architecture, presets)
        if not _is_number(name)
        else dict.fromkeys(architecture.blocks, _number(name))
        for name in (between["first"], between["second"])
    )
    blocks = [block for block in architecture.blocks if block in first and block in second]
    return {block: (1 - share) * first[block] + share * second[block] for block in blocks}


def _from_preset(name: str, architecture: Architecture, presets: Presets) -> dict[str, float]:
    if name not in presets:
        message = f"{name!r} is neither a number nor a preset"
        hint = nearest(name, presets) or "`bmerge weights list` lists the presets"
        if re.fullmatch(_QUANTITY, name):
            hint = "a number is written 0.5 or -0.5: no %, no comma, - as the keyboard has it"
        first, colon, last = name.partition(":")
        if colon:
            hint = f"what lies between two presets is written {first}:{last.rstrip('@')}@0.5"
        if colon and (first in architecture.blocks or first == "*"):
            hint = f"write {first}={last}"
        raise RecipeError(message, hint=hint)
    return _from_list(presets[name], architecture, what=f"preset {name} has")


def _from_list(
    weights: Sequence[float], architecture: Architecture, what: str = "the list has"
) -> dict[str, float]:
    """Return block → weight for a list in the architecture's order or one of another tool's."""
    if len(weights) == len(architecture.blocks):
        return dict(zip(architecture.blocks, weights, strict=True))
    layout = architecture.lists.get(len(weights))
    if layout is None:
        allowed = sorted({len(architecture.blocks), *architecture.lists})
        lengths = " or ".join(map(str, allowed))
        message = f"{what} {len(weights)} weights, but {architecture.id} takes {lengths}"
        raise RecipeError(message, hint=f"in the order {_summary(architecture.blocks)}")
    values = {
        block: weight
        for blocks, weight in zip(layout, weights, strict=True)
        if blocks is not None
        for block in blocks.split("+")
    }
    unused = layout.count(None)
    if unused:
        used = _summary(tuple(values))
        logger(__name__).warning(
            "%s %d weights; %s uses those of %s and drops %d", what, len(weights),
            architecture.id, used, unused,
        )  # fmt: skip
    return values


def _from_assignments(
    assignments: Iterable[tuple[object, object]],
    architecture: Architecture,
    values: dict[str, float],
) -> BlockWeights:
    """Apply assignments, the general ones first, over what a preset gave."""
    default: float | None = None
    ranges: dict[str, float] = {}
    singles: dict[str, float] = {}
    keys: dict[str, float] = {}
    named: set[object] = set()
    for name, value in assignments:
        if name in named:
            raise RecipeError(f"{name} is given twice")
        named.add(name)
        number = _number(value, where=f" for {name}")
        if name == "*":
            default = number
        elif name in architecture.blocks:
            singles[str(name)] = number
        elif is_pattern(str(name)):
            keys[str(name)] = number
        else:
            ranges.update(dict.fromkeys(block_range(str(name), architecture), number))
    fallback = values
    if default is not None:  # for followers, the block that they follow says more than "*"
        others = (block for block in architecture.blocks if block not in architecture.follows)
        fallback = dict.fromkeys(others, default)
    complete = _complete({**fallback, **ranges, **singles}, architecture, default)
    return replace(complete, keys=keys)


def is_pattern(name: str) -> bool:
    """Tell whether a name is a glob pattern of keys; ``*`` alone is all other blocks."""
    return name != "*" and bool(_WILD & set(name))


def _complete(
    values: Mapping[str, float], architecture: Architecture, default: float | None = None
) -> BlockWeights:
    """Fill in followers and check that no block is left without a value."""
    values = dict(values)
    for block, leader in architecture.follows.items():
        if block not in values and leader in values:
            values[block] = values[leader]
    missing = [block for block in architecture.blocks if block not in values]
    if missing:
        base = len(missing) == 1 and missing[0] == architecture.blocks[0]
        if not base:
            message = f"no value for {_summary(missing)}"
            raise RecipeError(message, hint="add '*=…' for all other blocks")
        values[missing[0]] = 0.0  # a list of the 25 UNet blocks leaves the base unmerged
    if default is None:
        default = values[architecture.blocks[0]]
    blocks = {
        block: values[block]
        for block in architecture.blocks
        if values[block] != default or block in architecture.follows
    }
    return BlockWeights(default, blocks)


def _assignment(part: str) -> tuple[str, str]:
    name, equals, value = (piece.strip() for piece in part.partition("="))
    if not equals or not name:
        message = f"cannot read {part!r}"
        hint = "write block=value, first-last=value or *=value, and 0.5 with a point"
        raise RecipeError(message, hint=hint)
    return name, value


def block_range(name: str, architecture: Architecture) -> Sequence[str]:
    """Return the block of that name, or those from ``first-last``, in the architecture's order.

    Raises:
        RecipeError: if there is no such block, or the range runs backwards.
    """
    blocks = architecture.blocks
    first, dash, last = (piece.strip() for piece in name.partition("-"))
    for block in (first, last) if dash else (name,):
        if block not in blocks:
            message = f"unknown block {block!r} of {architecture.id}"
            raise RecipeError(message, hint=nearest(block, [*blocks, "*"]))
    begin, end = blocks.index(first), blocks.index(last if dash else first)
    if begin > end:
        raise RecipeError(f"range {name!r} runs backwards", hint=f"write {last}-{first}")
    return blocks[begin : end + 1]


def _is_number(text: str) -> bool:
    try:
        _float(text)
    except ValueError:
        return False
    return True


def _float(value: float | str) -> float:
    """Return a number; Python itself would read 0_5 as 5."""
    if isinstance(value, str) and "_" in value:
        raise ValueError(value)
    return float(value)


def _number(value: object, where: str = "") -> float:
    """Return a finite number, or say that it is none."""
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            number = _float(value)
        except ValueError:
            number = math.nan
        if math.isfinite(number):
            return number
    raise RecipeError(f"bad number {value!r}{where}")


def _summary(blocks: Sequence[str]) -> str:
    """Return a list of blocks short enough for a line."""
    if len(blocks) <= 8:
        return ", ".join(blocks)
    return f"{', '.join(blocks[:3])}, …, {blocks[-1]} ({len(blocks)} blocks)"
