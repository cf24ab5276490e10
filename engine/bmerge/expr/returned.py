"""What a function of whole tensors returns, checked before anything is made of it.

A result of another shape would be repeated to fit, one of another dtype converted: the merge
would end well and the model be wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bmerge.errors import MethodError
from bmerge.expr.graph import Function

__all__ = ["checked"]


def checked(result: object, called: Function, models: Sequence[Tensor]) -> Tensor:
    """Return what a function has returned, if that can be the merged tensor.

    Args:
        result: what it returned.
        called: the function.
        models: the tensors that it was given, all of one shape and on one device.

    Raises:
        MethodError: names the method and says what was expected.
    """
    problem = _problem(result, models[0])
    if problem is None:
        assert isinstance(result, Tensor)
        problem = _without_values(result, models)
        if problem is None:
            return result
    shape = list(models[0].shape)
    hint = f"{called.place or called.name} must return floats of the models' shape, {shape}"
    raise MethodError(f"{called.name} returns {problem}", hint=hint)


def _problem(result: object, model: Tensor) -> str | None:
    if not isinstance(result, Tensor):
        named = "None" if result is None else f"a {type(result).__name__}"
        return f"{named}, not a tensor"
    if result.shape != model.shape:
        return f"a tensor of shape {list(result.shape)}, not {list(model.shape)}"
    if not result.dtype.is_floating_point:
        return f"a tensor of {str(result.dtype).removeprefix('torch.')}, not of floats"
    if result.device != model.device:
        return f"a tensor on {result.device}, not on {model.device}"
    if result.layout is not torch.strided:
        return "a sparse tensor"
    return None


def _without_values(result: Tensor, models: Sequence[Tensor]) -> str | None:
    """Return what is wrong with a tensor of nothing but NaN."""
    if not bool(result.flatten()[0].isnan()) or not bool(result.isnan().all()):
        return None
    finite = all(bool(torch.isfinite(model).all()) for model in models)
    return "nothing but NaN, though the models are finite" if finite else None
