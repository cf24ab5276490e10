"""The core's fuzz targets, for as many inputs as were asked for."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHARES = {"header": 0.95, "program": 0.05}
"""Of all inputs: a program takes twenty times as long as a header."""


@pytest.mark.parametrize("target", SHARES)
def test_no_input_makes_the_core_panic(target, note):
    if not shutil.which("cargo-fuzz"):
        pytest.skip("needs cargo-fuzz and a nightly compiler: see native/fuzz/README.md")
    runs = int(SHARES[target] * int(os.environ.get("SOAK_FUZZ", "100000000")))
    command = ["cargo", "+nightly", "fuzz", "run", "--fuzz-dir", "native/fuzz"]
    options = [f"-runs={runs}", "-max_len=512", "-print_final_stats=1"]
    done = subprocess.run(
        [*command, "--sanitizer", "none", target, "--", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    executed = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    assert executed
    assert int(executed[1]) >= runs
    note(f"inputs to the fuzz target {target}", int(executed[1]), "no failure")
