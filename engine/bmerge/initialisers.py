"""What sets the attributes of a record: by hand for the first of a class, then by code of its own.

To write and compile ``__init__`` takes as long as to set the attributes of some thirty objects one
by one, and most classes that a small merge needs have fewer. Where arguments do not fit, the code
is written at once, and Python itself says what is wrong.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

__all__ = ["FEW", "Fields", "initialiser", "set_by_hand"]

FEW = 16
"""Objects of a class whose attributes are set by hand."""

Fields = Sequence["dataclasses.Field[Any]"]

_MISSING = dataclasses.MISSING


class _Factory:
    """Stands in signatures for a default that is made for each object."""

    def __repr__(self) -> str:
        return "<factory>"


_FACTORY = _Factory()


def initialiser(cls: type, fields: Fields, *, frozen: bool) -> Callable[..., None]:
    """Write and compile ``__init__`` of a class with slots."""
    scope: dict[str, Any] = {
        "__name__": cls.__module__,
        "_set": object.__setattr__,
        "_factory": _FACTORY,
    }
    parameters: dict[bool, list[str]] = {False: ["self"], True: []}
    lines = []
    for field in fields:
        name = value = declared = field.name
        default = f"_default_{name}"
        if field.default_factory is not _MISSING:
            scope[default] = field.default_factory
            default += "()"
            value, declared = f"{default} if {name} is _factory else {name}", f"{name}=_factory"
        elif field.default is not _MISSING:
            scope[default] = field.default
            declared = f"{name}={default}"
        if field.init:
            parameters[field.kw_only is True].append(declared)
        elif declared != name:
            value = default
        else:
            continue  # set by __post_init__
        lines.append(_set(cls, name, value, scope) if frozen else f"self.{name} = {value}")
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    declared = ", ".join(parameters[False] + ["*", *parameters[True]] * bool(parameters[True]))
    exec(f"def __init__({declared}):\n " + "\n ".join(lines or ["pass"]), scope)  # noqa: S102
    made: types.FunctionType = scope["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    made.__annotations__ = {f.name: f.type for f in fields if f.init} | {"return": None}
    return made


def _set(cls: type, name: str, value: str, scope: dict[str, Any]) -> str:
    """Return the line that sets an attribute of a frozen object: by its slot, which is quicker."""
    slot = getattr(cls, name, None)
    if not isinstance(slot, types.MemberDescriptorType):  # of a base without slots
        return f"_set(self, {name!r}, {value})"
    scope[f"_set_{name}"] = slot.__set__
    return f"_set_{name}(self, {value})"


def set_by_hand(
    made: object, fields: Fields, args: Sequence[object], values: Mapping[str, object]
) -> bool:
    """Set the attributes of a new object, if the arguments fit; else do nothing.

    Args:
        made: the object.
        fields: of its class.
        args: that it was called with.
        values: the same, by name.

    Returns:
        Whether they fit.
    """
    placed = [field.name for field in fields if field.init and field.kw_only is not True]
    given = dict(zip(placed, args, strict=False))
    named = {field.name for field in fields if field.init}
    if len(args) > len(placed) or not named - given.keys() >= values.keys():
        return False
    given.update(values)
    if any(name not in given for name in _required(fields)):
        return False
    for field in fields:
        name = field.name
        if name in given:
            object.__setattr__(made, name, given[name])
        elif field.default_factory is not _MISSING:
            object.__setattr__(made, name, field.default_factory())
        elif field.default is not _MISSING:
            object.__setattr__(made, name, field.default)
    return True


def _required(fields: Fields) -> Iterator[str]:
    return (
        field.name
        for field in fields
        if field.init and field.default is _MISSING and field.default_factory is _MISSING
    )
