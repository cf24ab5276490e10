"""Weights that ConvRot has turned alike, merged as they lie: turned.

A sum of matrices with a factor each may be taken before or after they are turned back. Where all
inputs and the output are turned in groups of the same size, neither is done: what is written
differs by the rounding that turning to and fro takes, which it is then without.
"""

from __future__ import annotations

from dataclasses import replace

from bmerge.expr import is_linear
from bmerge.formats import Codec, CodedTensor
from bmerge.plan.jobs import MergeJob

__all__ = ["unturned"]


def unturned(job: MergeJob) -> MergeJob:
    """Return a job that turns nothing, if it need not; else the job."""
    encoding = job.encoding
    size = None if encoding is None else _group(encoding.codec)
    inputs = [tensor for tensor in job.inputs if isinstance(tensor, CodedTensor)]
    alike = len(inputs) == len(job.inputs) and all(_group(each.codec) == size for each in inputs)
    if encoding is None or size is None or not alike or not is_linear(job.graph):
        return job
    lying = tuple(replace(tensor, codec=_lying(tensor.codec)) for tensor in inputs)
    return replace(job, inputs=lying, encoding=replace(encoding, codec=_lying(encoding.codec)))


def _group(codec: Codec) -> int | None:
    """Return the columns that are turned together; None if none are, or more is done to them."""
    if codec.name != "scaled":
        return None
    *_, factors, _, size = codec.parameters
    return None if factors else size


def _lying(codec: Codec) -> Codec:
    """Return what the same codes are before they are turned back."""
    return replace(codec, parameters=(*codec.parameters[:-1], None))
