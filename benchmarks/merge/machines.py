"""What was measured on each kind of processor, kept from run to run, with a column for each.

Ratios differ between processors by a factor of two; a table of one run tells of one. The last run
of a work on a kind of processor stands in a JSON file beside the table, which is made from it.
"""

from __future__ import annotations

import json
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from benchmarks.merge.table import Row

__all__ = ["kept", "processor_kind", "table"]

Cells: TypeAlias = dict[str, dict[str, list[float]]]
"""``model | work | who`` → kind of processor → × floor, CPU seconds, peak resident MB."""

_KINDS = {"AuthenticAMD": "AMD", "GenuineIntel": "Intel"}


def processor_kind() -> str:
    """Return ``AMD``, ``Intel``, or what else the processor is."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == "vendor_id":
            return _KINDS.get(value.strip(), value.strip())
    return "ARM" if platform.machine() in {"aarch64", "arm64"} else platform.machine()


def kept(rows: Sequence[Row], path: Path, kind: str) -> Cells:
    """Add what was measured to what is known, in a file, and return all of it.

    Args:
        rows: of one run; those without a ratio are left out.
        path: the JSON file.
        kind: of this machine's processor.
    """
    cells: Cells = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for row in rows:
        if row.ratios:
            cpu = statistics.median(run.cpu for run in row.runs)
            resident = max(run.resident for run in row.runs) / 1e6
            found = [round(statistics.median(row.ratios), 3), round(cpu, 2), round(resident)]
            cells.setdefault(f"{row.model} | {row.work} | {row.who}", {})[kind] = found
    path.write_text(json.dumps(cells, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return cells


def table(cells: Cells) -> str:
    """Return the last ratios, CPU seconds and memory of each kind of processor as Markdown."""
    kinds = sorted({kind for row in cells.values() for kind in row})
    lines = [
        "# Merges on several processors",
        "",
        "Of each the last run: × floor; CPU seconds; peak resident MB. Columns may be of different",
        "commits; [merge.md](merge.md) has the last run in full.",
        "",
        f"| model | work | who | {' | '.join(kinds)} |",
        f"|---|---|---|{'---|' * len(kinds)}",
    ]
    for name, row in sorted(cells.items()):
        found = [_cell(row[kind]) if kind in row else "" for kind in kinds]
        lines.append(f"| {name} | {' | '.join(found)} |")
    return "\n".join([*lines, ""])


def _cell(found: Sequence[float]) -> str:
    ratio, cpu, resident = found
    return f"{ratio:.2f}; {cpu:.2f}; {resident:,.0f}"
