"""Reads what the A1111 family answers: its list of models, and what it says of a picture.

The forks differ in what they tell. A1111, Forge and reForge name the model in ``info``; SD.Next
and old versions only in the infotext, a line of text. Hashes are missing until a model has been
loaded once, or for good (``--no-hashing``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from bmerge import GeneratorError

__all__ = ["ModelUsed", "find_model", "first_image", "model_used", "read_info", "stem"]

_MODEL = re.compile(r"(?:^|, )Model: ([^,]+)")
_HASH = re.compile(r"(?:^|, )Model hash: ([0-9a-fA-F]+)")


@dataclass(frozen=True, slots=True)
class ModelUsed:
    """The model that a picture was made with, as far as the server tells.

    Args:
        name: file name without folders and ending, or None.
        hash: the first digits of the file's sha256, or None.
    """

    name: str | None
    hash: str | None

    def __str__(self) -> str:
        return f"{self.name!r} [{self.hash}]" if self.hash else f"{self.name!r}"


def stem(text: str) -> str:
    """Return a model's bare name: no folders of either kind, no ``[hash]``, no ending."""
    bare = text.split(" [", maxsplit=1)[0].replace("\\", "/")
    name = PurePosixPath(bare).name
    return re.sub(r"\.(safetensors|ckpt|gguf|sft)$", "", name)


def find_model(listed: Any, name: str, path: str | None) -> Mapping[str, Any] | None:
    """Find a checkpoint in the answer to ``sd-models``.

    Args:
        listed: the answer.
        name: the checkpoint's file name.
        path: where it lies for the server, if that is known; then nothing else will do.
    """
    for entry in listed if isinstance(listed, list) else []:
        filename = str(entry.get("filename") or "").replace("\\", "/")
        if path is not None:
            if filename == path.replace("\\", "/"):
                return dict(entry)
        elif PurePosixPath(filename).name == name:
            return dict(entry)
    return None


def read_info(answer: Any, what: str) -> Mapping[str, Any]:
    """Return ``info`` of a picture's answer, which is JSON within JSON.

    Raises:
        GeneratorError: transient, if the answer is not of the kind that was promised.
    """
    info = answer.get("info") if isinstance(answer, dict) else None
    try:
        parsed = json.loads(info) if isinstance(info, str) else info
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise GeneratorError(f"{what}: the answer has no readable 'info'", transient=True)
    return parsed


def model_used(info: Mapping[str, Any]) -> ModelUsed:
    """Return what ``info`` says of the model."""
    texts: Sequence[str] = info.get("infotexts") or [""]
    # Prompts come first and may contain anything; the settings are the last line.
    settings = str(texts[0]).rsplit("\n", 1)[-1]
    name = info.get("sd_model_name") or _first(_MODEL, settings)
    digest = info.get("sd_model_hash") or _first(_HASH, settings)
    return ModelUsed(stem(str(name)) if name else None, str(digest).lower() if digest else None)


def first_image(answer: Mapping[str, Any], info: Mapping[str, Any], what: str) -> str:
    """Return the picture itself, in base64: not a grid before it, nor ControlNet's maps after.

    Raises:
        GeneratorError: transient, if there is none.
    """
    images = answer.get("images") or []
    index = int(info.get("index_of_first_image") or 0)
    if index >= len(images):
        raise GeneratorError(f"{what}: the answer has no picture", transient=True)
    return str(images[index])


def _first(pattern: re.Pattern[str], text: str) -> str | None:
    found = pattern.search(text)
    return found[1].strip() if found else None
