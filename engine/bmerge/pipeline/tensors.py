"""Live tensors of numpy and torch as bytes that can be written, without importing either.

A tensor that is not contiguous in main memory, or has another dtype than the merge, gets a
buffer of its own whose content is converted into it afterwards.
"""

from __future__ import annotations

import sys
from typing import Any

from bmerge.dtypes import TAGS
from bmerge.errors import ExecutorError
from bmerge.plan import OutputTensor

__all__ = ["direct_view", "store"]

_TORCH = {tag: name for name, tag in TAGS.items()}
_NUMPY = {tag: name for name, tag in TAGS.items() if name[:3] in {"int", "uin", "boo"}} | {
    "F16": "float16", "F32": "float32", "F64": "float64",
}  # fmt: skip


def direct_view(tensor: Any, output: OutputTensor) -> memoryview | None:
    """Return a tensor's own memory, or None if the merge cannot be written there as it is.

    Args:
        tensor: a torch tensor or numpy array.
        output: what is to be written to it.

    Raises:
        ExecutorError: if it is neither, has another shape, or must not be written to.
    """
    key = output.key
    if not hasattr(tensor, "data_ptr") and not hasattr(tensor, "__array_interface__"):
        kind = type(tensor).__name__
        raise ExecutorError(f"{key!r} is a {kind}, not a torch tensor or numpy array", key=key)
    if tuple(tensor.shape) != output.shape:
        message = f"{key!r} has shape {list(tensor.shape)} there and {list(output.shape)} here"
        raise ExecutorError(message, key=key)
    return _torch_view(tensor, output) if hasattr(tensor, "data_ptr") else _view(tensor, output)


def store(tensor: Any, output: OutputTensor, data: bytearray) -> None:
    """Convert the bytes of a merged tensor into a live one of any dtype, layout and device."""
    if not data:
        return
    if hasattr(tensor, "data_ptr"):
        torch = sys.modules["torch"]
        dtype = getattr(torch, _TORCH[output.dtype])
        merged = torch.frombuffer(data, dtype=dtype).reshape(output.shape)
        tensor.detach().copy_(merged)
        return
    tensor[...] = _array(data, output)


def _torch_view(tensor: Any, output: OutputTensor) -> memoryview | None:
    tensor = tensor.detach()
    same = str(tensor.dtype).removeprefix("torch.") == _TORCH[output.dtype]
    if tensor.device.type != "cpu" or not same or not tensor.is_contiguous():
        return None
    flat = tensor.reshape(-1).view(sys.modules["torch"].uint8)
    return memoryview(flat.numpy())


def _view(array: Any, output: OutputTensor) -> memoryview | None:
    if not array.flags.writeable:
        raise ExecutorError(f"the array of {output.key!r} is read-only", key=output.key)
    if array.dtype.name != _NUMPY.get(output.dtype) or not array.flags.c_contiguous:
        return None
    return memoryview(array.reshape(-1).view("uint8"))


def _array(data: bytearray, output: OutputTensor) -> Any:
    """Return the numpy array that the bytes of a merged tensor are."""
    import numpy as np

    if output.dtype == "BF16":
        wide = np.frombuffer(data, "<u2").astype("<u4") << 16
        return wide.view("<f4").reshape(output.shape)
    if output.dtype not in _NUMPY:
        message = f"numpy has no {output.dtype} to convert {output.key!r} from"
        raise ExecutorError(message, key=output.key, hint="give torch tensors")
    return np.frombuffer(data, _NUMPY[output.dtype]).reshape(output.shape)
