"""Recipes of other tools, and those that merged files tell, read as recipes of bmerge.

Layer: above recipes, below plans. Nothing of these tools is run or imported. What has no
counterpart here is an error that names it.
"""

from __future__ import annotations

from bmerge.foreign.read import is_merged_file, own_file, read_any_recipe

__all__ = ["is_merged_file", "own_file", "read_any_recipe"]
