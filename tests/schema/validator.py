"""As much of JSON Schema as bmerge's schemas use; complains of any other word."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

TYPES = {
    "string": str, "array": list, "object": dict, "boolean": bool, "null": type(None),
    "number": (int, float), "integer": int,
}  # fmt: skip
NOTES = {"$schema", "title", "description", "default", "examples", "then"}


def problems(value: Any, schema: dict[str, Any], place: str = "") -> Iterator[str]:
    """Yield what is wrong with ``value``."""
    for word, wanted in schema.items():
        if word not in NOTES:
            yield from CHECKS[word](value, wanted, schema, place)


def _type(value, wanted, schema, place):
    words = wanted if isinstance(wanted, list) else [wanted]
    is_bool = isinstance(value, bool)
    if not any(isinstance(value, TYPES[w]) and (not is_bool or w == "boolean") for w in words):
        yield f"{place}: {value!r} is not of the type {words}"


def _properties(value, wanted, schema, place):
    if isinstance(value, dict):
        for key in value.keys() & wanted.keys():
            yield from problems(value[key], wanted[key], f"{place}.{key}")


def _others(value, wanted, schema, place):
    if isinstance(value, dict):
        for key in value.keys() - schema.get("properties", {}).keys():
            if wanted is False:
                yield f"{place}: unknown key {key!r}"
            else:
                yield from problems(value[key], wanted, f"{place}.{key}")


def _required(value, wanted, schema, place):
    if isinstance(value, dict):
        yield from (f"{place}: no {key!r}" for key in wanted if key not in value)


def _items(value, wanted, schema, place):
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from problems(item, wanted, f"{place}[{number}]")


def _any_of(value, wanted, schema, place):
    found = [list(problems(value, one, place)) for one in wanted]
    if all(found):
        yield f"{place}: {min(found, key=len)[0]}"


def _all_of(value, wanted, schema, place):
    for one in wanted:
        yield from problems(value, one, place)


def _if(value, wanted, schema, place):
    if not list(problems(value, wanted, place)):
        yield from problems(value, schema["then"], place)


def _enum(value, wanted, schema, place):
    if not any(value == one and type(value) is type(one) for one in wanted):
        yield f"{place}: {value!r} is none of {wanted}"


def _const(value, wanted, schema, place):
    yield from _enum(value, [wanted], schema, place)


def _bounds(value, wanted, schema, place):
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if number and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield f"{place}: {value} is out of bounds"


def _length(value, wanted, schema, place):
    if isinstance(value, list) and not (
        schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
    ):
        yield f"{place}: {len(value)} items"


def _pattern(value, wanted, schema, place):
    if isinstance(value, str) and not re.search(wanted, value):
        yield f"{place}: {value!r} does not match"


CHECKS = {
    "type": _type, "properties": _properties, "additionalProperties": _others,
    "required": _required, "items": _items, "anyOf": _any_of, "allOf": _all_of, "if": _if,
    "enum": _enum, "const": _const, "minimum": _bounds, "maximum": _bounds,
    "minItems": _length, "maxItems": _length, "pattern": _pattern,
}  # fmt: skip
