"""Unpacking a pickled checkpoint that cannot be read in place into a temporary safetensors file.

This is the one place of the formats that needs torch and holds a whole model in memory.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bmerge import _native
from bmerge.dtypes import TAGS
from bmerge.errors import FormatError
from bmerge.formats.checkpoint import Checkpoint
from bmerge.formats.safetensors import open_safetensors
from bmerge.formats.state_dict import state_dict_of
from bmerge.temporaries import temporary_folder_until_exit, writing_within

__all__ = ["DENSE", "spool"]

_REASON = re.compile(r"(?:WeightsUnpickler error:\s*|(?=Trying to load unsupported))(.+)")
"""What torch says beside advice to load the file anyway, which runs what is in it."""
_REPEATED = 1 << 26
"""Bytes that a tensor may have beyond those that are stored of it."""
DENSE = "save the model with tensors that hold all of their numbers, one after another"
"""What to do about tensors that do not."""
_EXPECTED = (pickle.UnpicklingError, RuntimeError, EOFError, ValueError)


def spool(path: Path, *, named: Path) -> Checkpoint:
    """Load a checkpoint with torch (weights only), and open a copy of it.

    The copy lies in the system's folder for temporary files until the process ends.

    Args:
        path: the file.
        named: what the user called it.

    Raises:
        FormatError: if torch cannot load it without running its code, or it has no tensors.
    """
    tensors = _load(path)
    if not tensors:
        raise FormatError(f"{path}: holds no tensors", path=path)
    try:
        folder = temporary_folder_until_exit("unpacked")
    except OSError as error:
        message = f"cannot make a temporary folder for {path}: {error.strerror}"
        raise FormatError(message, path=path, hint="TMPDIR names another folder") from error
    copy = folder / f"{path.stem}.safetensors"
    for key, tensor in tensors.items():
        _refuse_other(named, key, tensor)
        _refuse_repeated(named, key, tensor)
    layout = [(key, _tag(named, key, each), tuple(each.shape)) for key, each in tensors.items()]
    with writing_within(folder):
        _write(copy, layout, tensors.values())
    return open_safetensors(copy, named=named)


def _load(path: Path) -> dict[str, Any]:
    """Return the tensors of the state dict."""
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what torch may not be able to read: it says so
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's reader looks at little before it takes it: any may come
        message = f"{path}: torch cannot load it: {_reason(error)}"
        raise FormatError(message, path=path) from error
    inner = state_dict_of(content, torch.Tensor) or {}
    return {str(key): value for key, value in inner.items() if isinstance(value, torch.Tensor)}


def _reason(error: Exception) -> str:
    """Return the line of torch's text that says what is wrong, not what else could be tried."""
    found = _REASON.search(str(error))
    text = found[1] if found else (str(error).partition("\n")[0] or "it ends too early")
    return text if isinstance(error, _EXPECTED) else f"{type(error).__name__}: {text}"


def _write(
    path: Path, layout: Sequence[tuple[str, str, tuple[int, ...]]], tensors: Iterable[Any]
) -> None:
    """Write tensors as safetensors, in their order."""
    import torch

    header = _native.encode_header(layout, {}).header
    with path.open("wb") as file:
        file.write(header)
        for tensor in tensors:
            flat = tensor.detach().resolve_conj().resolve_neg().contiguous().reshape(-1)
            file.write(flat.view(torch.uint8).numpy().data)


def _refuse_other(path: Path, key: str, tensor: Any) -> None:
    """Refuse a tensor that is not stored as its elements."""
    layout = str(tensor.layout).removeprefix("torch.")
    kinds = {"nested": tensor.is_nested, "meta": tensor.is_meta, layout: layout != "strided"}
    kind = next((kind for kind, found in kinds.items() if found), None)
    if kind is not None:
        message = f"{path}: {key!r} is a {kind} tensor, which is not read"
        raise FormatError(message, path=path, key=key, hint=DENSE)


def _refuse_repeated(path: Path, key: str, tensor: Any) -> None:
    """Refuse a tensor that makes a large file of a small one: the same numbers again and again."""
    stored, nbytes = tensor.untyped_storage().nbytes(), tensor.numel() * tensor.element_size()
    if nbytes > stored + _REPEATED:
        message = f"{path}: tensor {key!r} of {nbytes} bytes repeats the {stored} of it"
        raise FormatError(message, path=path, key=key, hint=DENSE)


def _tag(path: Path, key: str, tensor: Any) -> str:
    name = str(tensor.dtype).removeprefix("torch.")
    if name not in TAGS:
        message = f"{path}: tensor {key!r} has the unsupported dtype {name}"
        raise FormatError(message, path=path, key=key)
    return TAGS[name]
