"""CMA-ES and the change to it: progress, restarts, exact resumption, no pickles."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bmerge import PluginError, Result
from bmerge.space.protocols import Parameter, Space
from bmerge.testing.optimisers import SPACE, check_optimiser, score
from bmerge_plugins.optimisers import auto, bayes, cmaes

(CMAES,) = cmaes.bmerge_optimisers()
(AUTO,) = auto.bmerge_optimisers()


@pytest.mark.parametrize(
    ("kind", "options", "asks"),
    [
        (CMAES, {}, 30), (CMAES, {"population": 4, "sigma": 0.5}, 9),
        (AUTO, {"switch": 6}, 12), (AUTO, {"switch": 0}, 12),
    ],
    ids=str,
)  # fmt: skip
def test_optimiser_keeps_the_protocol(kind, options, asks):
    check_optimiser(kind, options=options, asks=asks)


def run(optimiser, objective, count, known=()):
    """Tell points that were not asked for, then ask and tell; return the results."""
    results = []
    for number in range(len(known) + count):
        proposed = number >= len(known)
        values = dict(optimiser.ask()) if proposed else known[number]
        before = max(0, number + 1 - len(known))
        result = Result(number, values, objective(values), proposed, number, before)
        optimiser.tell(result)
        results.append(result)
    return results


def test_cmaes_finds_the_optimum_of_a_smooth_function():
    results = run(CMAES.create(SPACE, 3, 200, options={}), score, 200)
    assert max(r.score for r in results) > 1 - 1e-2


def test_cmaes_begins_at_the_best_point_that_is_known():
    rng = np.random.default_rng(0)
    known = [{p.name: rng.uniform(p.low, p.high) for p in SPACE.parameters} for _ in range(9)]
    best = max(known, key=score)
    results = run(CMAES.create(SPACE, 3, 20, options={"sigma": 1e-4}), score, 5, known)
    for result in results[9:]:
        assert all(result.values[n] == pytest.approx(best[n], abs=5e-3) for n in SPACE.names)


def test_cmaes_takes_one_dimension_and_points_outside_of_its_own():
    line = Space((Parameter("alpha", -1.0, 3.0),))
    results = run(CMAES.create(line, 1, 60, options={}), lambda v: -abs(v["alpha"] - 2.2), 60)
    assert max(r.score for r in results) > -0.05


def test_cmaes_begins_anew_where_it_has_shrunk_to_nothing():
    optimiser = CMAES.create(SPACE, 3, 400, options={"population": 4})
    results = run(optimiser, lambda _: 0.0, 250)  # flat: nothing to gain
    assert optimiser._restarts
    late = np.array([list(r.values.values()) for r in results[-8:]])
    assert np.isfinite(late).all()
    again = CMAES.create(SPACE, 3, 400, options={"population": 4})
    again.replay(results[:240])
    assert dict(again.ask()) == results[240].values


def test_a_failed_trial_drives_cmaes_away():
    def cliff(values):
        return None if values["alpha.IN00"] > 0.5 else -abs(values["alpha.IN00"] - 0.6)

    results = run(CMAES.create(SPACE, 1, 120, options={}), cliff, 120)
    failed = [r.score is None for r in results]
    assert sum(failed[-40:]) < sum(failed[:40])


def test_auto_asks_the_gaussian_process_first_and_cmaes_after_the_switch():
    rng = np.random.default_rng(1)
    known = [{p.name: rng.uniform(p.low, p.high) for p in SPACE.parameters} for _ in range(5)]
    results = run(AUTO.create(SPACE, 3, 20, options={"switch": 8}), score, 8, known)
    own = CMAES.create(SPACE, 3, 20, options={})
    for result in results[:8]:
        own.tell(Result(result.number, result.values, result.score, proposed=False))
    for result in results[8:]:
        values = dict(own.ask())
        assert values == result.values
        own.tell(result)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigma": 0}, "sigma is 0, must be above 0"),
        ({"sigma": math.nan}, "'sigma' of cmaes must be a number, not NaN"),
        ({"population": 3}, "population is 3, must be 4 or more"),
    ],
)
def test_option_that_makes_no_sense_is_refused(options, message):
    with pytest.raises(PluginError, match=message):
        CMAES.create(SPACE, 1, 5, options=options)


def test_auto_lets_two_processes_take_turns():
    """The proposals are those of ``bayes`` with each one's acquisition and length scales."""
    (process,) = bayes.bmerge_optimisers()
    rng = np.random.default_rng(1)
    points = [{p.name: rng.uniform(p.low, p.high) for p in SPACE.parameters} for _ in range(9)]
    known = [Result(i, point, score(point), proposed=False) for i, point in enumerate(points)]
    optimiser = AUTO.create(SPACE, 3, 20, options={})
    optimiser.replay(known)
    for turn in range(5):
        options = {"acquisition": "ei", "scales": "each"} if turn % 3 == 0 else {"kappa": 2.576}
        other = process.create(SPACE, 3, 20, options={**options, "noise": 1e-6})
        other.replay(known)
        values = dict(optimiser.ask())
        assert values == other.ask()
        known.append(Result(9 + turn, values, score(values), asks_before=turn + 1))
        optimiser.tell(known[-1])
