"""``make parity``: for each method that another tool has too, how far its results are from ours.

The other tools are those of :mod:`benchmarks.peers`, installed when they are first needed. The
table goes to ``benchmarks/results/parity.md``. Exit status 1 if a result differs by more than one
in a thousand where none is known to.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from benchmarks.parity.cases import CASES, Case
from benchmarks.parity.table import Row, page
from benchmarks.peers import ROOT, environment, is_installed
from benchmarks.peers.__main__ import install
from bmerge import load_registry, ops

TOOLS = {"meh": "sd-meh", "mecha": "sd-mecha", "kit": "mergekit"}
SHAPES = {"linear": (64, 48), "wide": (24, 96), "convolution": (8, 6, 3, 3), "bias": (96,)}
NUMBERS = ("float32", "float16", "float16 in float32")
"""What they read and write, and what they compute in if that is another."""
RESULT = ROOT / "benchmarks" / "results" / "parity.md"

Arrays = dict[str, np.ndarray]
Results = dict[tuple[int, str, str], np.ndarray]


def make_tensors() -> Arrays:
    """Return four fine-tunes of one base for each shape, and random numbers."""
    random = np.random.default_rng(0)
    arrays: Arrays = {}
    for name, shape in SHAPES.items():
        base = random.standard_normal(shape)
        for model in range(4):
            change = random.standard_normal(shape) * (0.3 if model else 0)
            arrays[f"{name} {model}"] = (base + change).astype(np.float32)
            drawn = ops.random_uniform(torch.empty(shape), stream=model)  # as ours are drawn
            arrays[f"{name} drawn {model}"] = drawn.numpy()
    return arrays


def theirs(tool: str, arrays: Arrays, folder: Path) -> Results:
    """Return a tool's results by case, shape and numbers."""
    asked = [
        (index, shape, numbers)
        for index, case in enumerate(CASES)
        if case.tool == tool
        for shape in SHAPES
        for numbers in NUMBERS
    ]
    jobs = [
        {
            "tool": tool, "theirs": CASES[index].theirs, "settings": dict(CASES[index].settings),
            "form": CASES[index].form, "numbers": numbers,
            "tensors": [f"{shape} {model}" for model in range(CASES[index].models)],
            "drawn": [f"{shape} drawn {model}" for model in range(4)],
        }
        for index, shape, numbers in asked
    ]  # fmt: skip
    (folder / "jobs.json").write_text(json.dumps(jobs))
    np.savez(folder / "tensors.npz", **arrays)
    python = environment(TOOLS[tool]) / "bin" / "python"
    subprocess.run([python, Path(__file__).with_name("peers.py"), folder], check=True)
    results = np.load(folder / "results.npz")
    return {job: results[str(i)] for i, job in enumerate(asked) if str(i) in results}


def ours(case: Case, arrays: Arrays, shape: str, numbers: str) -> np.ndarray:
    """Return our result: computed in float32, whatever is read and written."""
    stored = torch.float32 if numbers == "float32" else torch.float16
    models = [torch.from_numpy(arrays[f"{shape} {m}"]).to(stored) for m in range(case.models)]
    method = load_registry().method(case.ours)
    return method(*(model.float() for model in models), **case.values).to(stored).numpy()


def error(case: Case, arrays: Arrays, shape: str, numbers: str, their: np.ndarray) -> float:
    """Return how far results are apart, in the norm.

    In float32 as a part of the change to the first model, in float16 as a part of the result: its
    own rounding is no smaller than changes are.
    """
    own, their = ours(case, arrays, shape, numbers).astype(float), their.astype(float)
    whole = np.linalg.norm(their)
    if numbers == "float32":
        whole = np.linalg.norm(their - arrays[f"{shape} 0"]) or whole
    return float(np.linalg.norm(own - their) / whole)


def row(index: int, arrays: Arrays, results: Results) -> Row:
    """Return what is known of one case: the worst error of all shapes, by numbers."""
    errors: dict[str, float | None] = {}
    for numbers in NUMBERS:
        found = [
            error(CASES[index], arrays, shape, numbers, results[index, shape, numbers])
            for shape in SHAPES
            if (index, shape, numbers) in results
        ]
        errors[numbers] = max(found, default=None, key=lambda e: (math.isnan(e), e))
    return Row(CASES[index], *errors.values())


def main() -> int:
    """Write the table."""
    arrays, results = make_tensors(), {}
    for tool, peer in TOOLS.items():
        if not is_installed(peer):
            install(peer)
        with tempfile.TemporaryDirectory() as folder:
            results |= theirs(tool, arrays, Path(folder))
    rows = [row(index, arrays, results) for index in range(len(CASES))]
    RESULT.write_text(page(rows), encoding="utf-8")
    print(RESULT.read_text(encoding="utf-8"))
    return 1 if any(one.fails for one in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
