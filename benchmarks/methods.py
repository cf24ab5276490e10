"""``python -m benchmarks.methods``: every merge method on the demo, as a table in Markdown.

Runs `bmerge bench methods` as a user would. What is measured already is not measured again:
delete the folder to start afresh.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.origin import commit, machine

ROOT = Path(__file__).resolve().parents[1]
HEAD = ("name", "stage", "quality", "95 %", "lead", "norm.", "rank", "s", "CPU s", "MB", "executor")


def main() -> None:
    """Run the benchmark, or what is left of it, and write its table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.methods", description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "bench-methods")
    parser.add_argument(
        "--output", type=Path, default=ROOT / "benchmarks" / "results" / "methods.md"
    )
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--held-out", type=int, default=2)
    options = parser.parse_args()
    words = ["bmerge", "bench", "methods", "--trials", str(options.trials)]
    words += ["--held-out", str(options.held_out)]
    command = [
        sys.executable,
        "-m",
        "bmerge.cli",
        *words[1:],
        "--out",
        str(options.folder),
        "--json",
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=ROOT)
    text = markdown(json.loads(done.stdout), " ".join(words))
    options.output.write_text(text, encoding="utf-8")
    print(f"written to {options.output}")


def markdown(rows: Sequence[Mapping[str, Any]], command: str) -> str:
    """Return the table and how it was made."""
    measured = [row for row in rows if row["quality"] is not None]
    lines = [
        "# Merge methods on the demo",
        "",
        f"| {' | '.join(HEAD)} |",
        f"|{'---|' * len(HEAD)}",
        *(f"| {' | '.join(_cells(row))} |" for row in measured),
        "",
        *(
            f"- {r['name']} ({r['stage']}): not measured, {r['reason']}"
            for r in rows
            if r["reason"]
        ),
        f"Made by `{command}`; what the columns mean is in [docs/bench.md](../../docs/bench.md).",
        f"Commit {commit()}; {machine()}; load {os.getloadavg()[2]:.0f} at the end.",
        "",
    ]
    return "\n".join(lines)


def _cells(row: Mapping[str, Any]) -> list[str]:
    def number(key: str, form: str, factor: float = 1.0) -> str:
        return "–" if row[key] is None else format(row[key] * factor, form)

    return [
        row["name"] + (f" = {row['same_as']}" if row["same_as"] else ""),
        row["stage"],
        number("quality", ".3f"),
        f"{number('quality_low', '.3f')} to {number('quality_high', '.3f')}",
        number("lead", "+.3f"),
        number("normalised", ".2f"),
        number("rank", ".1f"),
        number("seconds", ".3f"),
        number("cpu_seconds", ".3f"),
        number("peak_bytes", ".0f", 1e-6),
        row["executor"] or "–",
    ]


if __name__ == "__main__":
    main()
