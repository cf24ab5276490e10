"""Reads the inputs of parts, one part ahead of the computation."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from io import FileIO
from pathlib import Path
from typing import TypeAlias

from torch import Tensor

from bmerge import _native, formats
from bmerge.dtypes import SIZES
from bmerge.errors import ExecutorError
from bmerge.executors.parts import JobPart

__all__ = ["read_ahead", "read_dtype"]

_Buffers: TypeAlias = Mapping[int, Tensor]


def read_ahead(
    parts: Iterable[JobPart], host_buffer: Callable[[int], Tensor]
) -> Generator[tuple[JobPart, _Buffers]]:
    """Yield each part with the bytes of its inputs, while the next part's are read.

    Close the iterator to stop; no read is under way after that.

    Args:
        parts: what to read for.
        host_buffer: makes bytes to read into.

    Raises:
        ExecutorError: if a file cannot be read, or is shorter than it was.
    """
    with ExitStack() as files, ThreadPoolExecutor(1, "bmerge-read") as pool:
        reader = _Reader(files, host_buffer)
        pending: tuple[JobPart, Future[_Buffers]] | None = None
        for part in parts:
            following = part, pool.submit(reader.read, part)
            if pending is not None:
                yield pending[0], pending[1].result()
            pending = following
        if pending is not None:
            yield pending[0], pending[1].result()


def read_dtype(info: formats.Tensor) -> str:
    """Return the dtype of the bytes that a tensor is read as: what must be decoded is float32."""
    return info.dtype if isinstance(info, formats.TensorInfo) else "F32"


class _Reader:
    """Keeps files open; used by one thread, so that it may move their positions."""

    def __init__(self, stack: ExitStack, host_buffer: Callable[[int], Tensor]) -> None:
        self._stack = stack
        self._host_buffer = host_buffer
        self._files: dict[Path, FileIO] = {}

    def read(self, part: JobPart) -> _Buffers:
        inputs, window = part.job.inputs, part.window
        return {
            i: self._range(inputs[i], window.begin, window.count) for i in part.job.graph.inputs
        }

    def _range(self, info: formats.Tensor, begin: int, count: int) -> Tensor:
        if not isinstance(info, formats.TensorInfo):
            return self._decoded(info, begin, count)
        size = SIZES[info.dtype]
        buffer = self._host_buffer(count * size)
        view = buffer.numpy().data
        try:
            file = self._open(info.file)
            file.seek(info.offset + begin * size)
            while view:
                got = file.readinto(view)
                if not got:
                    message = f"{info.file} is shorter than it was: {info.key!r} ends beyond it"
                    raise ExecutorError(message, key=info.key)
                view = view[got:]
        except OSError as error:
            raise ExecutorError(f"cannot read {info.file}: {error.strerror}") from error
        return buffer

    def _decoded(self, info: formats.Tensor, begin: int, count: int) -> Tensor:
        """Return elements of what is not stored as it is, as float32."""
        try:
            data = formats.values_of(info, begin, count)
        except _native.NativeError as error:
            raise ExecutorError(f"{info.file}: {error}", key=info.key) from error
        buffer = self._host_buffer(len(data))
        buffer.numpy().data[:] = data
        return buffer

    def _open(self, path: Path) -> FileIO:
        if path not in self._files:
            self._files[path] = self._stack.enter_context(FileIO(path))
        return self._files[path]
