"""What the operations mean for torch tensors, on any device.

One value per tensor is a 0-d float64 tensor; elements are float32 of one dimension or more,
which torch does not widen when the two meet. Where torch's own function is not exact, or
differs between devices, this module says what is done instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from bmerge.expr.kinds import FILTERS, WHOLE

__all__ = ["OPS", "apply"]


def apply(op: str, args: Sequence[Tensor | float], constants: Sequence[float] = ()) -> Tensor:
    """Run one operation.

    Args:
        op: its name.
        args: tensors, at least one, and Python numbers.
        constants: its constants.
    """
    device = next(arg.device for arg in args if isinstance(arg, Tensor))
    return OPS[op](*(_tensor(arg, device) for arg in args), *constants)


def _tensor(value: Tensor | float, device: torch.device) -> Tensor:
    if isinstance(value, Tensor):
        return value
    dtype = torch.bool if isinstance(value, bool) else torch.float64
    return torch.tensor(value, dtype=dtype, device=device)


def _sqrt(x: Tensor) -> Tensor:
    if x.device.type != "cpu":
        return torch.sqrt(x)
    # torch's is off by one unit now and then on a CPU; the processor's own is exact.
    with np.errstate(invalid="ignore"):
        return torch.from_numpy(np.asarray(np.sqrt(x.numpy())))


def _precise(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Compute in float64 and round once: the same on every device but for very rare ties."""

    def precise(*args: Tensor) -> Tensor:
        result = function(*(arg.double() for arg in args))
        return result.float() if result.ndim else result

    return precise


def _where(condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
    result = torch.where(condition, x, y)
    return result.float() if result.ndim else result


def _also_filters(reduced: Callable[[Tensor, float], Tensor]) -> Callable[[Tensor, float], Tensor]:
    """Let a reduction over the last dim run over filters, too."""

    def over(x: Tensor, axis: float) -> Tensor:
        if axis != FILTERS or x.ndim <= 2:
            return reduced(x, -1 if axis == FILTERS else axis)
        return reduced(x.flatten(1), -1).reshape(-1, *[1] * (x.ndim - 1))

    return over


def _over(function: Callable[..., Tensor]) -> Callable[[Tensor, float], Tensor]:
    """Accumulate in float64; over an axis, keep the result as float32 beside the elements."""

    def reduced(x: Tensor, axis: float) -> Tensor:
        if axis == WHOLE:
            return function(x.flatten(), dim=0, dtype=torch.float64)
        return function(x, dim=int(axis), keepdim=True, dtype=torch.float64).float()

    return _also_filters(reduced)


def _norm(x: Tensor, **options: object) -> Tensor:
    return torch.linalg.vector_norm(x, **options)  # type: ignore[no-any-return]


def _extreme(function: Callable[..., Tensor], of_nothing: float) -> Callable[..., Tensor]:
    def reduced(x: Tensor, axis: float) -> Tensor:
        values = x.flatten() if axis == WHOLE else x
        dim = 0 if axis == WHOLE else int(axis)
        if values.shape[dim] == 0:
            values = values.new_full([n or 1 for n in values.shape], of_nothing)
        result = function(values, dim=dim, keepdim=axis != WHOLE)
        return result.double() if axis == WHOLE else result

    return _also_filters(reduced)


def _quantified(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def reduced(x: Tensor, axis: float) -> Tensor:
        return function(x) if axis == WHOLE else function(x, dim=int(axis), keepdim=True)

    return _also_filters(reduced)


def _vecdot(x: Tensor, y: Tensor, axis: float) -> Tensor:
    return OPS["sum"](x.double() * y.double(), axis)


def _kth_abs(x: Tensor, k: Tensor) -> Tensor:
    values = x.abs().flatten()
    if not values.numel():
        return values.new_zeros((), dtype=torch.float64)
    index = min(max(int(k), 1), values.numel())
    return values.kthvalue(index).values.double()


def _minimum(x: Tensor, y: Tensor) -> Tensor:
    """Return the second of equals, which torch's own does for some elements only: 0.0 and -0.0."""
    return torch.where((x < y) | x.isnan(), x, y).to(torch.result_type(x, y))


def _maximum(x: Tensor, y: Tensor) -> Tensor:
    return torch.where((x > y) | x.isnan(), x, y).to(torch.result_type(x, y))


OPS: dict[str, Callable[..., Tensor]] = {
    "neg": torch.neg, "abs": torch.abs, "sign": torch.sign, "sqrt": _sqrt,
    "square": lambda x: x * x, "exp": _precise(torch.exp), "log": _precise(torch.log),
    "sin": _precise(torch.sin), "cos": _precise(torch.cos), "acos": _precise(torch.acos),
    "tanh": _precise(torch.tanh), "floor": torch.floor, "ceil": torch.ceil,
    "trunc": torch.trunc, "round": torch.round, "isnan": torch.isnan,
    "isfinite": torch.isfinite, "logical_not": torch.logical_not,
    "add": torch.add, "subtract": torch.sub, "multiply": torch.mul, "divide": torch.div,
    "pow": _precise(torch.pow), "minimum": _minimum, "maximum": _maximum,
    "copysign": torch.copysign, "less": torch.lt, "less_equal": torch.le,
    "greater": torch.gt, "greater_equal": torch.ge, "equal": torch.eq,
    "not_equal": torch.ne, "logical_and": torch.logical_and, "logical_or": torch.logical_or,
    "where": _where, "sum": _over(torch.sum), "mean": _over(torch.mean),
    "vector_norm": _over(_norm), "min": _extreme(torch.amin, torch.inf),
    "max": _extreme(torch.amax, -torch.inf), "any": _quantified(torch.any),
    "all": _quantified(torch.all), "vecdot": _vecdot, "kth_abs": _kth_abs,
}  # fmt: skip
"""Operation → function of its arguments and then its constants."""
