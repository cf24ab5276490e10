"""Recipes: what one merge depends on, how it is read and written, and block weights."""

from __future__ import annotations

from bmerge.recipe.document import Node, read_document
from bmerge.recipe.dump import dump_recipe, lora_data, recipe_data
from bmerge.recipe.load import load_recipe, parse_recipe, read_loras
from bmerge.recipe.presets import load_presets
from bmerge.recipe.schema import (
    BlockWeights,
    LoraRef,
    ModelRef,
    OnMissing,
    OnNonFinite,
    Recipe,
)
from bmerge.recipe.weights import parse_weights

__all__ = [
    "BlockWeights",
    "LoraRef",
    "ModelRef",
    "Node",
    "OnMissing",
    "OnNonFinite",
    "Recipe",
    "dump_recipe",
    "load_presets",
    "load_recipe",
    "lora_data",
    "parse_recipe",
    "parse_weights",
    "read_document",
    "read_loras",
    "recipe_data",
]
