"""``python -m benchmarks.demo_proof``: the demo's merge on pictures that no search has seen.

Runs `examples/demo.yaml` as a user would, finds the best uniform merge by a study of its own over
the same pictures, and lets `bmerge prove` compare the merge that was found with the base, the
parents and the uniform merge on fresh pictures. What is done already is not done again: delete the
folder to start afresh.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from benchmarks.origin import commit, machine
from bmerge import Study
from bmerge.report.load import load_report_data
from bmerge.trials.comparison import Comparison
from bmerge.trials.limits import pictures_of
from bmerge.trials.proof import Proof

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "examples" / "demo.yaml"
ALPHAS = 11
CONTENDERS = 8
"""The winner, the next best two, both parents, the centre, the base and the uniform merge."""


def main() -> None:
    """Parse the command line, make the proof, print and write it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo_proof", description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "demo_proof")
    parser.add_argument("--pictures", type=int, default=240, help="of each merge")
    parser.add_argument(
        "--output", type=Path, default=ROOT / "benchmarks" / "results" / "demo_proof.md"
    )
    options = parser.parse_args()
    started = time.monotonic()
    text = prove(options.folder, options.pictures)
    print(text)
    options.output.write_text(text, encoding="utf-8")
    print(f"written to {options.output} after {(time.monotonic() - started) / 60:.0f} minutes")


def prove(folder: Path, pictures: int) -> str:
    """Return the proof as Markdown.

    Args:
        folder: of both studies.
        pictures: fresh ones of each merge.
    """
    found, uniform = folder / "demo", folder / "uniform"
    _bmerge("run", DEMO, "--out", found)
    _bmerge("run", _uniform_study(folder), "--out", uniform)
    recipe = uniform / "best" / "recipe.yaml"
    _bmerge("prove", found, recipe, "--pictures", pictures * CONTENDERS)
    proof = load_report_data(found).proof
    assert proof is not None
    names = {
        str(recipe): "best uniform merge",
        "trial 0 (model a)": "parent a, shapes",
        "trial 1 (model b)": "parent b, colours",
        "trial 2 (centre)": "centre, alpha 0.5",
    }
    return markdown(proof, names, [Study.load(found), Study.load(uniform)])


def _uniform_study(folder: Path) -> Path:
    """Write the demo's study with one alpha for all blocks, tried in steps of a tenth."""
    study = yaml.safe_load(DEMO.read_text(encoding="utf-8"))
    study["merge"]["models"] = [str((DEMO.parent / m).resolve()) for m in study["merge"]["models"]]
    study |= {
        "name": "uniform",
        "space": {"alpha": {"per": "single"}},
        "optimiser": {"name": "grid", "points": ALPHAS, "init_points": 0, "n_iters": ALPHAS},
        "baselines": False,
        "racing": "off",
        "confirm": {"pictures": 0},
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "uniform.yaml"
    path.write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
    return path


def _bmerge(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "bmerge", *map(str, words)], check=True)


def markdown(proof: Proof, names: Mapping[str, str], studies: Sequence[Study]) -> str:
    """Return the table and how it was made."""
    winner = f"found by the search ({proof.first})"
    search, uniform = studies
    best = uniform.best
    assert best is not None
    painted = pictures_of(search.trials)
    return "\n".join(
        [
            "# The demo on fresh pictures",
            "",
            "| merge | score | found − it | 95 % interval | p |",
            "|---|---|---|---|---|",
            f"| {winner} | {proof.means[proof.first]:.3f} | | | |",
            *(_row(c, proof.means[c.rival], names) for c in proof.comparisons),
            "",
            "Made by `make demo-proof`: `bmerge run examples/demo.yaml`, then `bmerge prove`.",
            (
                f"Each merge painted the same {proof.comparisons[0].pictures} pictures: the "
                "study's prompts with seeds that the search never saw."
            ),
            f"The search took {painted} pictures in {len(search.trials)} trials.",
            (
                f"Of {ALPHAS} uniform merges, alpha 0, 0.1 … 1, that with alpha "
                f"{best.proposal.values['alpha']:g} is best on the search's own pictures; the "
                "same merge is compared once."
            ),
            "Intervals and p: two-sided paired t-test over the prompts.",
            f"Commit {commit()}; {machine()}.",
            "",
        ]
    )


def _row(comparison: Comparison, mean: float, names: Mapping[str, str]) -> str:
    p = "< 0.0001" if comparison.p < 1e-4 else f"{comparison.p:.4f}"
    span = f"{comparison.low:.3f} to {comparison.high:.3f}"
    name = names.get(comparison.rival, Path(comparison.rival).stem)
    return f"| {name} | {mean:.3f} | {comparison.difference:+.3f} | {span} | {p} |"


if __name__ == "__main__":
    main()
