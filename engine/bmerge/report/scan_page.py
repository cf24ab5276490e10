"""The page of ``bmerge scan``: what each block does, ranked, and in pictures."""

from __future__ import annotations

from pathlib import Path

from bmerge.evaluate.durable import write_durably
from bmerge.pages import environment
from bmerge.report.page import TEMPLATES, picture
from bmerge.study.scan import Scan

__all__ = ["write_scan"]

_SHOWN = 4  # pictures of each merge
_SIDE = 200  # their longer side


def write_scan(folder: Path, title: str, scan: Scan) -> Path:
    """Write ``scan.html`` into a study's folder and return its path.

    Raises:
        StudyError: if it cannot be written.
    """
    shown = list(scan.prompts)[:_SHOWN]
    rows = [
        (name, comparison, score, [picture(files[each], _SIDE) for each in shown])
        for name, comparison, score, files in (
            (scan.start, None, scan.score, scan.files),
            *((e.name, e.comparison, e.score, e.files) for e in scan.effects),
        )
    ]
    text = (
        environment(TEMPLATES)
        .get_template("scan.html")
        .render(title=title, scan=scan, rows=rows, prompts=[scan.prompts[each] for each in shown])
    )
    target = folder / "scan.html"
    write_durably(target, text.encode("utf-8", "replace"))
    return target
