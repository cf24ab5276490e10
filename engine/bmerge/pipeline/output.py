"""The files of one merge while they are written: all appear complete under their names, or none.

Each is an :class:`bmerge._native.OutputFile`: a preallocated temporary beside its name. How
shards take the place of others is in :mod:`.replace`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from bmerge import _native
from bmerge.errors import ExecutorError
from bmerge.formats.layout import Layout, SafetensorsLayout
from bmerge.formats.registry import lay_out
from bmerge.formats.target import new_output, refuse_inputs, regular_target, target_of
from bmerge.pipeline.replace import appear, remove, replace_set
from bmerge.pipeline.shards import Shard, index_of, index_text, previous_shards, staged_name
from bmerge.pipeline.sinks import FileSink, OnePlace
from bmerge.plan import Plan
from bmerge.system import sync_folder

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
        FormatError: if a file of that name cannot be written there.
    """

    def __init__(
        self, plan: Plan, output: Path, shards: Sequence[Shard], *, in_shards: bool
    ) -> None:
        self._plan = plan
        self._output = output
        self._target = target_of(output, model=True)
        self._shards = shards
        self._index = index_of(output) if in_shards else None
        self._is_set = len(shards) > 1
        self._files: list[_native.OutputFile] = []
        self._indices: list[_native.OutputFile] = []
        self._laid_out: list[Layout] = []
        self._nbytes = 0

    @property
    def main(self) -> Path:
        """The file that opens the whole: the index, or the only file."""
        return self._index if self._index and self._is_set else self._output

    @property
    def folder(self) -> Path:
        """Where the files lie."""
        return self._target.parent

    @property
    def nbytes(self) -> int:
        """Bytes of all files that hold tensors."""
        return self._nbytes

    def check(self, *, overwrite: bool) -> None:
        """Refuse names that cannot or must not be written.

        Raises:
            ExecutorError: says why.
            FormatError: if there is an input, or something else than a file.
        """
        names = (self.main, *(shard.path for shard in self._shards), *self._replaced())
        for path in dict.fromkeys(names):
            regular_target(path)
            if self._is_set and path.is_symlink():
                hint = "write to another folder, or remove the link"
                raise ExecutorError(f"{path} is a link, and shards replace files", hint=hint)
            if not path.exists():
                continue
            refuse_inputs(path, self._plan.inputs)
            if not overwrite:
                hint = "give another name, or overwrite it"
                raise ExecutorError(f"{path} exists already", hint=hint)

    def create(self, metadata: Mapping[str, str], *, sync: bool) -> FileSink:
        """Make the temporaries, with room for all that they will hold.

        Args:
            metadata: what the headers will hold.
            sync: whether :meth:`commit` will be asked to wait for the disk.

        Raises:
            FormatError: if the tensors cannot be stored in the format.
            IoError: if there is no space.
        """
        layouts = self._layouts(metadata)
        self._laid_out = layouts
        self._nbytes = sum(layout.size for layout in layouts)
        paths = [self._target]
        if self._is_set:
            shards = [shard.path for shard in self._shards]
            paths = list(map(staged_name, shards))
            for names in (paths, shards):
                self._add_index(names)
        for path, layout in zip(paths, layouts, strict=True):
            self._files.append(new_output(path, layout.size, flushing=sync))
            if isinstance(layout, SafetensorsLayout):
                layout.begin(self._files[-1])
        return FileSink(self._files, self._places())

    def finish(self, metadata: Mapping[str, str]) -> None:
        """Write what is not a tensor and not there yet.

        Args:
            metadata: as long as that of :meth:`create`.

        Raises:
            IoError: if it cannot be written.
        """
        if not all(isinstance(layout, SafetensorsLayout) for layout in self._laid_out):
            self._laid_out = self._layouts(metadata)
        for file, layout in zip(self._files, self._laid_out, strict=True):
            if isinstance(layout, SafetensorsLayout):
                layout.finish(file, metadata)
            else:
                layout.finish(file)

    def commit(self, *, sync: bool) -> tuple[str, ...]:
        """Let the files appear, in the place of what is there; all of them or none.

        Args:
            sync: whether to wait until they are safe from a power failure.

        Returns:
            What the user should know of files that could not be renamed or removed.

        Raises:
            IoError: if they cannot appear; what was there is as it was.
        """
        old = self._replaced()
        if self._is_set:
            return self._commit_set(old, sync=sync)
        self._files[0].commit(sync=sync)
        # The index goes before what it names, which stays if it cannot go.
        notes = remove(path for path in old if path == self._index)
        if notes:
            return notes
        if sync and old:
            sync_folder(self._target.parent)
        return remove(path for path in old if path not in {self._index, self._output})

    def _commit_set(self, old: Sequence[Path], *, sync: bool) -> tuple[str, ...]:
        shards = [shard.path for shard in self._shards]
        staged = [Path(file.path) for file in self._files]
        try:
            for file in self._files:
                file.commit(sync=sync)
        except BaseException:
            remove(staged)
            raise
        first, last = self._indices
        try:
            if old:
                return replace_set(staged, shards, (first, last), old, sync=sync)
            first.discard()
            appear(staged, shards, last, sync=sync)
        except OSError as error:
            raise explained(error, self._output, self.nbytes) from error
        return ()

    def _add_index(self, names: Sequence[Path]) -> None:
        text = index_text(self._shards, [path.name for path in names])
        self._indices.append(new_output(self.main, len(text)))
        self._indices[-1].write_at(0, text)

    def _places(self) -> Mapping[str, tuple[int, int]]:
        """Return key → (index of its file, first byte in it)."""
        if len(self._laid_out) == 1 and isinstance(self._laid_out[0], SafetensorsLayout):
            return OnePlace(self._laid_out[0])
        return {
            tensor.key: (number, offset)
            for number, (shard, layout) in enumerate(zip(self._shards, self._laid_out, strict=True))
            for tensor, offset in zip(shard.tensors, layout.offsets, strict=True)
        }

    def _layouts(self, metadata: Mapping[str, str]) -> list[Layout]:
        return [
            lay_out(shard.path, ((t.key, t.dtype, t.shape) for t in shard.tensors), metadata)
            for shard in self._shards
        ]

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
        for file in (*self._files, *self._indices):
            file.discard()
        if isinstance(error, _native.IoError):
            raise explained(error, self._output, self.nbytes) from error


def explained(error: _native.IoError | OSError, output: Path, size: int) -> ExecutorError:
    """Return an error of writing an output of so many bytes that says what the user can do."""
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
    if isinstance(error, _native.IoError):
        return ExecutorError(str(error))
    return ExecutorError(f"cannot write {output}: {(error.strerror or str(error)).lower()}")
