"""Recipes of other tools, read as recipes of bmerge.

Layer: above recipes, below plans. Nothing of these tools is run or imported. What has no
counterpart here is an error that names it.
"""

from __future__ import annotations

from bmerge.foreign.read import read_any_recipe

__all__ = ["read_any_recipe"]
