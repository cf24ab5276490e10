"""The table's numbers, against a plain computation of what they mean."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bmerge.bench import MergeRow, summarise
from bmerge.evaluate.protocols import Payload
from bmerge.trials.objective import Objective, Objectives

PICTURES = tuple(
    Payload(f"{prompt}{seed}", prompt, seed=seed, weight=weight)
    for prompt, weight in (("x", 1.0), ("y", 2.0), ("z", 1.0))
    for seed in range(8)
)
JUDGE = Objectives((Objective("quality", {"judge": 1.0}),))
WEIGHTS = np.array([p.weight for p in PICTURES])


def row(name, stage, scores, reason=None):
    by_id = {p.id: float(s) for p, s in zip(PICTURES, scores, strict=True)}
    return MergeRow(name, stage, scores={k: {"judge": v} for k, v in by_id.items()})


@pytest.fixture(scope="module")
def scores():
    rng = np.random.default_rng(3)
    easy = rng.random(len(PICTURES))
    return {
        "a": 0.3 + easy,
        "b": 0.1 + easy + rng.normal(0, 0.05, easy.size),
        "good": 0.5 + easy + rng.normal(0, 0.05, easy.size),
        "same": 0.3 + easy,
    }


@pytest.fixture(scope="module")
def lines(scores):
    stages = {"a": "parent", "b": "parent"}
    rows = [row(name, stages.get(name, "defaults"), s) for name, s in scores.items()]
    table = summarise([*rows, MergeRow("bad", "defaults", reason="no such luck")], PICTURES, JUDGE)
    return {line.row.name: line for line in table}


def test_best_comes_first_and_what_failed_last(lines):
    assert list(lines) == ["good", "a", "same", "b", "bad"]
    assert lines["bad"].quality is None
    assert lines["bad"].row.reason == "no such luck"


@pytest.mark.parametrize("name", ["a", "b", "good"])
def test_quality_is_the_weighted_mean_with_its_bootstrap_interval(lines, scores, name):
    quality = lines[name].quality
    assert math.isclose(quality.mean, np.average(scores[name], weights=WEIGHTS))
    assert math.isclose(lines[name].means["judge"], quality.mean)
    rng = np.random.default_rng(77)
    means = []
    for _ in range(20_000):
        drawn = rng.integers(0, WEIGHTS.size, WEIGHTS.size)
        means.append(np.average(scores[name][drawn], weights=WEIGHTS[drawn]))
    np.testing.assert_allclose(
        (quality.low, quality.high), np.quantile(means, (0.025, 0.975)), atol=0.01
    )


def test_lead_is_over_the_better_parent_picture_by_picture(lines, scores):
    lead = lines["good"].lead
    assert lines["a"].lead is None  # it is the best parent
    assert math.isclose(lead.mean, np.average(scores["good"] - scores["a"], weights=WEIGHTS))
    quality = lines["good"].quality
    assert lead.high - lead.low < (quality.high - quality.low) / 3  # how hard a prompt is, is out
    assert (lines["same"].lead.low, lines["same"].lead.high) == (0, 0)
    assert lines["b"].lead.high < 0


def test_normalised_is_the_share_of_the_better_parent(lines):
    assert math.isclose(
        lines["good"].normalised, lines["good"].quality.mean / lines["a"].quality.mean
    )


def test_rank_is_the_mean_place_over_the_prompts(lines):
    assert lines["good"].rank == 1
    assert lines["a"].rank == lines["same"].rank == 2.5
    assert lines["b"].rank == 4


def test_merge_that_is_just_one_of_its_models_says_so(lines):
    assert lines["same"].same_as == "a"
    assert [lines[name].same_as for name in ("a", "b", "good", "bad")] == [None] * 4


def test_scores_below_zero_are_not_divided(scores):
    rows = [row("a", "parent", scores["a"] - 9), row("m", "tuned", scores["b"] - 9)]
    assert summarise(rows, PICTURES, JUDGE)[1].normalised is None


def test_nothing_painted_is_no_error():
    (line,) = summarise([MergeRow("bad", "defaults", reason="x")], PICTURES, JUDGE)
    assert line.quality is None


def test_objectives_are_summed_up_over_the_pictures_that_each_scorer_judges():
    def two(name, stage, judge, hands):
        scores = {p.id: {"judge": judge} for p in PICTURES}
        for payload in PICTURES[:8]:
            scores[payload.id]["hands"] = hands
        return MergeRow(name, stage, scores=scores)

    rows = [
        two("a", "parent", 1.0, 10.0),
        two("b", "parent", 3.0, 30.0),
        two("m", "tuned", 2.0, 40.0),
    ]
    both = Objectives(
        (Objective("x", {"judge": 1.0}), Objective("y", {"hands": 0.1, "judge": 1.0}))
    )
    lines = {line.row.name: line for line in summarise(rows, PICTURES, both)}
    assert lines["m"].quality.mean == pytest.approx(2 + 4 + 2)
    assert lines["m"].means == pytest.approx({"judge": 2.0, "hands": 40.0})
    normal = Objectives((Objective("x", {"judge": 1.0, "hands": 1.0}),), "zscore")
    lines = {line.row.name: line for line in summarise(rows, PICTURES, normal)}
    assert lines["a"].quality.mean == pytest.approx(
        -2
    )  # each scorer: mean 2 or 20, deviation 1 or 10
    assert lines["m"].quality.mean == pytest.approx(0 + 2)
