"""Reading torch's pickles without running anything that is in them.

A pickle is a program that may call any function it can name. Here every name leads to one of a
few classes made for that one reading: tensors become :class:`StoredTensor`, dicts become dicts,
and everything else, however it is called, becomes an inert object. So files that
``torch.load(weights_only=True)`` refuses because a trainer left its own objects in them can be
read too.

A small pickle can also ask for much: for a table of 4 GB by one number, for tuples within tuples
whose hash takes years. What is kept and done here is bounded by the pickle's size. That is why it
builds on Python's own reader and not on the faster one in C, which reserves what it is told to.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from bmerge.dtypes import TAGS
from bmerge.records import dataclass

__all__ = ["OrderedDict", "StoredTensor", "unpickle"]

_STORAGES = {
    "DoubleStorage": "F64", "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16",
    "LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8",
    "ByteStorage": "U8", "BoolStorage": "BOOL", "UntypedStorage": "U8",
    "ComplexFloatStorage": "C64",
}  # fmt: skip
_STORAGE = "Storage"
"""How the names of all of torch's storages end."""
_QUANTISED = "q"


_KEYS = frozenset({str, int, float, bool, bytes, type(None)})
"""Types of keys whose hash takes no longer than they are long."""

_MOST_ARGUMENTS = 100
_MOST_DIMENSIONS = 64
_LARGEST = 1 << 63
_REFUSED = (
    pickle.DICT, pickle.BYTEARRAY8, pickle.EXT1, pickle.EXT2, pickle.EXT4, pickle.INST,
    pickle.OBJ, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor as torch's pickle describes it.

    Args:
        dtype: safetensors tag, or torch's name where there is none.
        storage: name of the archive's member that holds its bytes; empty if these do not lie in
            one piece, whose kind is then the dtype.
        offset: of its first element in the storage, in elements.
        shape: extent of each dimension.
        stride: elements from one index to the next, per dimension.
        turned: whether its elements are to be negated or conjugated, which torch puts off.
    """

    dtype: str
    storage: str
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    turned: bool = False

    @property
    def contiguous(self) -> bool:
        """Whether its elements follow one another in row-major order."""
        expected = 1
        for extent, step in zip(reversed(self.shape), reversed(self.stride), strict=True):
            if extent != 1 and step != expected and 0 not in self.shape:
                return False
            expected *= extent
        return True


@dataclass(frozen=True, slots=True)
class _Dtype:
    """A storage class or a dtype object, by the tag that it stands for."""

    tag: str


@dataclass(frozen=True, slots=True)
class _Storage:
    dtype: str
    name: str


class OrderedDict(dict[object, object]):
    """What became of one of Python's, with its attributes in a dict of their own."""

    attributes: dict[object, object] | None = None


def unpickle(data: bytes) -> object:
    """Return what a pickle describes, with inert objects for all that is not data or a tensor.

    Raises:
        pickle.UnpicklingError: if it is not a sound pickle.
    """
    try:
        return _Unpickler(io.BytesIO(data)).load()
    except (pickle.UnpicklingError, MemoryError):
        raise
    except Exception as error:  # whatever a hostile sequence of opcodes makes of inert objects
        reason = str(error).partition("; use sys.")[0]  # how Python's limit of digits is raised
        raise pickle.UnpicklingError(f"{type(error).__name__}: {reason}") from error


_Reader: Any = pickle._Unpickler  # noqa: SLF001  the one in Python, whose operations are methods


class _Unpickler(_Reader):  # type: ignore[misc]
    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(_Reader.dispatch)

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self._inert: Any = type("Inert", (), dict.fromkeys(_CALLS, _nothing) | {"__new__": _new})

    def find_class(self, module: str, name: str) -> Any:
        if module == "collections" and name in {"OrderedDict", "defaultdict"}:
            return lambda *_: OrderedDict()
        if module in {"torch", "torch.storage"} and name in _STORAGES:
            return _Dtype(_STORAGES[name])
        if module == "torch" and name.endswith(_STORAGE):  # told by its name with the tensor's
            return _Dtype(name.removesuffix(_STORAGE).lower())
        if module == "torch" and name in TAGS:
            return _Dtype(TAGS[name])
        if module in {"torch._utils", "torch._tensor"} and name.startswith(_MAKER):
            return partial(_REBUILD[name]) if name in _REBUILD else partial(_other, name)
        return self._inert

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, name = pid[0], pid[1], pid[2]
        if kind != "storage" or not isinstance(dtype, _Dtype) or not isinstance(name, str):
            raise pickle.UnpicklingError("a reference to something other than a storage")
        return _Storage(dtype.tag, name)

    def build(self) -> None:
        """Keep a dict's attributes beside it, as they are; drop the state of all else."""
        attributes = self.stack.pop()
        if isinstance(self.stack[-1], OrderedDict) and isinstance(attributes, dict):
            self.stack[-1].attributes = attributes

    def reduce(self) -> None:
        """Call what was named, if a tensor's maker could get so many arguments."""
        arguments = self.stack[-1]
        if not isinstance(arguments, tuple) or len(arguments) > _MOST_ARGUMENTS:
            raise pickle.UnpicklingError("a call without a tuple of arguments, or with too many")
        _Reader.load_reduce(self)

    def set_items(self) -> None:
        """Set items of a dict; a key that is not a plain value becomes an object of its own."""
        items = self.pop_mark()
        holder = self.stack[-1]
        for key, value in zip(items[::2], items[1::2], strict=True):
            holder[key if type(key) in _KEYS else object()] = value

    def set_item(self) -> None:
        """Set one item."""
        value, key = self.stack.pop(), self.stack.pop()
        self.stack[-1][key if type(key) in _KEYS else object()] = value

    def new_object(self) -> None:
        """Make an inert object, whatever the class and its arguments are."""
        self.stack[-2:] = [self._inert()]

    def new_object_by_names(self) -> None:
        """Make an inert object, as above."""
        self.stack[-3:] = [self._inert()]

    def frozen_set(self) -> None:
        """Make an inert object of a set."""
        self.pop_mark()
        self.stack.append(self._inert())

    def refuse(self) -> None:
        """Refuse what torch never writes and what could cost more than its size."""
        raise pickle.UnpicklingError("it has an operation that no checkpoint has")

    dispatch[pickle.BUILD[0]] = build
    dispatch[pickle.REDUCE[0]] = reduce
    dispatch[pickle.SETITEMS[0]] = set_items
    dispatch[pickle.SETITEM[0]] = set_item
    dispatch[pickle.NEWOBJ[0]] = new_object
    dispatch[pickle.NEWOBJ_EX[0]] = new_object_by_names
    dispatch[pickle.FROZENSET[0]] = frozen_set
    dispatch[pickle.ADDITEMS[0]] = _Reader.pop_mark  # a set stays empty
    for _code in _REFUSED:
        dispatch[_code[0]] = refuse


def _new(cls: type, *_args: object, **_kwargs: object) -> object:
    return object.__new__(cls)


def _nothing(*_args: object, **_kwargs: object) -> None:
    """Take whatever a pickle does to an object, and do nothing."""


_CALLS = ("__init__", "__setstate__", "__setitem__", "append", "extend", "add")


def _tensor(
    storage: _Storage,
    offset: int,
    shape: tuple[int, ...],
    stride: tuple[int, ...],
    _grad: object = None,
    _hooks: object = None,
    said: object = None,
) -> StoredTensor:
    return _typed(storage.dtype, storage, offset, shape, stride, said)


def _tensor_with_dtype(
    storage: _Storage,
    offset: int,
    shape: tuple[int, ...],
    stride: tuple[int, ...],
    _grad: object,
    _hooks: object,
    dtype: _Dtype,
    said: object = None,
) -> StoredTensor:
    return _typed(dtype.tag, storage, offset, shape, stride, said)


def _typed(
    dtype: str,
    storage: _Storage,
    offset: int,
    shape: tuple[int, ...],
    stride: tuple[int, ...],
    said: object,
) -> StoredTensor:
    """Make a StoredTensor of numbers that are checked to be numbers; ``said`` may be its bits."""
    if len(shape) > _MOST_DIMENSIONS or len(shape) != len(stride):
        message = f"a tensor with {len(shape)} dimensions and {len(stride)} strides"
        raise pickle.UnpicklingError(message)
    for number in (offset, *shape, *stride):
        if type(number) is not int or not 0 <= number < _LARGEST:
            raise pickle.UnpicklingError("a tensor whose shape or place is not made of numbers")
    turned = isinstance(said, dict) and bool(said.get("neg") or said.get("conj"))
    return StoredTensor(dtype, storage.name, offset, tuple(shape), tuple(stride), turned)


def _parameter(data: StoredTensor, *_: object) -> StoredTensor:
    return data


def _of_class(
    make: Callable[..., StoredTensor], _: object, arguments: tuple[object, ...], *__: object
) -> StoredTensor:
    """Make the tensor that one of a class of its own, or with attributes, is made of."""
    if not isinstance(make, partial):
        raise pickle.UnpicklingError("a tensor that nothing known makes")
    made: StoredTensor = make(*arguments)
    return made


def _other(name: str, *_: object) -> StoredTensor:
    """Make what stands for a tensor that is not stored as its elements, so that it is told of."""
    kind = name.removeprefix(_MAKER).partition("_tensor")[0].removesuffix("tensor")
    return StoredTensor(f"{'quantised' if kind == _QUANTISED else kind} tensor", "", 0, (), ())


_MAKER = "_rebuild_"
"""How the names of all functions start that make tensors of what torch stores."""
_REBUILD: dict[str, Callable[..., StoredTensor]] = {
    "_rebuild_tensor": _tensor,
    "_rebuild_tensor_v2": _tensor,
    "_rebuild_tensor_v3": _tensor_with_dtype,
    "_rebuild_parameter": _parameter,
    "_rebuild_parameter_with_state": _parameter,
    "_rebuild_from_type": _of_class,
    "_rebuild_from_type_v2": _of_class,
}
