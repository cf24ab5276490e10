"""Strengths against scipy's optimiser on the model as Davidson wrote it, and against the truth."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from bmerge.rating.strengths import AnsweredPair, fit_strengths


def chances(first, second, ties):
    """Davidson's three probabilities, from strengths on the logarithmic scale."""
    one, two = math.exp(first), math.exp(second)
    tie = math.exp(ties) * math.sqrt(one * two)
    return {name: v / (one + two + tie) for name, v in zip(("first", "second", "tie"), (one, two, tie), strict=True)}  # fmt: skip  # noqa: E501


def negative_log_posterior(x, comparisons):
    total = sum(value**2 for value in x[:-1]) / (2 * 2.0**2) + x[-1] ** 2 / 2
    for c in comparisons:
        total -= c.weight * math.log(chances(x[c.first], x[c.second], x[-1])[c.outcome])
    return total


def curvature(function, x, h=1e-4):
    """Second derivatives by central differences."""
    n = len(x)
    out = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            steps = [(a, b) for a in (h, -h) for b in (h, -h)]
            values = []
            for a, b in steps:
                y = np.array(x)
                y[i] += a
                y[j] += b
                values.append(function(y))
            out[i, j] = (values[0] - values[1] - values[2] + values[3]) / (4 * h * h)
    return out


def drawn(rng, truth, count, ties=-0.5):
    comparisons = []
    for _ in range(count):
        i, j = rng.sample(range(len(truth)), 2)
        p = chances(truth[i], truth[j], ties)
        outcome = rng.choices(list(p), weights=list(p.values()))[0]
        comparisons.append(AnsweredPair(i, j, outcome, rng.choice((0.5, 1.0, 2.0))))
    return comparisons


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), trials=st.integers(2, 6), count=st.integers(0, 40))
def test_strengths_are_those_of_scipy(seed, trials, count):
    rng = random.Random(seed)
    comparisons = drawn(rng, [rng.gauss(0, 1.5) for _ in range(trials)], count)
    found = minimize(negative_log_posterior, np.zeros(trials + 1), args=(comparisons,), tol=1e-10).x
    fit = fit_strengths(comparisons, range(trials))
    assert fit.of(0) == 0
    for trial in range(trials):
        assert fit.of(trial) == pytest.approx(found[trial] - found[0], abs=1e-4)
    assert fit.ties == pytest.approx(found[-1], abs=1e-4)


def test_standard_errors_are_those_of_the_posteriors_curvature():
    comparisons = drawn(random.Random(3), [0.0, 1.0, -0.5, 2.0], 60)
    fit = fit_strengths(comparisons, range(4))
    free = minimize(negative_log_posterior, np.zeros(5), args=(comparisons,), tol=1e-12).x
    covariance = np.linalg.inv(curvature(lambda x: negative_log_posterior(x, comparisons), free))
    for i, j in ((1, 0), (3, 2), (2, 1)):
        variance = covariance[i, i] + covariance[j, j] - 2 * covariance[i, j]
        assert fit.error(i, j) == pytest.approx(math.sqrt(variance), rel=1e-3)
    assert fit.error(2) == fit.error(2, 0)
    assert fit.error(0) == 0


def test_many_answers_find_the_true_strengths():
    truth = [0.0, 0.8, -1.2, 2.0, 0.3]
    one = [AnsweredPair(c.first, c.second, c.outcome) for c in drawn(random.Random(1), truth, 4000)]
    fit = fit_strengths(one, range(5))
    for trial, strength in enumerate(truth):
        assert abs(fit.of(trial) - strength) < 3 * max(fit.error(trial), 1e-9)
        assert fit.error(trial) < 0.1
    assert fit.ties == pytest.approx(-0.5, abs=0.15)


def test_errors_cover_the_truth_as_often_as_they_say():
    """Over many studies with strengths from the prior, 95 % intervals hold 95 % of them."""
    rng = random.Random(8)
    inside = total = 0
    for _ in range(60):
        truth = [rng.gauss(0, 2) for _ in range(6)]
        ties = rng.gauss(0, 1)
        comparisons = [
            AnsweredPair(c.first, c.second, c.outcome) for c in drawn(rng, truth, 40, ties)
        ]
        fit = fit_strengths(comparisons, range(6))
        for trial in range(1, 6):
            inside += abs(fit.of(trial) - truth[trial] + truth[0]) < 1.96 * fit.error(trial)
            total += 1
    assert 0.90 <= inside / total <= 0.99


def test_one_sided_answers_stay_finite_and_more_of_them_say_more():
    strengths = [
        fit_strengths([AnsweredPair(0, 1, "second")] * count, (0, 1)).of(1) for count in (1, 8, 100)
    ]
    assert 0 < strengths[0] < strengths[1] < strengths[2] < 10


def test_nothing_but_ties_is_no_difference():
    fit = fit_strengths([AnsweredPair(0, 1, "tie")] * 20, (0, 1))
    assert fit.of(1) == pytest.approx(0, abs=1e-9)
    assert fit.ties > 1


def test_one_more_comparison_tells_most_where_the_outcome_is_open():
    """1 lost clearly to 0 and so did 2: the order of 1 and 2 is what is not known."""
    comparisons = [AnsweredPair(0, 1, "first")] * 8 + [AnsweredPair(0, 2, "first")] * 8
    fit = fit_strengths(comparisons, (0, 1, 2))
    assert fit.information(1, 2) > fit.information(1, 0)
