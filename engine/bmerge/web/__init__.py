"""The page where a person rates pictures and watches a study.

Imports rating, study and report; the command line calls :func:`serve`.
"""

from __future__ import annotations

from bmerge.web.server import serve

__all__ = ["serve"]
