"""The report's front door: a study's folder in, one HTML file out."""

from __future__ import annotations

import os
from pathlib import Path

from bmerge.report.load import load_report_data
from bmerge.report.page import render

__all__ = ["write_report"]


def write_report(study_dir: Path) -> Path:
    """Write ``report.html`` into a study's folder; an older one is replaced at once.

    Args:
        study_dir: the folder of a study, finished or not.

    Returns:
        The file.

    Raises:
        StudyError: if the folder holds no study.
    """
    target = study_dir / "report.html"
    text = render(load_report_data(study_dir))
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(target)
    return target
