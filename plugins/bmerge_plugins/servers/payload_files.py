"""Payloads as a JSON file for a program, and the pictures that it leaves in a folder."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmerge import GeneratorError, Payload
from bmerge_plugins.servers import pictures

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["file_stems", "find_picture", "payload_records", "write_payloads"]

_ENDINGS = (".png", ".jpg", ".jpeg", ".webp")


def file_stems(payloads: Sequence[Payload]) -> list[str]:
    """Return a file name without ending for each payload: its id where that can be one.

    Signs that a file name should not have become ``_``; what is then the same twice is numbered.
    """
    stems: list[str] = []
    for payload in payloads:
        bare = re.sub(r"[^\w.+-]", "_", payload.id).lstrip(".") or "_"
        stem, number = bare, 2
        while stem in stems:
            stem, number = f"{bare}-{number}", number + 1
        stems.append(stem)
    return stems


def payload_records(payloads: Sequence[Payload], stems: Sequence[str]) -> list[dict[str, Any]]:
    """Return what a program is told of each picture; what is None is left out."""
    return [
        {"file": f"{stem}.png", **_fields(payload)}
        for payload, stem in zip(payloads, stems, strict=True)
    ]


def write_payloads(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Write a JSON file with a list of records.

    Raises:
        GeneratorError: if a payload's extras have no JSON form.
    """
    try:
        path.write_text(json.dumps(records, indent=1, ensure_ascii=False), encoding="utf-8")
    except TypeError as error:
        raise GeneratorError(
            f"a payload cannot be written as JSON: {error}", blame="study"
        ) from error


def find_picture(folder: Path, stem: str) -> Image | None:
    """Return a picture if it is there and whole; a program may still be writing it."""
    for ending in _ENDINGS:
        file = folder / f"{stem}{ending}"
        if not file.is_file():  # not there yet, or a pipe that nobody will fill
            continue
        try:
            return pictures.from_bytes(file.read_bytes(), str(file))
        except (OSError, GeneratorError):
            continue
    return None


def _fields(payload: Payload) -> dict[str, Any]:
    fields = {field.name: getattr(payload, field.name) for field in dataclasses.fields(payload)}
    del fields["weight"], fields["tags"]  # a matter of scores, not of pictures
    fields["extra"] = dict(payload.extra)
    return {name: value for name, value in fields.items() if value is not None}
