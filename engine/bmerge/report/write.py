"""The report's front door: a study's folder in, one HTML file out."""

from __future__ import annotations

from pathlib import Path

from bmerge.evaluate.durable import write_durably
from bmerge.logs import logger
from bmerge.report.load import load_report_data
from bmerge.space.expected import expected

__all__ = ["write_report"]

_NAMED = 5  # of what is left out; the page names more


def write_report(study_dir: Path) -> Path:
    """Write ``report.html`` into a study's folder; an older one is replaced at once.

    Args:
        study_dir: the folder of a study, finished or not.

    Returns:
        The file. What it had to leave out is named by a warning in the log.

    Raises:
        StudyError: if the folder holds no study, or the file cannot be written.
    """
    from bmerge.report.page import render  # which needs the extra "study"; --help does not

    data = load_report_data(study_dir)
    with expected(f"the study in {study_dir}"):
        text, lost = render(data)
    if lost:
        more = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
        names = ", ".join(lost[:_NAMED]) + more
        message = "left out of the report, because it is missing or damaged: %s"
        logger(__name__).warning(message, names)
    target = study_dir / "report.html"
    write_durably(target, text.encode("utf-8", "replace"))
    return target
