"""Merge methods: a plain function over tensors is all that one is.

``@merge_method`` reads the function's signature: positional parameters are input models,
keyword-only ones are hyperparameters and options. From it come the command line's options, the
checks of recipes and the search space of studies. Layer: above :mod:`bmerge.ops`, below recipes
and plans.
"""

from bmerge.method.content import Alike, ContentKind, Difference
from bmerge.method.declare import merge_method, tensor_method
from bmerge.method.group import ParameterGroup
from bmerge.method.hyperparameter import Hyperparameter, PerModel, Range, Weight
from bmerge.method.method import MergeMethod
from bmerge.method.option import Option, OptionValue, option_text
from bmerge.method.statistic import Statistic
from bmerge.method.taken import TAKEN

__all__ = [
    "TAKEN",
    "Alike",
    "ContentKind",
    "Difference",
    "Hyperparameter",
    "MergeMethod",
    "Option",
    "OptionValue",
    "ParameterGroup",
    "PerModel",
    "Range",
    "Statistic",
    "Weight",
    "merge_method",
    "option_text",
    "tensor_method",
]
