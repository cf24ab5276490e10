"""What all HTML pages of bmerge share: their frame, their style, and how numbers are written.

A page is a template that fills ``frame.html``, which holds all that it needs, or ``served.html``,
whose style comes from the server. Imports colours and study; report, web and bench draw with it.
"""

from __future__ import annotations

from bmerge.pages.drawing import SHARED, environment, number

__all__ = ["SHARED", "environment", "number"]
