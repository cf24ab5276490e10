"""Definitions that earlier releases stored, completed by what they did not record.

What a release did not know of was at its default, or cannot be compared: neither is a
difference. From then on it is recorded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import PurePath
from typing import Any

from bmerge.errors import redacted
from bmerge.evaluate.protocols import Payload
from bmerge.recipe.schema import Recipe

__all__ = ["HASH", "completed"]

HASH = "sha256 "
"""Stands before the hash in every text that is about a content."""


def completed(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``stored`` with what it lacks.

    Args:
        stored: a definition as plain data, of this release or an earlier one.
        wanted: the present definition of the same study.
    """
    plain = json.loads(redacted(json.dumps(stored)))  # a password is compared with none
    known = {**wanted, **plain}
    for name in ("generator", "optimiser"):
        if name in wanted:
            known[name] = _section(known[name], wanted[name])
    if len(known.get("scorers", ())) == len(wanted.get("scorers", ())):
        pairs = zip(known.get("scorers", ()), wanted.get("scorers", ()), strict=True)
        known["scorers"] = [_section(before, now) for before, now in pairs]
    if "merge" in wanted:
        code = {key: wanted["merge"][key] for key in ("code", "codes") if key in wanted["merge"]}
        known["merge"] = {**_defaults(Recipe), **code, **known["merge"]}
    if "payloads" in wanted:
        known["payloads"] = [{**_defaults(Payload), **each} for each in known["payloads"]]
    known["files"] = _common(known.get("files", {}), wanted.get("files", {}))
    return {key: value for key, value in known.items() if key in stored or key in wanted}


def _section(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Return a plugin's section with what it lacks; options that are gone are left out."""
    kept = {name: _common(before.get(name, {}), now[name]) for name in _MAPPINGS if name in now}
    return {**now, **before, **kept}


_MAPPINGS = ("options", "weights")


def _common(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _known(before.get(key, value), value) for key, value in now.items()}


def _known(before: Any, now: Any) -> Any:
    """Return an earlier value; with the content of a file that it names but did not record."""
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        return [_known(*pair) for pair in zip(before, now, strict=True)]
    if not isinstance(before, str):
        return before
    if isinstance(now, Mapping):
        return {**now, "text": before}
    name = PurePath(before.rpartition(":")[2]).name
    return now if str(now).startswith(f"{name}, {HASH}") else before


def _defaults(kind: type) -> dict[str, Any]:
    """Return the fields of a dataclass that have a default, as plain data."""
    known = {}
    for field in fields(kind):
        if field.default is not MISSING:
            known[field.name] = field.default
        elif field.default_factory is not MISSING:
            known[field.name] = field.default_factory()
    return {key: list(v) if isinstance(v, tuple) else v for key, v in known.items()}
