"""From annotations, defaults and docstrings to JSON schemas."""

from __future__ import annotations

import collections.abc
import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any, TypeAlias

__all__ = ["Schema", "meanings_of", "properties_of", "section", "type_schema"]

Schema: TypeAlias = dict[str, Any]

_PLAIN: dict[object, str] = {
    bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null",
}  # fmt: skip
_ARGUMENT = re.compile(r"^ {4,8}(\*{0,2}\w+): (.+(?:\n {12,}\S.*)*)", re.MULTILINE)


def type_schema(annotation: Any) -> Schema:
    """Return the schema of the values that fit an annotation; {} where that is unclear.

    Args:
        annotation: evaluated.
    """
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in {typing.Union, types.UnionType}:
        return {"anyOf": [type_schema(one) for one in arguments]}
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if annotation in _PLAIN:
        return {"type": _PLAIN[annotation]}
    kind = origin or annotation
    return _collection(kind, arguments) if isinstance(kind, type) else {}


def _collection(kind: type, arguments: tuple[Any, ...]) -> Schema:
    if issubclass(kind, PurePath):
        return {"type": "string"}
    if issubclass(kind, collections.abc.Mapping):
        return {"type": "object", **_items("additionalProperties", arguments[1:])}
    if issubclass(kind, collections.abc.Iterable):
        return {"type": "array", **_items("items", arguments)}
    return {}


def _items(key: str, arguments: tuple[Any, ...]) -> Schema:
    schema = type_schema(arguments[0]) if arguments else {}
    return {key: schema} if schema else {}


def meanings_of(documented: Callable[..., object]) -> dict[str, str]:
    """Return what the docstring of a class or function says of each argument."""
    doc = inspect.getdoc(documented) or ""
    if isinstance(documented, type):
        doc += "\n" + (inspect.getdoc(documented.__init__) or "")  # type: ignore[misc]
    lines = re.sub(r"^", "    ", doc, flags=re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in _ARGUMENT.findall(lines)}


def properties_of(kind: type, names: Mapping[str, str]) -> dict[str, Schema]:
    """Return the schemas of a dataclass's fields.

    Args:
        kind: the class.
        names: key in the file → field.
    """
    hints, meanings = typing.get_type_hints(kind), meanings_of(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    return {
        key: {
            **type_schema(hints[name]),
            **({"description": meanings[name]} if name in meanings else {}),
            **_default(fields[name].default),
        }
        for key, name in names.items()
    }


def section(properties: Mapping[str, Schema], *required: str, **more: Any) -> Schema:
    """Return the schema of a mapping that has these keys and no others.

    Args:
        properties: key → schema.
        *required: keys that must be there.
        **more: of the schema.
    """
    needed = {"required": list(required)} if required else {}
    return {
        "type": "object",
        "properties": dict(properties),
        "additionalProperties": False,
        **needed,
        **more,
    }


def _default(value: object) -> Schema:
    plain = isinstance(value, (str, int, float, bool))
    return {"default": value} if plain else {}
