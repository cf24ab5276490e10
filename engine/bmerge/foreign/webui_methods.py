"""Which method of bmerge is which of supermerger's and Chattiori's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["CHATTIORI", "MODES", "SUPERMERGER", "WebuiMethod"]


class WebuiMethod(NamedTuple):
    """A method.

    Args:
        ours: the method here.
        models: what it takes.
        hyperparameters: what alpha and beta are here.
        exclude: keys that it leaves as they are.
    """

    ours: str
    models: str
    hyperparameters: tuple[str, ...] = ("alpha",)
    exclude: tuple[str, ...] = ()


_BOTH = ("alpha", "beta")
_NO_NORM = ("*to_out*", "*proj_out*", "*norm*")
_VAE = ("first_stage_model.*",)

MODES: Mapping[str, WebuiMethod] = {
    "weight sum": WebuiMethod("weighted_sum", "ab"),
    "add difference": WebuiMethod("add_difference", "abc"),
    "triple sum": WebuiMethod("triple_sum", "abc", _BOTH),
    "sum twice": WebuiMethod("sum_twice", "abc", _BOTH),
}
"""Modes of supermerger with its normal calculation."""

SUPERMERGER: Mapping[str, WebuiMethod] = {
    "trainDifference": WebuiMethod("train_difference", "abc"),
    "smoothAdd": WebuiMethod("smooth_add", "abc"),
    "smoothAdd MT": WebuiMethod("smooth_add", "abc"),
    "tensor": WebuiMethod("tensor_sum", "ab", _BOTH),
    "tensor2": WebuiMethod("tensor_columns", "ab", _BOTH),
    "self": WebuiMethod("passthrough", "a", ("scale",), _NO_NORM),
    "cosineA": WebuiMethod("cosine_a", "ab", exclude=_VAE),
    "cosineB": WebuiMethod("cosine_b", "ab", exclude=_VAE),
}
"""Its other calculations. extract has a third value that the recipe does not tell."""

CHATTIORI: Mapping[str, WebuiMethod] = {
    "weighted sum": WebuiMethod("weighted_sum", "ab"),
    "add difference": WebuiMethod("add_difference", "abc"),
    "multiply difference": WebuiMethod("multiply_difference", "abc", _BOTH),
    "similarity add difference": WebuiMethod("similarity_add_difference", "abc", _BOTH),
    "triple sum": WebuiMethod("triple_sum", "abc", _BOTH),
    "sum twice": WebuiMethod("sum_twice", "abc", _BOTH),
    "smooth add difference": WebuiMethod("smooth_add", "abc"),
    "tensor sum": WebuiMethod("tensor_sum", "ab", _BOTH),
    "train difference": WebuiMethod("train_difference", "abc"),
    "sigmoid merge": WebuiMethod("sigmoid_sum", "ab"),
    "geometric sum": WebuiMethod("geometric_sum", "ab"),
    "max merge": WebuiMethod("maximum", "ab", ()),
}
"""Names in Chattiori's recipes, of which the first two are the web UI's too."""
