"""The benchmark of several evaluators runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_benchmark_of_evaluators_tells_where_time_goes() -> None:
    options = ["--trials", "6", "--seconds", "0.04"]
    words = [sys.executable, "-m", "benchmarks.evaluators", *options]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    one, four = (row.split("|")[1:4] for row in done.stdout.splitlines()[2:4])
    assert [cell.strip() for cell in (*one[:2], *four[:2])] == ["0.04", "1", "0.04", "4"]
