"""Opening a checkpoint, whatever its format: the one door into :mod:`bmerge.formats`.

What a path is, is decided by its name, and for a folder by what lies in it; the reader of that
format then checks the bytes.
"""

from __future__ import annotations

import os
from pathlib import Path

from bmerge.errors import FormatError
from bmerge.faults import contained
from bmerge.formats.checkpoint import Checkpoint, Tensor
from bmerge.formats.composed import renamed
from bmerge.formats.folders import PIPELINE, components_of, is_index, weights_of
from bmerge.formats.registry import format_of
from bmerge.formats.safetensors import open_safetensors
from bmerge.formats.unwrapped import unwrapped
from bmerge.reading import check_regular

__all__ = ["open_checkpoint"]


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint's table of contents; no tensor data is read.

    Args:
        path: a .safetensors or .gguf file, a shard index, a .ckpt or .pt file, a folder with the
            weights of one model, or one of diffusers with a whole pipeline.

    Raises:
        FormatError: if there is no such file, or it is not a sound checkpoint.
    """
    if path == "":  # as of a variable that is not set; Python would take the folder that it is in
        raise FormatError("the name of a model is empty", path=path)
    path = Path(path)
    if path.is_dir():
        if (path / PIPELINE).exists():
            return _open_pipeline(path)
        return _open_file(weights_of(path), named=path)
    if not path.exists():
        if path.is_symlink():
            message = f"{path} is a link to {path.readlink()}, which leads nowhere"
            raise FormatError(message, path=path)
        raise FormatError(f"no such file: {path}", path=path, hint=_nearby(path))
    return _open_file(path, named=path)


def _open_file(path: Path, *, named: Path | None = None) -> Checkpoint:
    return unwrapped(_as_stored(path, named=named))


def _as_stored(path: Path, *, named: Path | None = None) -> Checkpoint:
    """Read a file's table of contents by the names that it has."""
    try:
        check_regular(path)
    except OSError as error:
        message = f"{path}: cannot be read as a checkpoint: {error.strerror}"
        raise FormatError(message, path=path) from error
    control = f"{path}.aria2"  # such a file has its whole size already
    if os.path.exists(control):  # noqa: PTH110  which says no where a name is too long
        message = f"{path}: aria2 has not finished its download"
        raise FormatError(message, path=path, hint=f"wait for it, or remove {control}")
    if is_index(path):
        from bmerge.formats.sharded import open_sharded

        return open_sharded(path, _as_stored, named=named)
    known = format_of(path)
    if known is None:  # whatever it is called: its bytes say whether it is
        return open_safetensors(path, named=named)
    with contained():
        found: object = known.open(path, named or path)
    if not isinstance(found, Checkpoint):
        message = f"the format {known.name!r} opens {path} as a {type(found).__name__}"
        raise FormatError(message, path=path, hint="its plugin must return a bmerge.Checkpoint")
    return found


def _open_pipeline(folder: Path) -> Checkpoint:
    """Open the models of a pipeline as one checkpoint, each with its name before its keys."""
    tensors: dict[str, Tensor] = {}
    metadata: dict[str, str] = {}
    for name, file in components_of(folder):
        component = _open_file(file)
        metadata.update(component.metadata)
        for key, tensor in component.tensors.items():
            tensors[f"{name}.{key}"] = renamed(tensor, f"{name}.{key}")
    if not tensors:
        message = f"{folder}: no model of its {PIPELINE} has weights"
        raise FormatError(message, path=folder, hint="download all files of the model")
    return Checkpoint(folder, tensors, metadata)


def _nearby(path: Path) -> str | None:
    """Return a hint with the checkpoints that lie where ``path`` should be."""
    if not path.parent.is_dir():
        return f"the folder {path.parent} does not exist"
    names = sorted(file.name for file in path.parent.glob("*.safetensors"))
    return f"{path.parent} has {', '.join(names[:5])}" if names else None
