"""Running one graph over float32 arrays: natively, and by the torch executor's arithmetic."""

from __future__ import annotations

import numpy as np
import torch

from bmerge import _native
from bmerge.executors.native import program_of
from bmerge.expr.evaluate import evaluate
from bmerge.expr.filters import matrix_shape
from bmerge.expr.window import Window


def run_native(graph, inputs, scalars, seed=0, threads=1):
    """Run a graph with the native engine on float32 arrays."""
    program = program_of(graph)
    out = np.zeros(inputs[0].shape, dtype=np.float32)
    sources = [np.ascontiguousarray(x).reshape(-1).view(np.uint8) for x in inputs]
    job_inputs = [(i, 0, "F32") for i in range(program.inputs)]
    job = (
        0,
        job_inputs,
        scalars[: program.scalars],
        matrix_shape(graph, inputs[0].shape),
        0,
        0,
        "F32",
        seed,
    )
    _native.merge(
        programs=[program], sources=sources, sinks=[out.reshape(-1).view(np.uint8)], jobs=[job],
        threads=threads, on_nonfinite="report",
    )  # fmt: skip
    return out


def run_torch(graph, inputs, scalars, seed=0):
    """Run a graph with the torch executor's arithmetic."""
    shape = inputs[0].shape or (1,)
    tensors = {i: torch.from_numpy(inputs[i].reshape(shape).copy()) for i in graph.inputs}
    window = Window.whole(shape, seed)
    result = evaluate(graph, tensors, scalars, window, torch.device("cpu"))
    return result.numpy().reshape(inputs[0].shape)


def assert_same_bits(one, other):
    """Assert equality of every bit, but for those of NaN."""
    canonical = [np.where(np.isnan(x), np.float32("nan"), x).view(np.uint32) for x in (one, other)]
    np.testing.assert_array_equal(*canonical)
