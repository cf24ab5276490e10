"""The vocabulary that a merge method's body is written in, beside operators.

Names and meanings follow the Python array API standard. Every function works on

- traced values, when bmerge turns a method into a program for its executors,
- torch tensors, when a method is called as the plain function that it is,
- Python numbers, for arithmetic on hyperparameters.

A value is one per tensor (a hyperparameter, a reduction over the whole tensor, ``rows``), one
per element (an input model, ``row_index``, random numbers), or, after a reduction along an
axis, one per column or per vector, which is repeated along that axis where it meets elements.
One per tensor is float64, the others are float32; where the two meet, the first is rounded to
float32. Comparisons give booleans, which are combined with ``& | ~`` and used by ``where``.

Reductions accumulate in float64. Of a linear layer's weights, (out, in), and of a convolution's,
(out, in, height, width), they give:

- ``axis=None``: one value for the whole tensor.
- ``axis=0``, over dim 0: one for each input of a linear layer, one for each place of the kernel
  and input of a convolution.
- ``axis="filter"``, over all dims but dim 0: one for each output, of both kinds of layer.
- ``axis=-1``, over the last dim: the same for a linear layer; of a convolution one for each row
  of each kernel, which is rarely what is meant.

A tensor of one dimension (a bias, a norm) is one filter, and has one vector. One without
dimensions counts as one of shape (1,).
"""

# ruff: noqa: A001  the names are those of the array API standard

from __future__ import annotations

import sys
from typing import Any, Literal, TypeAlias

from bmerge.errors import MethodError
from bmerge.expr.kinds import FILTERS, WHOLE
from bmerge.expr.scalars import SCALARS
from bmerge.expr.symbol import Symbol

__all__ = [
    "Axis", "Tensor", "abs", "acos", "all", "any", "ceil", "clip", "copysign", "cos", "exp",
    "floor", "isfinite", "isnan", "kth_abs", "log", "logical_and", "logical_not", "logical_or",
    "max", "maximum", "mean", "min", "minimum", "numel", "pow", "random_normal",
    "random_uniform", "round", "row_index", "rows", "sign", "sin", "sqrt", "square", "sum",
    "tanh", "trunc", "vecdot", "vector_norm", "where",
]  # fmt: skip

Tensor: TypeAlias = Any
"""A traced value, a torch tensor or a Python number."""

Axis: TypeAlias = Literal[0, -1, "filter"] | None
"""What a reduction runs over: the whole tensor, dim 0, the last dim, or all dims but dim 0."""

_AXES = {None: WHOLE, "filter": FILTERS, 0: 0, -1: -1}


def abs(x: Tensor) -> Tensor:
    """Return the absolute value of each element."""
    return _apply("abs", x)


def sign(x: Tensor) -> Tensor:
    """Return -1, 0 or 1 for each element; 0 for NaN."""
    return _apply("sign", x)


def sqrt(x: Tensor) -> Tensor:
    """Return the square root of each element; NaN below 0."""
    return _apply("sqrt", x)


def square(x: Tensor) -> Tensor:
    """Return each element times itself."""
    return _apply("square", x)


def exp(x: Tensor) -> Tensor:
    """Return e to the power of each element."""
    return _apply("exp", x)


def log(x: Tensor) -> Tensor:
    """Return the natural logarithm of each element."""
    return _apply("log", x)


def sin(x: Tensor) -> Tensor:
    """Return the sine of each element, in radians."""
    return _apply("sin", x)


def cos(x: Tensor) -> Tensor:
    """Return the cosine of each element, in radians."""
    return _apply("cos", x)


def acos(x: Tensor) -> Tensor:
    """Return the angle in [0, π] whose cosine each element is; NaN outside [-1, 1]."""
    return _apply("acos", x)


def tanh(x: Tensor) -> Tensor:
    """Return the hyperbolic tangent of each element."""
    return _apply("tanh", x)


def floor(x: Tensor) -> Tensor:
    """Return the greatest integer not above each element."""
    return _apply("floor", x)


def ceil(x: Tensor) -> Tensor:
    """Return the least integer not below each element."""
    return _apply("ceil", x)


def trunc(x: Tensor) -> Tensor:
    """Return each element without its fraction."""
    return _apply("trunc", x)


def round(x: Tensor) -> Tensor:
    """Return the integer nearest to each element; halves go to the even one."""
    return _apply("round", x)


def isnan(x: Tensor) -> Tensor:
    """Tell for each element whether it is NaN."""
    return _apply("isnan", x)


def isfinite(x: Tensor) -> Tensor:
    """Tell for each element whether it is neither NaN nor infinite."""
    return _apply("isfinite", x)


def logical_not(x: Tensor) -> Tensor:
    """Return the negation of a boolean; ``~x``."""
    return _apply("logical_not", x)


def logical_and(x: Tensor, y: Tensor) -> Tensor:
    """Tell where both booleans hold; ``x & y``."""
    return _apply("logical_and", x, y)


def logical_or(x: Tensor, y: Tensor) -> Tensor:
    """Tell where either boolean holds; ``x | y``."""
    return _apply("logical_or", x, y)


def pow(x: Tensor, y: Tensor) -> Tensor:
    """Return x to the power of y; ``x ** y``."""
    return x**y if isinstance(x, Symbol) else _apply("pow", x, y)


def minimum(x: Tensor, y: Tensor) -> Tensor:
    """Return the lesser of x and y; NaN if either is."""
    return _apply("minimum", x, y)


def maximum(x: Tensor, y: Tensor) -> Tensor:
    """Return the greater of x and y; NaN if either is."""
    return _apply("maximum", x, y)


def clip(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return x limited to [low, high]; high where low is above high."""
    return minimum(maximum(x, low), high)


def copysign(x: Tensor, y: Tensor) -> Tensor:
    """Return the magnitude of x with the sign of y, -0.0 included."""
    return _apply("copysign", x, y)


def where(condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return x where the boolean condition holds, else y."""
    return _apply("where", condition, x, y)


def sum(x: Tensor, *, axis: Axis = None) -> Tensor:
    """Return the sum of the elements; of booleans, how many hold."""
    return _reduce("sum", axis, x)


def mean(x: Tensor, *, axis: Axis = None) -> Tensor:
    """Return the mean of the elements; NaN of nothing."""
    return _reduce("mean", axis, x)


def vector_norm(x: Tensor, *, axis: Axis = None) -> Tensor:
    """Return the Euclidean norm, the root of the sum of squares."""
    return _reduce("vector_norm", axis, x)


def min(x: Tensor, *, axis: Axis = None) -> Tensor:
    """Return the least element; infinity of nothing."""
    return _reduce("min", axis, x)


def max(x: Tensor, *, axis: Axis = None) -> Tensor:
    """Return the greatest element; minus infinity of nothing."""
    return _reduce("max", axis, x)


def any(x: Tensor, *, axis: Axis = None) -> Tensor:
    """Tell whether any of the booleans holds."""
    return _reduce("any", axis, x)


def all(x: Tensor, *, axis: Axis = None) -> Tensor:
    """Tell whether all of the booleans hold."""
    return _reduce("all", axis, x)


def vecdot(x: Tensor, y: Tensor, *, axis: Axis = None) -> Tensor:
    """Return the sum of the products of x and y."""
    return _reduce("vecdot", axis, x, y)


def kth_abs(x: Tensor, k: Tensor) -> Tensor:
    """Return the k-th smallest absolute value, exactly.

    Args:
        x: elements; NaN counts as greater than all.
        k: one per tensor, counted from 1; truncated, and limited to the number of elements.
    """
    return _apply("kth_abs", x, k)


def row_index(x: Tensor) -> Tensor:
    """Return each element's index along dim 0 of its tensor x, exact up to 2**24 rows."""
    return _leaf("row_index", x)


def rows(x: Tensor) -> Tensor:
    """Return the size of dim 0 of a tensor x."""
    return _leaf("rows", x)


def numel(x: Tensor) -> Tensor:
    """Return the number of elements of a tensor x."""
    return _leaf("numel", x)


def random_uniform(x: Tensor, *, stream: int = 0) -> Tensor:
    """Return random numbers of [0, 1), one for each element of a tensor x.

    The same for any device, order and number of threads. In a merge they follow from the
    recipe's seed and the tensor's key; called on torch tensors, from seed 0.

    Args:
        x: says how many.
        stream: 0 … 2**32 - 1; different streams are independent.
    """
    return _leaf("random_uniform", x, stream)


def random_normal(x: Tensor, *, stream: int = 0) -> Tensor:
    """Return random numbers of the standard normal distribution; see :func:`random_uniform`."""
    return _leaf("random_normal", x, stream)


def _apply(op: str, *args: Tensor, constants: tuple[float, ...] = ()) -> Tensor:
    for arg in args:
        if isinstance(arg, Symbol):
            return arg.recorder.apply(op, args, constants)
    for arg in args:
        if _is_torch(arg):
            from bmerge.expr import eager  # who has a tensor has torch

            return eager.apply(op, args, constants)
    if op not in SCALARS:
        raise MethodError(f"ops.{op} takes a tensor, got {type(args[0]).__name__}")
    return SCALARS[op](*args)


def _reduce(op: str, axis: Axis, *args: Tensor) -> Tensor:
    if axis not in _AXES:
        raise MethodError(f"ops.{op} over axis {axis!r}", hint="axis is None, 0, -1 or 'filter'")
    return _apply(op, *args, constants=(_AXES[axis],))


def _leaf(op: str, x: Tensor, *constants: float) -> Tensor:
    """Give what depends on the shape of a tensor, not on its elements."""
    if isinstance(x, Symbol):
        return x.recorder.apply(op, constants=constants)
    if not _is_torch(x):
        raise MethodError(f"ops.{op} takes a tensor, got {type(x).__name__}")
    from bmerge.expr.window import Window, position

    return position(op, constants, Window.whole(x.shape), x.device)


def _is_torch(x: object) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)
