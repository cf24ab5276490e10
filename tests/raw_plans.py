"""Plans over tensors that lie one after the other in a raw file; no checkpoint is needed."""

from __future__ import annotations

import math

import numpy as np
import torch

from bmerge.dtypes import SIZES
from bmerge.formats import TensorInfo
from bmerge.plan import Jobs, MergeJob, OutputTensor, Plan
from bmerge.recipe import Recipe

TORCH = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
}  # fmt: skip


class BufferSink:
    """A sink of one buffer that holds every output tensor; foreign bytes stay as they are."""

    def __init__(self, plan):
        self._outputs = {tensor.key: tensor for tensor in plan.outputs}
        end = max((t.offset + t.nbytes for t in plan.outputs), default=0)
        self.buffer = bytearray(b"\xaa" * (end + 8))
        self.targets = [self.buffer]

    def locate(self, key):
        return 0, self._outputs[key].offset

    def write(self, key, offset, data):
        begin = self._outputs[key].offset + offset
        self.buffer[begin : begin + len(data)] = data

    def bytes_of(self, key):
        tensor = self._outputs[key]
        return bytes(self.buffer[tensor.offset : tensor.offset + tensor.nbytes])


def store(path, arrays, dtype):
    """Write float arrays to a file; return a TensorInfo for each, and the values as rounded."""
    infos, rounded, offset = [], [], 0
    with path.open("wb") as file:
        for index, array in enumerate(arrays):
            tensor = torch.from_numpy(np.ascontiguousarray(array).reshape(-1)).to(TORCH[dtype])
            data = tensor.view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
            file.write(data)
            infos.append(TensorInfo(f"t{index}", dtype, np.shape(array), path, offset, len(data)))
            rounded.append(tensor.double().numpy().reshape(np.shape(array)))
            offset += len(data)
    return infos, rounded


def value_of(data, dtype, shape):
    """Return the numbers in the bytes of a tensor."""
    raw = torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.empty(0)
    return raw.view(TORCH[dtype]).double().reshape(shape).numpy() if data else np.empty(shape)


def make_job(key, graph, inputs, scalars=(), *, dtype="F32", seed=0):
    shape = inputs[0].shape
    return MergeJob(key, "", graph, tuple(inputs), tuple(scalars), shape, dtype, seed)


def make_plan(merges, *, copies=(), fills=(), on_nonfinite="error"):
    """Put jobs together; their outputs follow one another."""
    outputs, offset = [], 0
    sized = [(job.key, job.dtype, job.shape) for job in merges]
    sized += [(job.key, job.source.dtype, job.source.shape) for job in copies]
    sized += [(job.key, "U8", (len(job.data),)) for job in fills]
    for key, dtype, shape in sized:
        outputs.append(OutputTensor(key, dtype, shape, offset))
        offset += math.prod(shape) * SIZES[dtype]
    recipe = Recipe("test", (), on_nonfinite=on_nonfinite)
    jobs = Jobs.of((*merges, *copies, *fills))
    return Plan(recipe, (), None, (), jobs, tuple(outputs), ())


def run(executor, plan, **options):
    """Run a plan into memory; return the sink and the report."""
    sink = BufferSink(plan)
    report = executor.run(plan, sink, **options)
    return sink, report
