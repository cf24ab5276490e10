"""A merge into a file that appears complete or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from bmerge import _native
from bmerge.errors import ExecutorError
from bmerge.executors import ExecutionReport, Executor, ProgressCallback
from bmerge.formats import Checkpoint
from bmerge.pipeline.execute import execute
from bmerge.pipeline.hashing import InputHashes
from bmerge.pipeline.metadata import build_metadata
from bmerge.pipeline.sinks import FileSink
from bmerge.plan import Plan

__all__ = ["MergeReport", "merge_to_file"]

_PLACEHOLDER = "0" * 64


@dataclass(frozen=True, slots=True)
class MergeReport:
    """A merge that has been written.

    Args:
        output: the file.
        nbytes: its size.
        execution: what the executor did.
        notes: what the user should know, from the plan.
        metadata: of the file.
    """

    output: Path
    nbytes: int
    execution: ExecutionReport
    notes: tuple[str, ...]
    metadata: Mapping[str, str]


def merge_to_file(
    plan: Plan,
    output: Path,
    *,
    executor: Executor,
    progress: ProgressCallback | None = None,
    metadata: bool = True,
    hashes: bool = True,
    overwrite: bool = True,
    sync: bool = True,
) -> MergeReport:
    """Carry out a plan into a safetensors file.

    The file is written under a temporary name beside its own and renamed when it is complete;
    whatever goes wrong, nothing is left under its name. Equal recipes and inputs give equal
    bytes.

    Args:
        plan: the merge.
        output: the file.
        executor: runs the plan.
        progress: called while it runs.
        metadata: whether the file is to tell its recipe and ancestry.
        hashes: whether these are to have the inputs' SHA-256. It is computed while merging and
            remembered; the first merge of a large file may take longer for it.
        overwrite: whether a file of that name may be replaced.
        sync: whether to wait until the file is safe from a power failure.

    Raises:
        ExecutorError: if it cannot be carried out or written.
        FormatError: if an input cannot be read.
        KeyboardInterrupt: if the user interrupts.
    """
    _check_output(plan, output, overwrite=overwrite)
    hashing: AbstractContextManager[InputHashes | None] = (
        InputHashes(plan) if metadata and hashes else contextlib.nullcontext()
    )
    with hashing as digests:
        preliminary = _placeholders(plan) if digests is not None else None
        tensors = [(tensor.key, tensor.dtype, tensor.shape) for tensor in plan.outputs]
        text = _text(plan, preliminary, metadata=metadata)
        header, offsets, size = _encode(tensors, text)
        file = _create(output, size)
        try:
            places = {t.key: begin for t, begin in zip(plan.outputs, offsets, strict=True)}
            sink = FileSink(file, places)
            execution = execute(plan, sink, executor=executor, progress=progress)
            if digests is not None:
                text = _text(plan, digests.wait(), metadata=True)
                header, _, _ = _encode(tensors, text)
            file.write_at(0, header)
            _check_output(plan, output, overwrite=overwrite)
            file.commit(sync=sync)
        except _native.IoError as error:
            raise _io_error(error, output, size) from error
        finally:
            file.discard()
    return MergeReport(output, size, execution, plan.notes, text)


def _placeholders(plan: Plan) -> list[str]:
    """Return hashes of the right length, so that the header has its final size."""
    return [_PLACEHOLDER] * len(plan.checkpoints)


def _text(plan: Plan, digests: Sequence[str] | None, *, metadata: bool) -> dict[str, str]:
    return build_metadata(plan, digests) if metadata else {"format": "pt"}


def _encode(
    tensors: Sequence[tuple[str, str, tuple[int, ...]]], metadata: Mapping[str, str]
) -> tuple[bytes, list[int], int]:
    try:
        return _native.encode_header(tensors, metadata)
    except _native.HeaderError as error:
        raise ExecutorError(f"the result cannot be stored: {error}") from error


def _create(output: Path, size: int) -> _native.OutputFile:
    """Remove what killed merges have left beside the output, and create its temporary."""
    with contextlib.suppress(_native.IoError):
        _native.clean_stale(output.parent)
    try:
        return _native.OutputFile(output, size)
    except _native.IoError as error:
        raise _io_error(error, output, size) from error


def _check_output(plan: Plan, output: Path, *, overwrite: bool) -> None:
    """Refuse names that cannot or must not be written."""
    if not output.parent.is_dir():
        raise ExecutorError(f"cannot write {output}: the folder {output.parent} does not exist")
    if output.is_dir():
        raise ExecutorError(f"cannot write {output}: it is a folder")
    if not output.exists():
        return
    for checkpoint in plan.checkpoints:
        if any(output.samefile(file) for file in _files(checkpoint)):
            message = f"{output} is an input of this merge"
            raise ExecutorError(message, hint="write the result under another name")
    if not overwrite:
        raise ExecutorError(f"{output} exists already", hint="give another name, or overwrite it")


def _files(checkpoint: Checkpoint) -> set[Path]:
    files = {*checkpoint.files, checkpoint.path}
    return {file for file in files if file.exists()}


def _io_error(error: _native.IoError, output: Path, size: int) -> ExecutorError:
    """Return an error that says what the user can do."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        free = shutil.disk_usage(output.parent).free
        message = f"no space for {output}: it needs {size:,} bytes and {free:,} are free"
        return ExecutorError(message, hint="free some space, or write to another disk")
    if error.errno == errno.EFBIG:
        return ExecutorError(f"{output} would be larger than this system allows: {size:,} bytes")
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        reason = os.strerror(error.errno).lower()
        return ExecutorError(f"cannot write {output}: {reason}", hint="write to another folder")
    return ExecutorError(str(error))
