"""JSON schemas of study and recipe files, for editors that complete keys and mark mistakes.

Nothing is written twice: keys, types, defaults and meanings are those of the classes that files
are read into, and of the installed plugins' signatures. ``bmerge schema`` prints them.
"""

from __future__ import annotations

from bmerge.schema.recipe import recipe_schema
from bmerge.schema.study import study_schema

__all__ = ["recipe_schema", "study_schema"]
