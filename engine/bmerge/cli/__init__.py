"""The command line: one file per verb; the only place that prints."""

from __future__ import annotations

from bmerge.cli.main import main, program

__all__ = ["main", "program"]
