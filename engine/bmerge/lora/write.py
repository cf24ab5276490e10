"""Writing a LoRA file whose ranks, and so whose header, are only known at the end.

Tensors go to a spool beside the file first; the file itself appears complete or not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from bmerge import _native
from bmerge.dtypes import SIZES
from bmerge.errors import FormatError
from bmerge.formats.registry import lay_out
from bmerge.formats.target import new_output, target_of
from bmerge.lora.arrays import Array, encode
from bmerge.lora.decompose import Factors

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["LoraWriter", "rank_metadata"]

_CHUNK = 1 << 22
_EXPONENT = {"F16": ("<u2", 0x7C00), "BF16": ("<u2", 0x7F80), "F32": ("<u4", 0x7F80_0000)}
"""Number format → its bits, and those that are all set in NaN and infinity."""


class LoraWriter:
    """Collects tensors of a file; a context manager.

    Args:
        path: the file.
        dtype: of all tensors: F16, BF16 or F32.

    Raises:
        FormatError: if it cannot be written there.
    """

    def __init__(self, path: Path, dtype: str) -> None:
        self._path = path
        self._target = target_of(path)
        self._dtype = dtype
        self._tensors: list[tuple[str, str, tuple[int, ...]]] = []
        self._digest = hashlib.sha256()
        try:
            self._spool = tempfile.TemporaryFile(dir=self._target.parent)  # noqa: SIM115  closed by exit
        except OSError as error:
            raise self._failed(error) from error

    def add(self, key: str, values: Array) -> None:
        """Add one tensor.

        Raises:
            FormatError: if it would hold NaN or a value beyond the number format.
        """
        with np.errstate(over="ignore"):
            data = encode(values, self._dtype)
        bits, exponent = _EXPONENT[self._dtype]
        if (np.frombuffer(data, bits) & exponent == exponent).any():
            message = f"{key!r} in {self._path.name} would hold NaN or a value beyond {self._dtype}"
            hint = "--dtype fp32 holds greater values"
            raise FormatError(message, path=self._path, key=key, hint=hint)
        try:
            self._spool.write(data)
        except OSError as error:
            raise self._failed(error) from error
        self._digest.update(data)
        self._tensors.append((key, self._dtype, values.shape))

    def add_factors(self, name: str, factors: Factors, shape: tuple[int, ...]) -> None:
        """Add a layer with the names that kohya's trainers give its tensors.

        Args:
            name: of the layer.
            factors: of its change.
            shape: of its weight, which says whether it is a convolution.
        """
        rank, kernel = factors.rank, shape[2:]
        self.add(f"{name}.lora_up.weight", factors.up.reshape(-1, rank, *[1] * len(kernel)))
        self.add(f"{name}.lora_down.weight", factors.down.reshape(rank, *shape[1:]))
        self.add(f"{name}.alpha", np.array(rank, "f4"))

    def commit(self, metadata: Mapping[str, str]) -> int:
        """Write the file and return its size.

        Raises:
            FormatError: if it cannot be written.
        """
        text = {"format": "pt", **metadata, "sshs_model_hash": self._digest.hexdigest()}
        layout = lay_out(self._path, self._tensors, text)
        try:
            file = new_output(self._target, layout.size)
            self._spool.seek(0)
            for (_, dtype, shape), offset in zip(self._tensors, layout.offsets, strict=True):
                size = math.prod(shape) * SIZES[dtype]
                for begin in range(0, size, _CHUNK):
                    data = self._spool.read(min(_CHUNK, size - begin))
                    file.write_at(offset + begin, data)
            layout.finish(file)
            file.commit(sync=True)
        except _native.IoError as error:
            raise FormatError(str(error), path=self._path) from error
        except OSError as error:
            raise self._failed(error) from error
        return layout.size

    def _failed(self, error: OSError) -> FormatError:
        """Return what is said of a failure of the spool."""
        message = f"cannot write {self._path}: {error.strerror}"
        return FormatError(message, path=self._path)

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Remove the spool."""
        with contextlib.suppress(OSError):  # of what could not be written before
            self._spool.close()


def rank_metadata(ranks: Iterable[int], most: int | None) -> dict[str, str]:
    """Return what kohya's trainers write of a network's size.

    Args:
        ranks: of all layers.
        most: the rank that was asked for, if the layers have it or all that they can have.
    """
    dimension = "Dynamic" if most is None else str(most)
    return {
        "ss_network_module": "networks.lora",
        "ss_network_dim": dimension,
        "ss_network_alpha": dimension,
        "bmerge.lora.largest_rank": str(max(ranks, default=0)),
    }
