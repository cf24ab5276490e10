"""What the merge methods compute, in numpy float64, written from their formulas.

Independent of bmerge: neither the methods' bodies nor bmerge.ops are used. Each oracle returns
the terms that its result is the sum of; from them also follows how exact float32 can be.
"""

from __future__ import annotations

import numpy as np


def _weighted_sum(a, b, *, alpha):
    return [(1 - alpha) * a, alpha * b]


def _add_difference(a, b, c, *, alpha):
    return [a, alpha * b, -alpha * c]


def _tensor_sum(a, b, *, alpha, beta):
    """Slices, as the method's source writes it, instead of comparisons with a row index."""
    n = a.shape[0]
    if alpha + beta <= 1:
        result, other = a.copy(), b
        rows = slice(int(n * beta), int(n * (alpha + beta)))
    else:
        result, other = b.copy(), a
        rows = slice(int(n * (alpha + beta - 1)), int(n * beta))
    result[rows] = other[rows]
    return [result]


def _weighted_subtraction(a, b, *, alpha, beta):
    share = min(alpha * beta, 0.999)
    return [a / (1 - share), -share * b / (1 - share)]


_TERMS = {
    "weighted_sum": _weighted_sum,
    "add_difference": _add_difference,
    "tensor_sum": _tensor_sum,
    "weighted_subtraction": _weighted_subtraction,
}

METHODS = {
    "weighted_sum": [{"alpha": 0.3}, {"alpha": 1.7}, {"alpha": -0.25}, {"alpha": 1 / 3}],
    "add_difference": [{"alpha": 0.3}, {"alpha": 1.0}, {"alpha": -2.0}],
    "tensor_sum": [
        {"alpha": 0.5, "beta": 0.25},
        {"alpha": 0.7, "beta": 0.6},
        {"alpha": 0.1, "beta": 0.0},
    ],
    "weighted_subtraction": [
        {"alpha": 0.5, "beta": 0.5},
        {"alpha": 1.0, "beta": 0.97},
        {"alpha": 1.0, "beta": 1.0},
    ],
}
"""Every method with hyperparameters worth trying; none of them makes it a copy of an input."""

N_MODELS = {"weighted_sum": 2, "add_difference": 3, "tensor_sum": 2, "weighted_subtraction": 2}

SHAPES = {
    "0-d": (),
    "empty": (0,),
    "no columns": (4, 0),
    "one": (1,),
    "three": (3,),
    "5x7": (5, 7),
    "1000x3": (1000, 3),
    "4-d": (2, 3, 4, 5),
    "many blocks": (3, 1029),
}
"""Odd shapes; the last is more than three blocks of 1024, and no multiple."""

_MANTISSA = {"F32": 23, "F16": 10, "BF16": 7, "F64": 23}
_LEAST_EXPONENT = {"F32": -126, "F16": -14, "BF16": -126, "F64": -126}
_FLOAT32_ROUNDINGS = 4


def terms(name, inputs, hyperparameters):
    """Run an oracle on arrays of one shape; one without dimensions counts as (1,)."""
    wide = [np.atleast_1d(np.asarray(x, dtype=np.float64)) for x in inputs]
    return [term.reshape(np.shape(inputs[0])) for term in _TERMS[name](*wide, **hyperparameters)]


def assert_close(result, exact_terms, dtype):
    """Assert that a result is the exact one, rounded to ``dtype`` once.

    Half a unit in the last place of ``dtype``, and what float32 arithmetic loses relative to
    the greatest intermediate value.
    """
    exact = sum(exact_terms)
    _, exponent = np.frexp(np.abs(exact))
    unit = np.ldexp(1.0, np.maximum(exponent - 1, _LEAST_EXPONENT[dtype]) - _MANTISSA[dtype])
    float32 = sum(np.abs(term) for term in exact_terms) * 2.0**-24
    allowed = unit / 2 + _FLOAT32_ROUNDINGS * float32
    error = np.abs(np.asarray(result, dtype=np.float64) - exact)
    assert np.all(error <= allowed), f"{np.max(error / unit):.3} units in the last place"
