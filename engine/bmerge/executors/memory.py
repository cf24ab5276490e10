"""How much memory it takes to compute one tensor whole, as the torch executor does on CUDA."""

from __future__ import annotations

from functools import lru_cache

from bmerge.dtypes import SIZES
from bmerge.expr import Graph
from bmerge.plan import MergeJob, Plan

__all__ = ["AHEAD", "IN_FLIGHT", "largest_staging", "largest_working_set", "staging", "working_set"]

IN_FLIGHT = 2
"""Parts in main memory at once where none is computed ahead: one is computed, one is read."""

AHEAD = 1
"""Parts that a GPU computes ahead, so that it need not wait for files and transfers."""

_FLOAT32 = 4
_CALLED = 6
"""Copies of a tensor that a function of whole tensors is taken to hold beside its inputs."""
_PER_TENSOR = frozenset({"scalar", "constant", "rows", "numel"})


def working_set(job: MergeJob) -> int:
    """Return the bytes that are in use at the worst moment of a job.

    Inputs as they are stored, all of them in float32, the intermediate values that are alive at
    once, and the output.
    """
    stored = sum(info.nbytes for info in job.used_inputs)
    return stored + _FLOAT32 * job.numel * (_alive(job.graph) + 1)


def staging(job: MergeJob, ahead: int) -> int:
    """Return the bytes of main memory that inputs and outputs of a job's size take, as stored.

    Args:
        job: one that is computed whole.
        ahead: how many parts a device computes ahead.
    """
    stored = sum(SIZES[info.dtype] for info in job.used_inputs) + SIZES[job.dtype]
    return (IN_FLIGHT + ahead) * stored * job.numel


def largest_staging(plan: Plan) -> int:
    """Return the most main memory that a tensor takes which a GPU needs whole; 0 if none is."""
    whole = (job for job in plan.merges if job.graph.has_reduction)
    return max((staging(job, AHEAD) for job in whole), default=0)


def largest_working_set(plan: Plan) -> int:
    """Return the working set of a plan's most demanding job; 0 if nothing is computed."""
    return max(map(working_set, plan.merges), default=0)


@lru_cache(maxsize=256)
def _alive(graph: Graph) -> int:
    """Return how many values of one number per element are alive at once, inputs included."""
    last = {arg: index for index, node in enumerate(graph.nodes) for arg in node.args}
    sized = {i for i, node in enumerate(graph.nodes) if node.op not in _PER_TENSOR}
    inputs = {i for i in sized if graph.nodes[i].op == "input"}
    most, alive = len(inputs), set(inputs)
    for index, node in enumerate(graph.nodes):
        if index in sized:
            alive.add(index)
        most = max(most, len(alive) + (_CALLED if node.op == "call" else 0))
        alive -= {arg for arg in node.args if last[arg] == index and arg not in inputs}
    return most
