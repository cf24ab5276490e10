"""Reading torch's pickles without running anything that is in them.

A pickle is a program that may call any function it can name. Here every name leads to one of a
few classes made for that one reading: tensors become :class:`StoredTensor`, dicts become dicts,
and everything else, however it is called, becomes an inert object. So files that
``torch.load(weights_only=True)`` refuses because a trainer left its own objects in them can be
read too.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from bmerge.dtypes import TAGS

__all__ = ["StoredTensor", "unpickle"]

_STORAGES = {
    "DoubleStorage": "F64", "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16",
    "LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8",
    "ByteStorage": "U8", "BoolStorage": "BOOL", "UntypedStorage": "U8",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor as torch's pickle describes it.

    Args:
        dtype: safetensors tag, or torch's name where there is none.
        storage: name of the archive's member that holds its bytes.
        offset: of its first element in the storage, in elements.
        shape: extent of each dimension.
        stride: elements from one index to the next, per dimension.
    """

    dtype: str
    storage: str
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

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
        raise pickle.UnpicklingError(f"{type(error).__name__}: {error}") from error


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        # A pickle may set attributes of what it gets, so it gets classes of its own.
        self._dict: Any = type("Dict", (dict,), {})
        self._inert: Any = type("Inert", (), dict.fromkeys(_CALLS, _nothing) | {"__new__": _new})

    def find_class(self, module: str, name: str) -> Any:
        if module == "collections" and name in {"OrderedDict", "defaultdict"}:
            inner = self._dict
            return lambda *_: inner()
        if module in {"torch", "torch.storage"} and name in _STORAGES:
            return _Dtype(_STORAGES[name])
        if module == "torch" and name in TAGS:
            return _Dtype(TAGS[name])
        if module in {"torch._utils", "torch._tensor"} and name in _REBUILD:
            return partial(_REBUILD[name])
        return self._inert

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, name = pid[0], pid[1], pid[2]
        if kind != "storage" or not isinstance(dtype, _Dtype) or not isinstance(name, str):
            raise pickle.UnpicklingError(f"unknown reference {kind!r}")
        return _Storage(dtype.tag, name)


def _new(cls: type, *_args: object, **_kwargs: object) -> object:
    return object.__new__(cls)


def _nothing(*_args: object, **_kwargs: object) -> None:
    """Take whatever a pickle does to an object, and do nothing."""


_CALLS = ("__init__", "__setstate__", "__setitem__", "append", "extend", "add")


def _tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: object
) -> StoredTensor:
    return _typed(storage.dtype, storage, offset, shape, stride)


def _tensor_with_dtype(
    storage: _Storage,
    offset: int,
    shape: tuple[int, ...],
    stride: tuple[int, ...],
    _grad: object,
    _hooks: object,
    dtype: _Dtype,
    *_: object,
) -> StoredTensor:
    return _typed(dtype.tag, storage, offset, shape, stride)


def _typed(
    dtype: str, storage: _Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]
) -> StoredTensor:
    """Make a StoredTensor of numbers that are checked to be numbers."""
    extents, steps = tuple(map(int, shape)), tuple(map(int, stride))
    if min(extents, default=0) < 0 or len(extents) != len(steps):
        raise pickle.UnpicklingError(f"a tensor of shape {extents} and strides {steps}")
    return StoredTensor(dtype, storage.name, int(offset), extents, steps)


def _parameter(data: StoredTensor, *_: object) -> StoredTensor:
    return data


_REBUILD: dict[str, Callable[..., StoredTensor]] = {
    "_rebuild_tensor": _tensor,
    "_rebuild_tensor_v2": _tensor,
    "_rebuild_tensor_v3": _tensor_with_dtype,
    "_rebuild_parameter": _parameter,
    "_rebuild_parameter_with_state": _parameter,
}
