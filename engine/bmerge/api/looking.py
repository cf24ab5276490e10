"""``bmerge.inspect``, ``diff`` and ``made_of``: what is in files, and how far they are apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from bmerge.architectures import detect
from bmerge.executors import NativeExecutor, ProgressCallback
from bmerge.formats import leading, open_checkpoint
from bmerge.host import load_registry
from bmerge.host.describing import describe_file

if TYPE_CHECKING:
    from bmerge.compare import AlignedModels, Difference, MadeOf

__all__ = ["diff", "inspect", "made_of"]

PathLike: TypeAlias = "str | Path"


def inspect(
    file: PathLike, *, hashes: bool = False, plugins: Sequence[PathLike] = ()
) -> dict[str, Any]:
    """Return what is in a checkpoint or a LoRA, as ``bmerge inspect --json`` prints it.

    Args:
        file: a checkpoint, a folder of shards, or a LoRA; no tensor of it is read.
        hashes: whether the file is read for hashes that are not remembered.
        plugins: plugin files, for architectures of theirs.

    Raises:
        FormatError: if it cannot be read.
    """
    registry = load_registry([str(path) for path in plugins])
    return describe_file(Path(file).expanduser(), registry, hashes=hashes)


def diff(
    a: PathLike,
    b: PathLike,
    *,
    base: PathLike | None = None,
    progress: ProgressCallback | None = None,
) -> Difference:
    """Return how far two models are from each other, block by block and as wholes.

    Args:
        a: the first model.
        b: the other one.
        base: what both come from; the cosines are then of what they have learned.
        progress: called while files are read.

    Raises:
        BmergeError: if a file cannot be read, or they have nothing in common.
    """
    from bmerge.compare import compare

    files = [a, b] if base is None else [a, b, base]
    return compare(_aligned(files), executor=_reader(), progress=progress)


def made_of(
    child: PathLike, *parents: PathLike, progress: ProgressCallback | None = None
) -> MadeOf:
    """Return the weights of which a model is made of others, block by block.

    Args:
        child: the model.
        *parents: two or more.
        progress: called while files are read.

    Raises:
        BmergeError: if a file cannot be read, or they have nothing in common.
    """
    from bmerge.compare import made_of as fit

    return fit(_aligned([child, *parents]), executor=_reader(), progress=progress)


def _aligned(files: Sequence[PathLike]) -> AlignedModels:
    from bmerge.compare import align

    known = load_registry().architectures.known  # and formats, before files are opened
    checkpoints = [open_checkpoint(Path(file).expanduser()) for file in files]
    return align(checkpoints, detect(leading(checkpoints).tensors, known))


def _reader() -> NativeExecutor:
    return NativeExecutor(io="read")  # maps would count as memory
