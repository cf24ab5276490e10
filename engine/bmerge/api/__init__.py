"""bmerge from Python: merges, looks at files and studies in a line or two each.

What the command line does, for programs and notebooks: names are looked up, nothing is printed,
and what is there to know is in the result. Everything here is public as ``bmerge.…``.
"""

from __future__ import annotations

from bmerge.api.converting import convert
from bmerge.api.looking import diff, inspect, made_of
from bmerge.api.merging import merge
from bmerge.api.studies import Study

__all__ = ["Study", "convert", "diff", "inspect", "made_of", "merge"]
