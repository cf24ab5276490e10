"""The HTML page of a stored study.

Imports study, recipe, architectures and pages; the command line calls :func:`write_report`.
"""

from __future__ import annotations

from bmerge.report.write import write_report

__all__ = ["write_report"]
