"""``make parity``: prints, for each method that another tool has too, how far results are apart.

The other tools are installed in an environment of their own, ``.venv-parity/``, the first time;
``BMERGE_PARITY_PYTHON`` names an interpreter that has them already. Exit status 1 if a result
differs by more than one in a thousand where none is known to.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.parity.cases import CASES, Case
from bmerge import load_registry, ops

ROOT = Path(__file__).parents[2]
PEERS = ("sd-meh==0.9.5", "sd-mecha==1.1.8", "mergekit==0.1.5")
SHAPES = {"linear": (64, 48), "wide": (24, 96), "convolution": (8, 6, 3, 3), "bias": (96,)}
BAR = 1e-3

Arrays = dict[str, npt.NDArray[np.float32]]


def interpreter() -> str:
    """Return a Python that has the other tools; install them if there is none."""
    given = os.environ.get("BMERGE_PARITY_PYTHON")
    if given:
        return given
    python = ROOT / ".venv-parity" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", python.parents[1]], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PEERS], check=True)
    return str(python)


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


def theirs(arrays: Arrays, folder: Path) -> dict[tuple[int, str], npt.NDArray[np.float32]]:
    """Return their results by case and shape."""
    pairs = [(number, name) for number in range(len(CASES)) for name in SHAPES]
    jobs = [
        {
            "tool": CASES[number].tool, "theirs": CASES[number].theirs,
            "settings": dict(CASES[number].settings), "form": CASES[number].form,
            "tensors": [f"{name} {model}" for model in range(CASES[number].models)],
            "drawn": [f"{name} drawn {model}" for model in range(4)],
        }
        for number, name in pairs
    ]  # fmt: skip
    (folder / "jobs.json").write_text(json.dumps(jobs))
    np.savez(folder / "tensors.npz", **arrays)
    subprocess.run([interpreter(), Path(__file__).with_name("peers.py"), folder], check=True)
    results = np.load(folder / "results.npz")
    return {pair: results[str(i)] for i, pair in enumerate(pairs) if str(i) in results}


def ours(case: Case, arrays: Arrays, name: str) -> npt.NDArray[np.float32]:
    """Return our result."""
    models = [torch.from_numpy(arrays[f"{name} {model}"]) for model in range(case.models)]
    method = load_registry().method(case.ours)
    result: npt.NDArray[np.float32] = method(*models, **case.values).numpy()
    return result


def compare(arrays: Arrays, results: dict[tuple[int, str], npt.NDArray[np.float32]]) -> Iterator[
    tuple[Case, str, float | None]
]:  # fmt: skip
    """Yield case, shape and relative error: of the change to the first model, in the norm."""
    for number, case in enumerate(CASES):
        for name in SHAPES:
            their = results.get((number, name))
            if their is None:
                yield case, name, None
                continue
            change = np.linalg.norm(their - arrays[f"{name} 0"]) or np.linalg.norm(their)
            apart = np.linalg.norm(ours(case, arrays, name) - their)
            yield case, name, float(apart / change)


def main() -> int:
    """Print the table."""
    arrays, failed = make_tensors(), 0
    with tempfile.TemporaryDirectory() as folder:
        results = theirs(arrays, Path(folder))
    print(f"{'tool':6} {'their method':26} {'ours':28} {'shape':12} error")
    for case, name, error in compare(arrays, results):
        word = "they fail" if error is None else f"{error:.1e}"
        if error is not None and not error <= BAR:
            word += f"  {case.differs or 'TOO MUCH'}"
            failed += not case.differs
        print(f"{case.tool:6} {case.theirs:26} {case.ours:28} {name:12} {word}")
    print(f"{failed} differ" if failed else "none differs but where it is known why")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
