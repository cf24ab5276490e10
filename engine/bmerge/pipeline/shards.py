"""Which files a merge writes: one, or shards of a limited size and an index, as Hugging Face has.

``model.safetensors`` in shards is ``model-00001-of-00003.safetensors``, … and
``model.safetensors.index.json``, which :func:`bmerge.formats.open_checkpoint` reads back.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

from bmerge.errors import ExecutorError
from bmerge.plan import OutputTensor
from bmerge.records import dataclass

__all__ = ["Shard", "cut", "index_of", "index_text", "previous_shards", "staged_name"]

_SUFFIX = ".safetensors"
STAGED = f".bmerge-tmp{_SUFFIX}"
"""How the name of a shard ends that does not have its own yet."""
_LONGEST = 180
"""Bytes; file systems allow 255 for a name with all that comes after."""
_DESCRIPTION = 100
"""Bytes that a header has for one tensor at most, beside its name and shape."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One file and what it holds.

    Args:
        path: the file.
        tensors: in their order.
    """

    path: Path
    tensors: Sequence[OutputTensor]


def cut(
    tensors: Sequence[OutputTensor], output: Path, size: int | None, *, metadata: int = 0
) -> tuple[Shard, ...]:
    """Divide tensors into files, in their order.

    Args:
        tensors: all of them.
        output: the file, or what shards are named after.
        size: most bytes of one file; a tensor that is larger has a file of its own. None: all
            go into one.
        metadata: bytes that each file needs for its metadata.

    Returns:
        One or more shards; one alone is called ``output``.

    Raises:
        ExecutorError: if no byte goes into a file.
    """
    if size is None:
        return (Shard(output, tensors),)
    if size < 1:
        hint = "leave the size out to write one file"
        raise ExecutorError(f"shards of {size} bytes hold nothing", hint=hint)
    groups: list[list[OutputTensor]] = [[]]
    used = metadata
    for tensor in tensors:
        need = tensor.nbytes + len(json.dumps([tensor.key, tensor.shape])) + _DESCRIPTION
        if groups[-1] and used + need > size:
            groups.append([])
            used = metadata
        groups[-1].append(tensor)
        used += need
    if len(groups) == 1:
        return (Shard(output, tensors),)
    return tuple(
        Shard(output.with_name(_name(output, number, len(groups))), tuple(group))
        for number, group in enumerate(groups, start=1)
    )


def index_of(output: Path) -> Path:
    """Return the index of the shards that are named after ``output``."""
    return output.with_name(f"{_stem(output)}{_SUFFIX}.index.json")


def index_text(shards: Sequence[Shard], names: Sequence[str]) -> bytes:
    """Return the index: which tensor is in which file.

    Args:
        shards: what the files hold.
        names: of the files.
    """
    named = zip(shards, names, strict=True)
    weight_map = {tensor.key: name for shard, name in named for tensor in shard.tensors}
    total = sum(tensor.nbytes for shard in shards for tensor in shard.tensors)
    data = {"metadata": {"total_size": total}, "weight_map": weight_map}
    return json.dumps(data, indent=2, ensure_ascii=False).encode("utf-8", "backslashreplace")


def staged_name(shard: Path) -> Path:
    """Return a name that no file has, for a shard that does not have its own yet.

    It tells the process that it is of, see :mod:`bmerge.temporaries`.
    """
    stem = os.fsdecode(os.fsencode(_stem(shard))[:_LONGEST])
    return shard.with_name(f"{stem}.{os.getpid()}-{os.urandom(8).hex()}{STAGED}")


def previous_shards(output: Path) -> tuple[Path, ...]:
    """Return the shards named after ``output`` that lie there, of a merge into any number."""
    ends = rf"(\.\d+-[0-9a-f]{{16}}{re.escape(STAGED)}|{re.escape(_SUFFIX)})"
    name = re.compile(rf"{re.escape(_stem(output))}-\d{{5,}}-of-\d{{5,}}{ends}")
    if not output.parent.is_dir():
        return ()
    found = (file for file in output.parent.iterdir() if name.fullmatch(file.name))
    return tuple(sorted(file for file in found if not file.is_dir()))


def _stem(output: Path) -> str:
    return output.name.removesuffix(_SUFFIX)


def _name(output: Path, number: int, count: int) -> str:
    return f"{_stem(output)}-{number:05}-of-{count:05}{_SUFFIX}"
