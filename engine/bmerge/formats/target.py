"""Where a checkpoint may be written: one door for every command that writes one.

The suffix is the format. What cannot be replaced by a file (a folder, a device) is refused, and
links are followed, so that they stay links.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path

from bmerge import _native
from bmerge.errors import FormatError
from bmerge.formats.checkpoint import Checkpoint
from bmerge.formats.registry import (
    GGUF_SUFFIX,
    PICKLED_SUFFIXES,
    SAFETENSORS_SUFFIXES,
    format_of,
)
from bmerge.temporaries import remove_left_over

__all__ = [
    "GGUF_SUFFIX",
    "PICKLED_SUFFIXES",
    "SAFETENSORS_SUFFIXES",
    "new_output",
    "refuse_inputs",
    "regular_target",
    "target_of",
    "write_file",
]

_HINT = "name it .safetensors, or .ckpt, .pt, .pth or .bin for a file of torch"


def target_of(path: Path, *, model: bool = False) -> Path:
    """Return the file that a checkpoint called ``path`` is to be written to: its links followed.

    Args:
        path: as the user named it.
        model: whether it is a model, for which there are more formats than for LoRAs.

    Raises:
        FormatError: if its suffix is that of no format that bmerge writes, or there is something
            that no file can take the place of.
    """
    target = regular_target(path)
    suffix = path.suffix.lower()
    known = format_of(path)
    own = suffix in SAFETENSORS_SUFFIXES | PICKLED_SUFFIXES
    if known is None or known.lay_out is None or not (own or model):
        found = f"cannot write {path.suffix} files" if suffix else "the name has no suffix"
        raise FormatError(f"cannot write {path}: {found}", path=path, hint=_HINT)
    other = target.suffix.lower()
    if other and (format_of(target) or format_of(Path("x.safetensors"))) != known:
        message = f"cannot write {path}: it is a link to {target}, whose suffix is another format's"
        raise FormatError(message, path=path, hint="write to the file itself, or remove the link")
    return target


def regular_target(path: Path) -> Path:
    """Return the file that writing to ``path`` makes or replaces: its links followed.

    Raises:
        FormatError: if there is something else than a file, or its folder does not exist.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        mode = stat.S_IFREG
    except (OSError, ValueError) as error:  # a name with a zero byte is a ValueError
        reason = getattr(error, "strerror", None) or str(error)
        raise FormatError(f"cannot write {path}: {reason.lower()}", path=path) from error
    if not stat.S_ISREG(mode):
        raise FormatError(f"cannot write {path}: it is {_kind(mode)}", path=path)
    target = path.resolve() if path.is_symlink() else path
    if not target.parent.is_dir():
        message = f"cannot write {path}: the folder {target.parent} does not exist"
        raise FormatError(message, path=path)
    return target


def refuse_inputs(path: Path, inputs: Iterable[Checkpoint]) -> None:
    """Refuse to write over what is being read, however it is called there.

    Raises:
        FormatError: if ``path`` is a file of one of the inputs.
    """
    if not path.exists():
        return
    files = {file for each in inputs for file in (*each.files, each.path)}
    if any(file.exists() and path.samefile(file) for file in files):
        hint = "write the result under another name"
        raise FormatError(f"{path} is one of the inputs", path=path, hint=hint)


def new_output(target: Path, size: int, *, flushing: bool = False) -> _native.OutputFile:
    """Make the temporary of a file, and remove what killed processes left in its folder.

    Args:
        target: from :func:`target_of`.
        size: bytes of the whole file.
        flushing: see :class:`bmerge._native.OutputFile`.

    Raises:
        IoError: if it cannot be made, or there is no space.
    """
    remove_left_over(target.parent)
    return _native.OutputFile(target, size, flushing=flushing)


def write_file(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Write a small file that appears as a whole; links are followed.

    Args:
        path: the file.
        data: what is in it.
        sync: whether to wait until it is safe from a power failure.

    Raises:
        FormatError: if it cannot be written.
    """
    target = regular_target(path)
    try:
        file = new_output(target, len(data))
        file.write_at(0, data)
        file.commit(sync=sync)
    except _native.IoError as error:
        raise FormatError(f"cannot write {path}: {error}", path=path) from error


def _kind(mode: int) -> str:
    """Return what there is instead of a file."""
    if stat.S_ISDIR(mode):
        return "a folder"
    if stat.S_ISFIFO(mode):
        return "a FIFO"
    return "a socket" if stat.S_ISSOCK(mode) else "a device"
