"""Merge Stable Diffusion checkpoints block by block; let an optimiser find the best merge.

The public names, each imported from its room when it is first used: ``import bmerge`` itself
imports none of them, above all neither torch nor numpy nor optuna. Plugins import from here only.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing takes longer to import than all that is done here
if TYPE_CHECKING:
    from typing import Any

    from bmerge import ops
    from bmerge.api import Study, convert, diff, inspect, made_of, merge
    from bmerge.architectures import Architecture, Rule, detect, load_architecture
    from bmerge.architectures.located import ParameterPlace, PipelineParts, pipeline_parts
    from bmerge.errors import (
        ArchitectureError,
        Blame,
        BmergeError,
        ExecutorError,
        FormatError,
        GeneratorError,
        MethodError,
        MissingExtraError,
        PluginError,
        RecipeError,
        ScorerError,
        StudyError,
        StudyInterruptedError,
        nearest,
    )
    from bmerge.evaluate.protocols import (
        Checked,
        Exhibit,
        Generator,
        MergedModel,
        Payload,
        Picture,
        Scorer,
        StoredPicture,
        TrialScorer,
    )
    from bmerge.evaluate.weights import Download, scorer_folder
    from bmerge.formats import Checkpoint, TensorInfo, open_checkpoint
    from bmerge.formats.registry import Format
    from bmerge.host import Registry, hookimpl, load_registry
    from bmerge.host.kinds import GeneratorKind, OptimiserKind, ScorerKind
    from bmerge.method import (
        Alike,
        Difference,
        Hyperparameter,
        MergeMethod,
        Option,
        ParameterGroup,
        PerModel,
        Range,
        Statistic,
        Weight,
        merge_method,
        tensor_method,
    )
    from bmerge.options import About, OptionGroup, option, unfolded
    from bmerge.pipeline import Merger, merge_to_file
    from bmerge.plan import Plan, make_plan
    from bmerge.rating import PersonScorer
    from bmerge.recipe import BlockWeights, LoraRef, ModelRef, Recipe, dump_recipe, load_recipe
    from bmerge.space.cube import Cube
    from bmerge.space.protocols import Optimiser, Parameter, ParameterKind, Result, Space
    from bmerge.storage.protocol import Storage, StorageKind, StoredTrial
    from bmerge.system import split_command
    from bmerge.temporaries import fresh_name, remove_left_over, temporary_folder
    from bmerge.version import __version__
else:
    from bmerge.rooms import offering

    _HOMES = {
        "bmerge.api.converting": "convert",
        "bmerge.api.looking": "diff inspect made_of",
        "bmerge.api.merging": "merge",
        "bmerge.api.studies": "Study",
        "bmerge.architectures": "Architecture Rule detect load_architecture",
        "bmerge.architectures.located": "PipelineParts ParameterPlace pipeline_parts",
        "bmerge.errors": (
            "ArchitectureError Blame BmergeError ExecutorError FormatError GeneratorError "
            "MethodError MissingExtraError PluginError RecipeError ScorerError "
            "StudyError StudyInterruptedError nearest"
        ),
        "bmerge.evaluate.protocols": (
            "Checked Exhibit Generator MergedModel Payload Picture Scorer StoredPicture TrialScorer"
        ),
        "bmerge.evaluate.weights": "Download scorer_folder",
        "bmerge.formats": "Checkpoint TensorInfo open_checkpoint",
        "bmerge.formats.registry": "Format",
        "bmerge.host.hookspecs": "hookimpl",
        "bmerge.host.kinds": "GeneratorKind OptimiserKind ScorerKind",
        "bmerge.host.registry": "Registry load_registry",
        "bmerge.method": (
            "Alike Difference Hyperparameter MergeMethod Option ParameterGroup PerModel Range "
            "Statistic Weight merge_method tensor_method"
        ),
        "bmerge.options": "About OptionGroup option unfolded",
        "bmerge.pipeline": "Merger merge_to_file",
        "bmerge.plan": "Plan make_plan",
        "bmerge.rating": "PersonScorer",
        "bmerge.recipe": "BlockWeights LoraRef ModelRef Recipe dump_recipe load_recipe",
        "bmerge.system": "split_command",
        "bmerge.temporaries": "fresh_name remove_left_over temporary_folder",
        "bmerge.space.cube": "Cube",
        "bmerge.storage.protocol": "Storage StorageKind StoredTrial",
        "bmerge.space.protocols": "Optimiser Parameter ParameterKind Result Space",
        "bmerge.version": "__version__",
    }
    _attribute = offering(__name__, _HOMES)

    def __getattr__(name: str) -> Any:
        if name != "ops":
            return _attribute(name)
        import importlib

        return importlib.import_module("bmerge.ops")


__all__ = [
    "About",
    "Alike",
    "Architecture",
    "ArchitectureError",
    "Blame",
    "BlockWeights",
    "BmergeError",
    "Checked",
    "Checkpoint",
    "Cube",
    "Difference",
    "Download",
    "ExecutorError",
    "Exhibit",
    "Format",
    "FormatError",
    "Generator",
    "GeneratorError",
    "GeneratorKind",
    "Hyperparameter",
    "MergeMethod",
    "MergedModel",
    "Merger",
    "MethodError",
    "MissingExtraError",
    "LoraRef",
    "ModelRef",
    "Option",
    "OptionGroup",
    "Optimiser",
    "OptimiserKind",
    "Parameter",
    "ParameterGroup",
    "ParameterPlace",
    "ParameterKind",
    "Payload",
    "PerModel",
    "PersonScorer",
    "Picture",
    "PipelineParts",
    "Plan",
    "PluginError",
    "Range",
    "Recipe",
    "RecipeError",
    "Registry",
    "Result",
    "Rule",
    "Scorer",
    "ScorerError",
    "ScorerKind",
    "Space",
    "Statistic",
    "Storage",
    "StorageKind",
    "StoredPicture",
    "StoredTrial",
    "Study",
    "StudyError",
    "StudyInterruptedError",
    "TensorInfo",
    "TrialScorer",
    "Weight",
    "__version__",
    "convert",
    "detect",
    "diff",
    "dump_recipe",
    "fresh_name",
    "hookimpl",
    "inspect",
    "load_architecture",
    "load_recipe",
    "load_registry",
    "made_of",
    "make_plan",
    "merge",
    "merge_method",
    "merge_to_file",
    "nearest",
    "open_checkpoint",
    "ops",
    "option",
    "pipeline_parts",
    "remove_left_over",
    "scorer_folder",
    "split_command",
    "temporary_folder",
    "tensor_method",
    "unfolded",
]


def __dir__() -> list[str]:
    return sorted(__all__)
