"""Importances: two of many values that matter are found, and none where nothing does."""

from __future__ import annotations

import random
import warnings

import numpy as np
import optuna
import pytest

from bmerge.findings.divergence import Divergence
from bmerge.findings.importance import importances
from bmerge.trials.trial import Proposal, Trial

BOUNDS = {f"alpha.B{i:02d}": (0.0, 1.0) for i in range(20)}


def trials(score, count=90, seed=1):
    dice = random.Random(seed)
    points = [{name: dice.random() for name in BOUNDS} for _ in range(count)]
    return [
        Trial(n, "complete", Proposal("iters", "x", point, {}), score=score(point, dice))
        for n, point in enumerate(points)
    ]


def two_matter(point, dice):
    return (
        -((point["alpha.B03"] - 0.8) ** 2) - (point["alpha.B07"] - 0.2) ** 2 + dice.gauss(0, 0.02)
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_what_matters_is_told_from_chance(seed):
    known = trials(two_matter, seed=seed)
    best = max(known, key=lambda t: t.score)
    found = importances(known, best, BOUNDS)
    assert {one.name for one in found if one.is_real} == {"alpha.B03", "alpha.B07"}
    assert {one.name for one in found[:2]} == {"alpha.B03", "alpha.B07"}
    assert sum(one.share for one in found) == pytest.approx(1)
    assert importances(known, best, BOUNDS) == found


def test_nothing_matters_where_scores_are_noise():
    known = trials(lambda point, dice: dice.random(), seed=3)
    found = importances(known, known[0], BOUNDS)
    assert len(found) == len(BOUNDS)
    assert not [one for one in found if one.is_real]


def test_values_at_the_end_of_their_range_are_flagged_and_few_trials_say_nothing():
    known = trials(two_matter, count=25)
    values = {**known[0].proposal.values, "alpha.B03": 0.995, "alpha.B07": 0.0, "alpha.B01": 0.5}
    best = Trial(99, "complete", Proposal("iters", "x", values, {}), score=1.0)
    flags = {one.name: one.bound for one in importances(known, best, BOUNDS)}
    assert (flags["alpha.B03"], flags["alpha.B07"], flags["alpha.B01"]) == (1.0, 0.0, None)
    assert importances(known[:19], best, BOUNDS) == ()
    outside = Trial(99, "complete", Proposal("try", "x", {}, {}), score=1.0)
    assert importances(known, outside, BOUNDS) == ()


def test_nothing_matters_where_all_scores_are_equal():
    known = trials(lambda point, dice: 0.5)
    assert importances(known, known[0], BOUNDS) == ()


@pytest.mark.parametrize(("count", "digits"), [(90, None), (25, None), (60, 1)])
def test_divergences_are_in_proportion_to_those_of_optuna(count, digits):
    """Optuna's evaluator is the oracle; rounded scores and values tie."""
    names = list(BOUNDS)[:8]
    known = trials(two_matter, count=count, seed=7)
    rows = [[t.proposal.values[name] for name in names] for t in known]
    values, scores = np.array(rows) ** 2, np.array([t.score for t in known])
    if digits is not None:
        values, scores = values.round(digits), scores.round(digits)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what may still change
        study = optuna.create_study(direction="maximize")
        floats = dict.fromkeys(names, optuna.distributions.FloatDistribution(0, 1))
        for row, score in zip(values.tolist(), scores.tolist(), strict=True):
            point = dict(zip(names, row, strict=True))
            study.add_trial(optuna.create_trial(params=point, distributions=floats, value=score))
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.2)
        found = evaluator.evaluate(study)
    expected = np.array([found[name] for name in names])
    own = Divergence(values, 0.2).of(scores)
    assert own / own.sum() == pytest.approx(expected / expected.sum(), rel=1e-9)
