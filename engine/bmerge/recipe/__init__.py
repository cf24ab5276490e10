"""Recipes: what one merge depends on, how it is read and written, and block weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bmerge.rooms import offering

if TYPE_CHECKING:
    from bmerge.recipe.baked import with_parts
    from bmerge.recipe.document import Node, read_document
    from bmerge.recipe.dump import dump_recipe, lora_data, plugin_data, recipe_data
    from bmerge.recipe.load import load_recipe, parse_recipe, read_loras
    from bmerge.recipe.presets import load_presets
    from bmerge.recipe.schema import (
        ZERO,
        AnyStep,
        BlockWeights,
        Content,
        Fallback,
        LoraRef,
        ModelRef,
        OnMissing,
        OnNonFinite,
        Pick,
        PluginRef,
        Recipe,
        Step,
        Value,
    )
    from bmerge.recipe.weights import parse_weights
else:
    _HOMES = {
        "bmerge.recipe.baked": "with_parts",
        "bmerge.recipe.document": "Node read_document",
        "bmerge.recipe.dump": "dump_recipe lora_data plugin_data recipe_data",
        "bmerge.recipe.load": "load_recipe parse_recipe read_loras",
        "bmerge.recipe.presets": "load_presets",
        "bmerge.recipe.schema": (
            "ZERO AnyStep BlockWeights Content Fallback LoraRef ModelRef OnMissing "
            "OnNonFinite Pick PluginRef Recipe Step Value"
        ),
        "bmerge.recipe.weights": "parse_weights",
    }
    __getattr__ = offering(__name__, _HOMES)

__all__ = [
    "ZERO",
    "AnyStep",
    "BlockWeights",
    "Content",
    "Fallback",
    "LoraRef",
    "ModelRef",
    "Node",
    "OnMissing",
    "OnNonFinite",
    "Pick",
    "PluginRef",
    "Recipe",
    "Step",
    "Value",
    "dump_recipe",
    "load_presets",
    "load_recipe",
    "lora_data",
    "parse_recipe",
    "parse_weights",
    "plugin_data",
    "read_document",
    "read_loras",
    "recipe_data",
    "with_parts",
]
