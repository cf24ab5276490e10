"""The files of a study's folder, which is all that many commands know of it."""

from __future__ import annotations

from pathlib import Path

__all__ = ["CHECKPOINT", "DATABASE", "IDENTITY", "MARKS", "RECIPE", "STORAGE"]

DATABASE = "study.db"
"""Its trials, where they are stored in the folder."""

STORAGE = "storage.url"
"""Where they are stored if not."""

IDENTITY = "study.id"
"""The id that its row has in a database of many studies."""

MARKS = (DATABASE, STORAGE)
"""One of them is there if the folder holds a study."""

CHECKPOINT = Path("best", "best.safetensors")
"""The best merge."""

RECIPE = Path("best", "recipe.yaml")
"""How it is made."""
