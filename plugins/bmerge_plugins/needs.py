"""Which modules beyond bmerge's core groups of plugins need: what they say as ``needs``."""

from __future__ import annotations

__all__ = ["CLIP", "PIXELS", "SERVER"]

PIXELS = ("numpy", "PIL")
"""Pictures as arrays."""

SERVER = ("httpx2", "httpcore2", "PIL")
"""Pictures and verdicts over HTTP."""

CLIP = ("torch", "open_clip", "numpy", "PIL")
"""A tower of CLIP."""
