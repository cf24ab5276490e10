"""A made-up study that uses every part of the page."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from PIL import Image

from bmerge.recipe.schema import BlockWeights
from bmerge.report.data import Candidate, ReportData, Shot, TrialRow, WeightMap

SD1 = ("BASE", *(f"IN{i:02}" for i in range(12)), "M00", *(f"OUT{i:02}" for i in range(12)))
PROMPTS = [f"a {c} {s}" for c in ("red", "green", "blue", "white") for s in ("star", "heart")]


def made_up(folder: Path) -> ReportData:
    """Return a study of 40 trials, with pictures in ``folder``."""
    rng = random.Random(4)
    trials = [_trial(number, rng) for number in range(40)]
    best = max((t for t in trials if t.score is not None), key=lambda t: t.score or 0)
    weights = BlockWeights(0.5, {block: rng.random() for block in SD1})
    labels = [("parent", "shapes", 0.36), ("parent", "colours", 0.18), ("uniform", "uniform", 0.83)]
    return ReportData(
        title="demo",
        method="weighted_sum",
        objective="demo_judge",
        models=("shapes.safetensors", "colours.safetensors"),
        candidates=(
            *(Candidate(r, n, s, _shots(folder, n, s), (s - 0.03, s + 0.03)) for r, n, s in labels),  # type: ignore[arg-type]
            Candidate("best", "best", best.score or 0, _shots(folder, "best", 0.97)),
        ),
        trials=tuple(trials),
        blocks=SD1,
        weights=(WeightMap("alpha", weights, 0, 1, "shapes", "colours"),),
        recipe="method: weighted_sum\nmodels:\n- shapes.safetensors\n- colours.safetensors\n",
        versions={"bmerge": "0.1.0", "python": "3.11.7", "torch": "2.15.0"},
        commands=(("The same merge, from its recipe:", "bmerge merge --recipe best.yaml -o x"),),
    )


def _trial(number: int, rng: random.Random) -> TrialRow:
    phase = "baseline" if number < 4 else "sobol" if number < 14 else "bayes"
    parameters = {f"alpha.{block}": rng.random() for block in SD1}
    if number in (9, 23):
        return TrialRow(number, phase, None, {}, parameters, "no <pictures> & no score")
    score = min(0.99, 0.2 + 0.6 * rng.random() + number * 0.005)
    scores = {"demo_judge": score, "colourfulness": rng.gauss(0.6, 0.05)}
    return TrialRow(number, phase, score, scores, parameters)


def _shots(folder: Path, name: str, score: float) -> dict[str, Shot]:
    shots = {}
    for index, prompt in enumerate(PROMPTS):
        file = folder / f"{name}-{index}.png"
        Image.new("RGB", (64, 64), prompt.split()[1]).save(file)
        shots[f"{index:03}"] = Shot(prompt, 1000 + index, score, file)
    return shots


@pytest.fixture
def data(tmp_path: Path) -> ReportData:
    return made_up(tmp_path)
