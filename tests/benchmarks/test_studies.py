"""The benchmark of studies runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_benchmark_of_studies_tells_what_it_measures() -> None:
    words = [sys.executable, "-m", "benchmarks.studies", "--trials", "30", "--stored", "30"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    run, resumed = done.stdout.splitlines()
    assert "ms of CPU time; resident after 20 trials" in run
    assert resumed.startswith("30 trials are taken up")
    assert "their report in" in resumed
