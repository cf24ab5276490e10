"""From annotations, defaults and docstrings to JSON schemas."""

from __future__ import annotations

import collections.abc
import dataclasses
import types
import typing
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, TypeAlias

from bmerge.options import About, OptionGroup, meanings_of
from bmerge.options.about import about, bare

__all__ = ["Schema", "properties_of", "section", "type_schema"]

Schema: TypeAlias = dict[str, Any]

_PLAIN: dict[object, str] = {
    bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null",
}  # fmt: skip


def type_schema(annotation: Any) -> Schema:
    """Return the schema of the values that fit an annotation; {} where that is unclear.

    Args:
        annotation: evaluated; what :class:`bmerge.options.About` says beside it is used.
    """
    if (inner := bare(annotation)) is not annotation:
        return _said(about(annotation), type_schema(inner))
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in {typing.Union, types.UnionType}:
        return {"anyOf": [type_schema(one) for one in arguments]}
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if annotation in _PLAIN:
        return {"type": _PLAIN[annotation]}
    kind = origin or annotation
    return _collection(kind, arguments) if isinstance(kind, type) else {}


_SIZE: Schema = {"type": ["string", "integer"], "examples": ["512M", "4G"]}
_BOUNDS = {"least": "minimum", "above": "exclusiveMinimum", "most": "maximum"}


def _said(said: About, schema: Schema) -> Schema:
    """Add meaning and bounds to the schema of a type."""
    given = {name: getattr(said, name) for name in _BOUNDS}
    bounds = {_BOUNDS[name]: value for name, value in given.items() if value is not None}
    meaning = {"description": said.help} if said.help else {}
    return {**(_SIZE if said.size else schema), **bounds, **meaning}


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


def properties_of(kind: type, names: Mapping[str, str]) -> dict[str, Schema]:
    """Return the schemas of a dataclass's fields.

    Args:
        kind: the class.
        names: key in the file → field.
    """
    hints = typing.get_type_hints(kind)
    hints |= kind.annotations() if issubclass(kind, OptionGroup) else {}
    meanings = meanings_of(kind)
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
