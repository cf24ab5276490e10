"""The proof's statistics against scipy, normal theory and cases whose answer is known."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy import stats


@pytest.fixture(scope="module")
def statistics() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "demo_proof" / "statistics.py"
    spec = importlib.util.spec_from_file_location("demo_proof_statistics", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_an_interval_is_that_of_normal_theory_for_many_scores(statistics: ModuleType) -> None:
    scores = np.random.default_rng(1).beta(4, 2, 1000)
    interval = statistics.mean_interval(scores)
    margin = 1.96 * scores.std() / 1000**0.5
    assert interval.mean == pytest.approx(scores.mean())
    assert interval.low == pytest.approx(scores.mean() - margin, abs=margin / 15)
    assert interval.high == pytest.approx(scores.mean() + margin, abs=margin / 15)


def test_p_is_that_of_an_exact_permutation_test(statistics: ModuleType) -> None:
    rng = np.random.default_rng(2)
    a = rng.random(12)
    b = a - 0.04 + rng.normal(0, 0.1, 12)
    exact = stats.permutation_test(
        (a, b), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf
    )
    result = statistics.compare(a, b)
    assert 0.01 < exact.pvalue < 0.5, "the case must be neither trivial nor hopeless"
    assert result.p == pytest.approx(exact.pvalue, abs=0.005)
    assert result.difference.mean == pytest.approx((a - b).mean())


def test_p_is_symmetric_and_the_difference_changes_its_sign(statistics: ModuleType) -> None:
    rng = np.random.default_rng(3)
    a, b = rng.random(40), rng.random(40)
    there, back = statistics.compare(a, b), statistics.compare(b, a)
    assert there.p == back.p
    assert there.difference.mean == pytest.approx(-back.difference.mean)


def test_equal_candidates_differ_by_nothing(statistics: ModuleType) -> None:
    scores = np.linspace(0, 1, 50)
    result = statistics.compare(scores, scores)
    assert (result.difference.low, result.difference.high) == (0, 0)
    assert result.p == 1


def test_a_lead_on_every_one_of_many_pairs_has_the_least_p(statistics: ModuleType) -> None:
    result = statistics.compare(np.full(200, 0.9), np.full(200, 0.5))
    assert result.p == pytest.approx(1 / 100_001)
    assert result.difference.low == pytest.approx(0.4)


def test_equal_inputs_give_equal_numbers(statistics: ModuleType) -> None:
    rng = np.random.default_rng(5)
    a, b = rng.random(60), rng.random(60)
    assert statistics.compare(a, b) == statistics.compare(a, b)
