"""Recipes of other tools, and those that merged files tell, read as recipes of bmerge.

Layer: above recipes, below plans. Nothing of these tools is run or imported. What has no
counterpart here is an error that names it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bmerge.rooms import offering

if TYPE_CHECKING:
    from bmerge.foreign.read import is_merged_file, own_file, read_any_recipe
else:
    _HOMES = {"bmerge.foreign.read": "is_merged_file own_file read_any_recipe"}
    __getattr__ = offering(__name__, _HOMES)

__all__ = ["is_merged_file", "own_file", "read_any_recipe"]
