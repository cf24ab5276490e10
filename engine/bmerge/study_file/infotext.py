"""Prompts from pictures: what web UIs write into a PNG, and what bmerge itself does.

The web UIs' text (its name is ``parameters``) is the prompt, a negative prompt that may be
missing, and a line of settings: ``Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, …``. After
that may come lines of extensions, such as the ``Template:`` of Dynamic Prompts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bmerge.errors import RecipeError
from bmerge.reading import check_regular
from bmerge.recipe.document import Node
from bmerge.study_file.payload_settings import Draft, read_seed, read_settings

__all__ = ["parse_infotext", "read_picture"]

_NEGATIVE = "Negative prompt:"
_PAIR = re.compile(r'\s*([\w][\w \-/]{0,80}?):\s*("(?:\\.|[^\\"])*"|[^,]*)(?:,|$)')
_LONGEST_SETTINGS = 20_000  # characters; they are matched at a cost that grows faster than that
_SETTINGS_LINE = re.compile(r"^Steps: \d+, .*\bSeed: ")
_LABEL = re.compile(r"^[A-Z][\w ]*:")
"""Begins what an extension has added."""


def read_picture(file: Path) -> Draft:
    """Read what a picture was made with; its seed is its own.

    Raises:
        RecipeError: if it is not a picture, or does not say.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        check_regular(file)
        with Image.open(file) as image:
            texts: Mapping[Any, Any] = dict(image.info)
    except UnidentifiedImageError as error:
        raise RecipeError("is not a picture", path=file) from error
    except OSError as error:
        raise RecipeError(f"cannot be read: {error.strerror or error}", path=file) from error
    except Exception as error:  # Pillow's readers raise whatever a damaged file leads them to
        raise RecipeError(f"is not a sound picture: {error}", path=file) from error
    if isinstance(texts.get("parameters"), str):
        found = parse_infotext(texts["parameters"])
    elif "prompt" in texts and "seed" in texts:  # one of bmerge's own
        found = {
            "prompt": texts["prompt"],
            "negative_prompt": texts.get("negative_prompt", ""),
            "seed": _whole(str(texts["seed"]), else_=texts["seed"]),
        }
    else:
        hint = "pictures of A1111, Forge, SD.Next and bmerge do, unless that was switched off"
        raise RecipeError("does not say what it was made with", path=file, hint=hint)
    keys = {name: Node(value, 0, file, f"its {name}") for name, value in found.items()}
    seeds = (read_seed(keys["seed"]),) if "seed" in keys else None
    return Draft(keys["prompt"], found["prompt"], read_settings(keys), seeds, literal=True)


def parse_infotext(text: str) -> dict[str, Any]:
    """Return prompt, negative prompt, and whichever of seed, steps, … the text tells."""
    lines = text.strip().split("\n")
    pairs: dict[str, str] = {}
    last = _settings_line(lines)
    if last is not None:
        pairs = {found[1]: found[2].strip() for found in _PAIR.finditer(lines[last])}
        del lines[last:]
    begin = next((n for n, line in enumerate(lines) if line.startswith(_NEGATIVE)), len(lines))
    negative = "\n".join(lines[begin:]).removeprefix(_NEGATIVE).strip()
    return {
        "prompt": "\n".join(lines[:begin]).strip(),
        **({"negative_prompt": negative} if negative else {}),
        **_settings(pairs),
    }


def _settings_line(lines: Sequence[str]) -> int | None:
    """Return the number of the line of settings: the last one, but for those of extensions."""
    short = {n: line.strip() for n, line in enumerate(lines) if len(line) <= _LONGEST_SETTINGS}
    found = [n for n, line in short.items() if _SETTINGS_LINE.search(line)]
    if found and (found[-1] == len(lines) - 1 or _LABEL.search(lines[found[-1] + 1])):
        return found[-1]
    return None


def _whole(text: str, *, else_: object) -> object:
    """Return a whole number of a length that numbers have, or else something."""
    return int(text) if text.isdecimal() and len(text) < 20 else else_


def _settings(pairs: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, key in (("seed", "Seed"), ("steps", "Steps")):
        if pairs.get(key, "").isdecimal():
            found[name] = _whole(pairs[key], else_=pairs[key])
    if re.fullmatch(r"\d+(\.\d+)?", pairs.get("CFG scale", "")):
        found["cfg"] = float(pairs["CFG scale"])
    size = re.fullmatch(r"(\d+)x(\d+)", pairs.get("Size", ""))
    if size:
        found |= {"width": _whole(size[1], else_=size[1])}
        found |= {"height": _whole(size[2], else_=size[2])}
    if pairs.get("Sampler"):
        schedule = pairs.get("Schedule type", "Automatic")
        named = schedule not in {"Automatic", ""} and not pairs["Sampler"].endswith(schedule)
        found["sampler"] = f"{pairs['Sampler']} {schedule}" if named else pairs["Sampler"]
    return found
