"""Dataclasses whose ``__init__`` is written when there are many objects of them.

The standard library writes and compiles six methods for each frozen dataclass. A small merge
imports a hundred of them and makes objects of half: that was a quarter of its time. Here what
prints, compares and copies is shared, and ``__init__`` alone is written, once it is worth it. For
type checkers, for :mod:`dataclasses`' own functions, ``match`` and ``pickle`` they are dataclasses
as any other. Everything may import this; it imports nothing but what sets their attributes.
"""

from __future__ import annotations

import dataclasses
import inspect
import operator
import reprlib
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from bmerge.initialisers import FEW, Fields, initialiser, set_by_hand

__all__ = ["dataclass"]

_TOLD = ("__dataclass_fields__", "__dataclass_params__", "__match_args__")
"""What tells of the fields."""
_METHODS = frozenset({"__init__", "__eq__", "__hash__"})
"""What can be written without all that the standard library finds out of a class."""

_writing = threading.RLock()  # what a class inherits is written while the class is

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(
        cls: type | None = None,
        /,
        *,
        frozen: bool = False,
        slots: bool = False,
        eq: bool = True,
        repr: bool = True,  # noqa: A002
        kw_only: bool = False,
    ) -> Any:
        """Make a class a dataclass, as :func:`dataclasses.dataclass` does.

        Those with slots are made here, and may have no ``InitVar``; all others are the standard
        library's.
        """

        def decorated(cls: type) -> type:
            if slots:
                return _slotted(cls, _Kind(frozen, kw_only), compared=eq, shown=repr)
            return dataclasses.dataclass(frozen=frozen, eq=eq, repr=repr, kw_only=kw_only)(cls)

        return decorated if cls is None else decorated(cls)


class _Kind(NamedTuple):
    """What ``__init__`` and the fields of a class depend on."""

    frozen: bool
    kw_only: bool


def _slotted(origin: type, kind: _Kind, *, compared: bool, shown: bool) -> type:
    """Return ``origin`` with slots, and with methods that are shared or written later."""
    names = [name for name, _ in _annotated(origin)]
    left = {*names, "__dict__", "__weakref__"}
    body = {name: value for name, value in origin.__dict__.items() if name not in left}
    inherited = {name for base in origin.__mro__ for name in base.__dict__.get("__slots__", ())}
    body["__slots__"] = tuple(name for name in names if name not in inherited)
    if body.get("__hash__", ...) is None:  # as Python sets it for a class that has __eq__
        del body["__hash__"]
    methods: dict[str, object] = {**_FROZEN} if kind.frozen else {}
    methods["__replace__"] = dataclasses.replace
    if shown:
        methods["__repr__"] = _shown
    for name in (*_TOLD, *(("__eq__", "__hash__") if compared else ())):
        methods[name] = _Later(origin, kind)
    methods["__init__"] = _Initialiser(origin, kind)
    if compared and not kind.frozen:
        methods["__hash__"] = None
    return type(origin)(origin.__name__, origin.__bases__, {**methods, **body})


def _annotated(origin: type) -> list[tuple[str, Any]]:
    annotated = inspect.get_annotations(origin).items()
    return [(name, kind) for name, kind in annotated if not str(kind).startswith("ClassVar")]


class _Later:
    """An attribute of a class that is not there before it is asked for.

    Args:
        origin: the class as it stands in the source.
        kind: that it is to be.
    """

    def __init__(self, origin: type, kind: _Kind) -> None:
        self._origin, self._kind = origin, kind

    def __set_name__(self, owner: type, name: str) -> None:
        self._owner, self._name = owner, name

    def __get__(self, instance: object, owner: type) -> Any:
        with _writing:
            if vars(self._owner)[self._name] is self:
                derived = self._is_derived()
                if derived or self._name not in _METHODS:
                    _write(self._owner, self._origin, self._kind, derived=derived)
                else:
                    fields = _fields(self._origin, self._kind)
                    _put(self._owner, _methods(self._name, self._owner, fields, self._kind))
        return getattr(owner if instance is None else instance, self._name)

    def _is_derived(self) -> bool:
        return any("__dataclass_fields__" in vars(base) for base in self._owner.__mro__[1:])


class _Initialiser(_Later):
    """``__init__``: not there before there are some objects of the class."""

    _made = 0
    _fields: Fields | None = None

    def __get__(self, instance: object, owner: type) -> Any:
        if instance is None or self._made >= FEW or self._is_derived():
            return super().__get__(instance, owner)
        self._made += 1
        return partial(self._initialise, instance)

    def _initialise(self, instance: Any, /, *args: object, **values: object) -> None:
        if self._fields is None:
            with _writing:
                self._fields = _fields(self._origin, self._kind)
        if not set_by_hand(instance, self._fields, args, values):
            getattr(self._owner, self._name)(instance, *args, **values)
        elif hasattr(self._owner, "__post_init__"):
            instance.__post_init__()


def _write(cls: type, origin: type, kind: _Kind, *, derived: bool) -> None:
    """Give ``cls`` all that it was to have later."""
    # What is derived must be frozen where that is which it is derived from.
    told: Any = dataclasses.dataclass(
        init=False, repr=False, eq=False, frozen=kind.frozen and derived, kw_only=kind.kw_only
    )(origin)
    told.__dataclass_params__.frozen = kind.frozen
    _put(cls, {name: getattr(told, name) for name in _TOLD})
    for name in _METHODS if derived else ():
        _put(cls, _methods(name, cls, dataclasses.fields(told), kind))


def _put(cls: type, written: Mapping[str, object]) -> None:
    for name, value in written.items():
        if isinstance(vars(cls).get(name), _Later):
            setattr(cls, name, value)


def _fields(origin: type, kind: _Kind) -> Fields:
    """Return the fields of a class that is derived from none, in a fraction of the time."""
    if "__dataclass_fields__" in vars(origin):  # their defaults have left the class
        return dataclasses.fields(origin)
    found = []
    for name, annotation in _annotated(origin):
        value = getattr(origin, name, dataclasses.MISSING)
        field: Any = value
        if not isinstance(value, dataclasses.Field):
            field = dataclasses.field(default=value)
        field.name, field.type = name, annotation
        if field.kw_only is dataclasses.MISSING:
            field.kw_only = kind.kw_only
        found.append(field)
    return found


def _methods(name: str, cls: type, fields: Fields, kind: _Kind) -> dict[str, object]:
    """Write a method, and what is written along with it."""
    if name == "__init__":
        return {name: initialiser(cls, fields, frozen=kind.frozen)}
    eq, hashed = _comparing(f.name for f in fields if f.compare)
    return {"__eq__": eq, "__hash__": hashed}


def _comparing(names: Iterable[str]) -> tuple[Callable[..., bool], Callable[..., int]]:
    """Return ``__eq__`` and ``__hash__`` of objects with the attributes ``names``."""
    values = operator.attrgetter("__class__", *names)

    def __eq__(self: object, other: object) -> bool:  # noqa: N807
        return (
            values(self) == values(other) if self.__class__ is other.__class__ else NotImplemented
        )

    def __hash__(self: object) -> int:  # noqa: N807
        return hash(values(self))

    return __eq__, __hash__


@reprlib.recursive_repr()
def _shown(self: Any) -> str:
    values = [f"{f.name}={getattr(self, f.name)!r}" for f in dataclasses.fields(self) if f.repr]
    return f"{self.__class__.__qualname__}({', '.join(values)})"


def _refuse_to_set(_: object, name: str, __: object) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_to_delete(_: object, name: str) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


def _state(self: Any) -> list[object]:
    return [getattr(self, field.name) for field in dataclasses.fields(self)]


def _set_state(self: Any, state: list[object]) -> None:
    for field, value in zip(dataclasses.fields(self), state, strict=True):
        object.__setattr__(self, field.name, value)


_FROZEN: dict[str, object] = {
    "__setattr__": _refuse_to_set,
    "__delattr__": _refuse_to_delete,
    "__getstate__": _state,
    "__setstate__": _set_state,
}
