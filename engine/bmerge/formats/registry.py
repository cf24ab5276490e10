"""Formats of files by their suffixes: bmerge's own, and those that plugins offer.

A format reads a table of contents: names of tensors, and how each is stored. One that is written,
too, lays a file out before any tensor is there; what fills it may come in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from bmerge import _native
from bmerge.errors import FormatError
from bmerge.faults import contained
from bmerge.formats.checkpoint import Checkpoint
from bmerge.formats.layout import Layout, SafetensorsLayout, TensorRow, in_utf8
from bmerge.formats.safetensors import open_safetensors
from bmerge.records import dataclass

__all__ = [
    "GGUF_SUFFIX",
    "PICKLED_SUFFIXES",
    "SAFETENSORS_SUFFIXES",
    "Format",
    "format_of",
    "lay_out",
    "offer",
]

Opening: TypeAlias = "Callable[[Path, Path], Checkpoint]"
LayingOut: TypeAlias = "Callable[[Path, Sequence[TensorRow], Mapping[str, str]], Layout]"

SAFETENSORS_SUFFIXES = frozenset({".safetensors", ".sft"})
PICKLED_SUFFIXES = frozenset({".ckpt", ".pt", ".pth", ".bin"})
GGUF_SUFFIX = ".gguf"


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file that holds a model.

    Args:
        name: what it is called.
        suffixes: of its files, lower case and with their dot.
        open: reads the table of contents of a file, given its path and what the user called it;
            raises FormatError if it is not sound. Called when a file of such a suffix is opened.
        lay_out: says where everything goes in a file that is to be written, given its path, the
            key, safetensors tag and shape of each tensor, and the metadata; raises FormatError if
            the format cannot hold them. Size and offsets may depend on the metadata's lengths
            alone: it is called again with its final texts. None: such files are only read.
    """

    name: str
    suffixes: frozenset[str]
    open: Opening
    lay_out: LayingOut | None = None


def format_of(path: Path) -> Format | None:
    """Return the format of a file by its suffix; None if there is none of that suffix.

    Plugins are asked for suffixes that are not bmerge's own.
    """
    suffix = path.suffix.lower()
    own = next((each for each in _OWN if suffix in each.suffixes), None)
    if own is not None or not suffix:
        return own
    return next((each for each in _offered() if suffix in each.suffixes), None)


def offer(formats: Callable[[], Iterable[Format]]) -> None:
    """Say where formats of plugins come from; bmerge's own go before them."""
    global _offered  # noqa: PLW0603  the plugins of this process
    _offered = formats


def lay_out(
    path: Path, tensors: Iterable[TensorRow], metadata: Mapping[str, str], *, room: int = 0
) -> Layout:
    """Lay out a file in the format that its suffix says.

    The size and all offsets depend on the lengths of ``metadata`` alone, not on what it says.

    Args:
        path: the name that the file will have.
        tensors: in their order; gone through once, as there may be a million.
        metadata: of the file.
        room: bytes that the header of a safetensors file has at least; a multiple of 8.

    Raises:
        FormatError: if the format cannot hold them.
    """
    metadata = in_utf8(metadata)
    found = format_of(path)
    try:
        if found is None or found.lay_out is None or found.suffixes == SAFETENSORS_SUFFIXES:
            return SafetensorsLayout(tensors, metadata, room)
        with contained():
            made = found.lay_out(path, tuple(tensors), metadata)
    except _native.HeaderError as error:
        raise FormatError(f"{path} cannot be stored: {error}", path=path) from error
    if not all(hasattr(made, name) for name in ("offsets", "size", "finish")):
        message = f"the format {found.name!r} lays {path} out as a {type(made).__name__}"
        hint = "its plugin must return an object with offsets, size and finish"
        raise FormatError(message, path=path, hint=hint)
    return made


def _open_safetensors(path: Path, named: Path) -> Checkpoint:
    return open_safetensors(path, named=named)


def _open_pickled(path: Path, named: Path) -> Checkpoint:
    from bmerge.formats.pickled import open_pickled  # its imports take longer than most merges

    return open_pickled(path, named=named)


def _lay_out_pickled(
    path: Path, tensors: Sequence[TensorRow], metadata: Mapping[str, str]
) -> Layout:
    from bmerge.formats.torch_file import TorchLayout  # few merges write these

    return TorchLayout(path, tensors, metadata)


def _open_gguf(path: Path, named: Path) -> Checkpoint:
    from bmerge.formats.gguf import open_gguf

    return open_gguf(path, named=named)


def _lay_out_gguf(path: Path, tensors: Sequence[TensorRow], metadata: Mapping[str, str]) -> Layout:
    from bmerge.formats.gguf_layout import GgufLayout

    return GgufLayout(path, tensors, metadata)


def _none() -> Iterable[Format]:
    return ()


_offered: Callable[[], Iterable[Format]] = _none
_OWN = (
    Format(
        "safetensors", SAFETENSORS_SUFFIXES, _open_safetensors,
        lambda _, tensors, metadata: SafetensorsLayout(tensors, metadata),
    ),
    Format("torch", PICKLED_SUFFIXES, _open_pickled, _lay_out_pickled),
    Format("GGUF", frozenset({GGUF_SUFFIX}), _open_gguf, _lay_out_gguf),
)  # fmt: skip
