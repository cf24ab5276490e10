"""What the core is told of each job, by name: rows of :func:`bmerge._native.merge`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

__all__ = ["BaseRow", "CopyRow", "JobRow"]


class JobRow(NamedTuple):
    """One tensor to compute.

    Args:
        program: index into the programs.
        inputs: one for each input of the program; see ``_Input`` of the core.
        scalars: one for each hyperparameter of the program.
        shape: of every input and of the output.
        sink: index of the target.
        offset: in bytes, within it.
        kind: the output's dtype; or a codec's parameters, rows, and the places of its companions.
        seed: of the job's random numbers.
    """

    program: int
    inputs: Sequence[Any]
    scalars: Sequence[float]
    shape: Sequence[int]
    sink: int
    offset: int
    kind: Any
    seed: int


class CopyRow(NamedTuple):
    """One range of bytes to copy unchanged.

    Args:
        source: index of the source.
        begin: in bytes, within it.
        nbytes: how many.
        sink: index of the target.
        offset: in bytes, within it.
    """

    source: int
    begin: int
    nbytes: int
    sink: int
    offset: int

    def then(self, other: CopyRow) -> CopyRow | None:
        """Return both as one, if the other continues this one on both sides."""
        ends = self.source, self.begin + self.nbytes, self.sink, self.offset + self.nbytes
        if ends != (other.source, other.begin, other.sink, other.offset):
            return None
        return self._replace(nbytes=self.nbytes + other.nbytes)


class BaseRow(NamedTuple):
    """What a job's output is a change of.

    Args:
        job: index of the job.
        input: what it was.
        sampled: how many of its elements are looked at.
    """

    job: int
    input: Any
    sampled: int
