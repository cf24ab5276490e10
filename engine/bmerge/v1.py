"""What authors of plugins build upon: ``from bmerge.v1 import …``.

The names are those of :mod:`bmerge`, and a plugin may import them from there, too. The difference
is a promise: for as long as there is a ``bmerge.v1``, what it names is there, takes what it took,
and means what it meant. What has to change goes into a ``bmerge.v2`` beside it. Names that are
not here may change from one version to the next.

Like :mod:`bmerge`, it imports nothing before a name is used.
"""

from __future__ import annotations

import bmerge

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bmerge import (
        Alike,
        Architecture,
        ArchitectureError,
        BmergeError,
        Checked,
        Checkpoint,
        Difference,
        Download,
        Exhibit,
        Format,
        FormatError,
        Generator,
        GeneratorError,
        GeneratorKind,
        MergedModel,
        MergeMethod,
        MethodError,
        Optimiser,
        OptimiserKind,
        Parameter,
        Payload,
        PerModel,
        Picture,
        Plan,
        PluginError,
        Range,
        Result,
        Scorer,
        ScorerError,
        ScorerKind,
        Space,
        Statistic,
        StoredPicture,
        StudyError,
        TensorInfo,
        TrialScorer,
        Weight,
        fresh_name,
        hookimpl,
        load_architecture,
        merge_method,
        nearest,
        open_checkpoint,
        ops,
        remove_left_over,
        scorer_folder,
        temporary_folder,
        tensor_method,
    )

__all__ = [
    "Alike",
    "Architecture",
    "ArchitectureError",
    "BmergeError",
    "Checked",
    "Checkpoint",
    "Difference",
    "Download",
    "Exhibit",
    "Format",
    "FormatError",
    "Generator",
    "GeneratorError",
    "GeneratorKind",
    "MergeMethod",
    "MergedModel",
    "MethodError",
    "Optimiser",
    "OptimiserKind",
    "Parameter",
    "Payload",
    "PerModel",
    "Picture",
    "Plan",
    "PluginError",
    "Range",
    "Result",
    "Scorer",
    "ScorerError",
    "ScorerKind",
    "Space",
    "Statistic",
    "StoredPicture",
    "StudyError",
    "TensorInfo",
    "TrialScorer",
    "Weight",
    "fresh_name",
    "hookimpl",
    "load_architecture",
    "merge_method",
    "nearest",
    "open_checkpoint",
    "ops",
    "remove_left_over",
    "scorer_folder",
    "temporary_folder",
    "tensor_method",
]


def __getattr__(name: str) -> Any:
    """Give a name of the promise."""
    if name not in __all__:
        message = f"module 'bmerge.v1' has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(bmerge, name)


def __dir__() -> list[str]:
    return sorted(__all__)
