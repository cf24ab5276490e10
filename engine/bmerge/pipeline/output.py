"""The files of one merge while they are written: all appear complete under their names, or none.

Each is an :class:`bmerge._native.OutputFile`: a preallocated temporary beside its name. Of a
sharded output the index comes last and an older one goes first, so that whatever happens no
index names shards of different merges.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from bmerge import _native
from bmerge.errors import ExecutorError
from bmerge.formats import Checkpoint
from bmerge.pipeline.shards import Shard, index_of, index_text, previous_shards
from bmerge.pipeline.sinks import FileSink
from bmerge.plan import Plan

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["OutputFiles"]


class OutputFiles:
    """What a merge writes to; a context manager that removes what was not committed.

    Args:
        plan: the merge.
        output: the file, or what its shards are named after.
        shards: the files and what they hold.
        in_shards: whether shards were asked for, so that older ones are to be replaced too.

    Raises:
        ExecutorError: if they cannot be written there.
    """

    def __init__(
        self, plan: Plan, output: Path, shards: Sequence[Shard], *, in_shards: bool
    ) -> None:
        self._plan = plan
        self._output = output
        self._shards = shards
        self._index = index_of(output) if in_shards else None
        self._files: list[_native.OutputFile] = []
        self._sizes: list[int] = []

    @property
    def main(self) -> Path:
        """The file that opens the whole: the index, or the only file."""
        return self._index if self._index and len(self._shards) > 1 else self._output

    @property
    def nbytes(self) -> int:
        """Bytes of all files that hold tensors."""
        return sum(self._sizes)

    def check(self, *, overwrite: bool) -> None:
        """Refuse names that cannot or must not be written.

        Raises:
            ExecutorError: says why.
        """
        folder = self._output.parent
        if not folder.is_dir():
            message = f"cannot write {self._output}: the folder {folder} does not exist"
            raise ExecutorError(message)
        inputs = [file for checkpoint in self._plan.inputs for file in _files(checkpoint)]
        for path in (*(shard.path for shard in self._shards), *self._replaced()):
            if path.is_dir():
                raise ExecutorError(f"cannot write {path}: it is a folder")
            if not path.exists():
                continue
            if any(path.samefile(file) for file in inputs):
                message = f"{path} is an input of this merge"
                raise ExecutorError(message, hint="write the result under another name")
            if not overwrite:
                hint = "give another name, or overwrite it"
                raise ExecutorError(f"{path} exists already", hint=hint)

    def create(self, metadata: Mapping[str, str], *, sync: bool) -> FileSink:
        """Make the temporaries, with room for headers that hold ``metadata``.

        Args:
            metadata: what the headers will hold.
            sync: whether :meth:`commit` will be asked to wait for the disk.

        Raises:
            ExecutorError: if a header cannot be encoded, or there is no space.
        """
        places: dict[str, tuple[int, int]] = {}
        for number, shard in enumerate(self._shards):
            _, offsets, size = _encode(shard, metadata)
            for tensor, offset in zip(shard.tensors, offsets, strict=True):
                places[tensor.key] = number, offset
            self._sizes.append(size)
        with contextlib.suppress(_native.IoError):
            _native.clean_stale(self._output.parent)  # what killed merges have left
        for shard, size in zip(self._shards, self._sizes, strict=True):
            self._files.append(_native.OutputFile(shard.path, size, flushing=sync))
        return FileSink(self._files, places)

    def write_headers(self, metadata: Mapping[str, str]) -> None:
        """Write the headers; ``metadata`` has the length that it had in :meth:`create`."""
        for file, shard in zip(self._files, self._shards, strict=True):
            header, _, _ = _encode(shard, metadata)
            file.write_at(0, header)

    def commit(self, *, sync: bool) -> None:
        """Let the files appear; if one cannot, those that have appeared go again.

        Args:
            sync: whether to wait until they are safe from a power failure.
        """
        old = self._replaced()
        if self._index is not None:
            self._index.unlink(missing_ok=True)
        appeared: list[Path] = []
        try:
            for file, shard in zip(self._files, self._shards, strict=True):
                file.commit(sync=sync)
                appeared.append(shard.path)
            if self.main != self._output:
                self._write_index(sync=sync)
        except BaseException:
            for path in appeared:
                path.unlink(missing_ok=True)
            raise
        for path in {*old} - {self.main, *(shard.path for shard in self._shards)}:
            path.unlink(missing_ok=True)

    def _write_index(self, *, sync: bool) -> None:
        text = index_text(self._shards)
        index = _native.OutputFile(self.main, len(text))
        index.write_at(0, text)
        index.commit(sync=sync)

    def _replaced(self) -> tuple[Path, ...]:
        """Return all that a sharded output takes the place of, as far as it lies there."""
        if self._index is None:
            return ()
        return (*filter(Path.exists, (self._output, self._index)), *previous_shards(self._output))

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Remove the temporaries that are left."""
        for file in self._files:
            file.discard()
        if isinstance(error, _native.IoError):
            raise self._explained(error) from error

    def _explained(self, error: _native.IoError) -> ExecutorError:
        """Return an error that says what the user can do."""
        output, size = self._output, self.nbytes
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            import shutil

            free = shutil.disk_usage(output.parent).free
            message = f"no space for {output}: it needs {size:,} bytes and {free:,} are free"
            return ExecutorError(message, hint="free some space, or write to another disk")
        if error.errno == errno.EFBIG:
            message = f"{output} would be larger than this system allows: {size:,} bytes"
            return ExecutorError(message, hint="write shards: --shard-size 4G")
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            reason = os.strerror(error.errno).lower()
            hint = "write to another folder"
            return ExecutorError(f"cannot write {output}: {reason}", hint=hint)
        return ExecutorError(str(error))


def _encode(shard: Shard, metadata: Mapping[str, str]) -> tuple[bytes, list[int], int]:
    tensors = [(tensor.key, tensor.dtype, tensor.shape) for tensor in shard.tensors]
    try:
        return _native.encode_header(tensors, metadata)
    except _native.HeaderError as error:
        raise ExecutorError(f"the result cannot be stored: {error}") from error


def _files(checkpoint: Checkpoint) -> set[Path]:
    return {file for file in (*checkpoint.files, checkpoint.path) if file.is_file()}
