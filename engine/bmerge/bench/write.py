"""A benchmark's results as files: ``results.csv`` for programs, ``bench.html`` for people."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bmerge.bench.summary import SummaryLine
from bmerge.errors import StudyError
from bmerge.recipe import BlockWeights

__all__ = ["flat", "labels_of", "write_results"]


def write_results(
    lines: Sequence[SummaryLine], folder: Path, facts: Sequence[str]
) -> tuple[Path, Path]:
    """Write the table and the page into the benchmark's folder.

    Args:
        lines: of the table, in its order.
        folder: of the benchmark.
        facts: how it was made, one sentence each.

    Returns:
        The CSV file and the page.

    Raises:
        StudyError: if they cannot be written.
    """
    from bmerge.bench.page import render  # which needs the extra "study"; --help does not

    files = (folder / "results.csv", folder / "bench.html")
    for file, text in zip(files, (_csv(lines), render(lines, facts)), strict=True):
        part = file.with_suffix(".part")
        try:
            part.write_text(text, encoding="utf-8", newline="")
            part.replace(file)
        except OSError as error:
            raise StudyError(f"{file} cannot be written: {error.strerror}") from error
    return files


def labels_of(lines: Sequence[SummaryLine]) -> list[str]:
    """Return the scorers' labels."""
    return list(dict.fromkeys(label for line in lines for label in line.means or ()))


def flat(line: SummaryLine) -> dict[str, Any]:
    """Return one line as plain data, the scorers' means by their labels."""
    row, cost = line.row, line.row.cost
    return {
        "name": row.name,
        "stage": row.stage,
        "models": " ".join(row.models),
        **_interval("quality", line.quality),
        **_interval("lead", line.lead),
        "normalised": line.normalised,
        "rank": line.rank,
        "same_as": line.same_as,
        "seconds": cost and cost.seconds,
        "cpu_seconds": cost and cost.cpu,
        "peak_bytes": cost and cost.peak,
        "executor": cost and cost.executor,
        "hyperparameters": "; ".join(f"{n}={_text(w)}" for n, w in row.hyperparameters.items()),
        "reason": row.reason,
    }


def _interval(name: str, value: Any) -> dict[str, float | None]:
    parts = (value.mean, value.low, value.high) if value else (None, None, None)
    return dict(zip((name, f"{name}_low", f"{name}_high"), parts, strict=True))


def _text(weights: BlockWeights) -> str:
    """Return block weights as the command line takes them."""
    if weights.is_uniform:
        return f"{weights.default:.6g}"
    return ",".join(f"{place}={value:.6g}" for place, value in weights.assignments.items())


def _csv(lines: Sequence[SummaryLine]) -> str:
    labels = labels_of(lines)
    rows = [{**flat(line), **{n: (line.means or {}).get(n) for n in labels}} for line in lines]
    text = io.StringIO()
    writer = csv.DictWriter(text, [*flat(lines[0]), *labels])
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
