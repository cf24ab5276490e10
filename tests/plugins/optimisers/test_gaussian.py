"""The Gaussian process of ``auto`` and ``bayes``, against scikit-learn's and by differences."""

from __future__ import annotations

import numpy as np
import pytest

from bmerge import Parameter, Result, Space
from bmerge_plugins.gaussian.acquisition import (
    expected_improvement,
    improvement_chance,
    slopes,
    upper_bound,
    values,
)
from bmerge_plugins.gaussian.bounds import around_best, reduced
from bmerge_plugins.gaussian.evidence import Evidence, Told, evidence_of, standardised
from bmerge_plugins.gaussian.fit import _Likelihood, fit
from bmerge_plugins.gaussian.maximum import argmax
from bmerge_plugins.gaussian.process import MEAN_VARIANCE, Process, Shape
from bmerge_plugins.optimisers.auto import Auto
from bmerge_plugins.optimisers.bayes import Bayes

RNG = np.random.default_rng(3)
POINTS = RNG.random((30, 5))
SCORES, _ = standardised(np.cos(4 * POINTS[:, 0]) - POINTS[:, 1] ** 2)
VARIANCES = np.where(RNG.random(30) < 0.5, 0.05, 0.0)
PLAIN = Evidence.plain(POINTS, SCORES, VARIANCES)
SHAPE = Shape(np.array([0.5, 0.8, 2.0, 3.0, 4.0]), 1.3, 0.2, 0.05, 0.01)
PROCESS = Process(PLAIN, SHAPE)
ELSEWHERE = RNG.random((8, 5))


def test_process_expects_what_scikit_learn_expects():
    gaussian_process = pytest.importorskip("sklearn.gaussian_process")
    kernels = gaussian_process.kernels
    kernel = kernels.ConstantKernel(1.3) * kernels.Matern(SHAPE.lengths, nu=2.5)
    oracle = gaussian_process.GaussianProcessRegressor(
        kernel + kernels.ConstantKernel(MEAN_VARIANCE), alpha=VARIANCES + 0.01, optimizer=None
    )
    oracle.fit(POINTS, SCORES)
    mean, deviation = oracle.predict(ELSEWHERE, return_std=True)
    found = PROCESS.expect(ELSEWHERE)
    np.testing.assert_allclose(found[0], mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[1], deviation, rtol=1e-5)
    likelihood = _Likelihood(PLAIN, alike=False)
    at = np.log([*SHAPE.lengths / 1.2, 1.2, 1.3, 0.2, 0.05, 0.01])
    loss, _ = likelihood.loss(at)
    spreads = [*[0.7] * 5, 1.0, 1.0, 1.5, 1.0, 1.5]
    usual = np.log([*[1.0] * 5, 0.5 * np.sqrt(5), 1.0, 0.1, 0.02, 1e-3])
    unusual = 0.5 * np.sum(((at - usual) / spreads) ** 2)
    constant = -0.5 * len(POINTS) * np.log(2 * np.pi)
    expected = oracle.log_marginal_likelihood()
    assert constant - loss + unusual == pytest.approx(expected, rel=1e-5)


def raced():
    """Return trials of 12 pictures, of which the first four have all, the others 3 or 5."""
    rng = np.random.default_rng(4)
    points = rng.random((20, 5))
    pictures = np.cos(3 * points[:, :1]) + rng.normal(0, 3, 12) + rng.normal(0, 0.1, (20, 12))
    scores = pictures.mean(1)
    for trial in range(4, 20):
        pictures[trial, 3 + 2 * (trial % 2) :] = np.nan
        lead = np.nanmean(pictures[trial] - pictures[0])
        scores[trial] = scores[0] + lead
    return Told(points, scores, np.where(np.arange(20) < 4, 0.0, 0.1), pictures)


def test_process_of_means_is_the_process_of_their_pictures():
    """The oracle has every picture of every trial as a row, then takes means of some of them."""
    told = raced()
    evidence, scale = evidence_of(told)
    mean, deviation = Process(evidence, SHAPE).expect(ELSEWHERE)
    trial, picture = np.nonzero(~np.isnan(told.pictures))
    offsets = (told.pictures[:4] - told.scores[:4, None]).mean(0)
    values = (told.pictures[trial, picture] - offsets[picture] - scale.mean) / scale.deviation
    parts = [(trial == t) & side for t in range(20) for side in (picture < 3, picture >= 3)]
    rows = np.array([part / part.sum() for part in parts if part.any()])

    def correlation(a, b):
        away = np.sqrt(5 * (((a[:, None] - b) / SHAPE.lengths) ** 2).sum(-1))
        return 1.3 * (1 + away + away**2 / 3) * np.exp(-away)

    points = told.points[trial]
    apart = (picture[:, None] == picture) - 1 / 12  # of a picture's deviation from the mean
    covariance = correlation(points, points) * (1 + 0.2 * apart) + MEAN_VARIANCE + 4.0 * apart
    covariance += 0.05 * apart * (trial[:, None] == trial)
    covariance = rows @ covariance @ rows.T + 0.01 * np.eye(len(rows))
    cross = (correlation(ELSEWHERE, points) + MEAN_VARIANCE) @ rows.T
    weights = np.linalg.solve(covariance, cross.T).T
    np.testing.assert_allclose(mean, weights @ rows @ values, rtol=1e-5, atol=1e-6)
    spread = np.sqrt(1.3 + MEAN_VARIANCE - (cross * weights).sum(1))
    np.testing.assert_allclose(deviation, spread, rtol=1e-5)


def test_trials_judged_by_the_same_pictures_are_compared_more_surely_than_by_their_scores():
    told = raced()
    evidence, _ = evidence_of(told)
    both = told.points[[4, 6]]
    first, second = Process(evidence, SHAPE).expect(both)[0]
    plain = Evidence.plain(told.points, *standardised(told.scores)[:1], told.variances)
    separate = Process(plain, SHAPE).expect(both)[0]
    true = np.cos(3 * both[:, 0])
    scale = told.scores.std()
    error = abs((first - second) - (true[0] - true[1]) / scale)
    assert error < abs(separate[0] - separate[1] - (true[0] - true[1]) / scale)


def test_a_score_without_pictures_counts_as_one_of_all_with_the_error_it_was_told_with():
    told = raced()
    told.pictures[[2, 7]] = np.nan
    evidence, scale = evidence_of(told)
    for trial, error in ((2, 0.0), (7, 0.1)):
        (row,) = np.flatnonzero((evidence.points == told.points[trial]).all(1))
        assert evidence.scores[row] == pytest.approx(
            (told.scores[trial] - scale.mean) / scale.deviation
        )
        assert evidence.variances[row] == pytest.approx(error / scale.deviation**2)
        np.testing.assert_allclose(evidence.shared[row], 0, atol=1e-12)


def test_where_no_trial_has_all_pictures_the_scores_count():
    told = raced()
    told.pictures[:4, 11] = np.nan
    told.pictures[5, 11] = 0.0
    evidence, _ = evidence_of(told)
    np.testing.assert_allclose(evidence.scores, standardised(told.scores)[0])
    assert not evidence.shared.any()


def test_pictures_of_complete_trials_alone_say_no_more_than_the_scores():
    told = raced()
    complete = Told(
        *(part[:4] for part in (told.points, told.scores)), np.zeros(4), told.pictures[:4]
    )
    evidence, _ = evidence_of(complete)
    scores, _ = standardised(complete.scores)
    np.testing.assert_allclose(evidence.scores, scores, atol=1e-9)
    np.testing.assert_allclose(evidence.shared, 0, atol=1e-12)


@pytest.mark.parametrize("alike", [False, True], ids=["each", "alike"])
def test_fit_has_the_gradient_of_its_loss(alike):
    likelihood = _Likelihood(evidence_of(raced())[0], alike=alike)
    at = likelihood.usual + RNG.normal(0, 0.3, len(likelihood.usual))
    _, gradient = likelihood.loss(at)
    steps = 1e-5 * np.eye(len(at))
    differences = [likelihood.loss(at + s)[0] - likelihood.loss(at - s)[0] for s in steps]
    np.testing.assert_allclose(gradient, np.array(differences) / 2e-5, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "acquisition",
    [
        upper_bound(2.0),
        expected_improvement(0.0),
        expected_improvement(60.0),
        improvement_chance(0.5),
        improvement_chance(-40.0),
    ],
    ids=["ucb", "ei", "ei far", "poi", "poi sure"],
)
def test_acquisition_has_its_gradient(acquisition):
    value, gradient = slopes(acquisition, PROCESS.believe(ELSEWHERE))
    assert np.isfinite(value).all()
    steps = 1e-6 * np.eye(5)
    differences = np.array(
        [
            values(acquisition, PROCESS, ELSEWHERE + step)
            - values(acquisition, PROCESS, ELSEWHERE - step)
            for step in steps
        ]
    )
    scale = max(1e-3, np.abs(gradient).max())
    np.testing.assert_allclose(gradient.T / scale, differences / 2e-6 / scale, atol=1e-4)


def test_expected_improvement_is_what_sampling_finds():
    mean, deviation = PROCESS.expect(ELSEWHERE)
    draws = RNG.normal(mean, deviation, (200_000, len(mean)))
    sampled = np.maximum(draws - 0.4, 0).mean(0)
    found = np.exp(expected_improvement(0.4)(mean, deviation)[0])
    np.testing.assert_allclose(found, sampled, rtol=0.02, atol=1e-4)
    chance = np.exp(improvement_chance(0.4)(mean, deviation)[0])
    np.testing.assert_allclose(chance, (draws > 0.4).mean(0), atol=0.01)


def test_process_believes_a_score_the_less_the_less_sure_it_is():
    points = np.array([[0.2], [0.5], [0.8]])
    at = np.array([[0.5]])
    expected = [
        Process(
            Evidence.plain(points, np.array([-0.7, 1.4, -0.7]), np.array([0.0, v, 0.0])),
            Shape(np.array([0.3]), 1.0, 0.1, 0.02, 1e-4),
        ).expect(at)[0][0]
        for v in (0.0, 1.0, 100.0)
    ]
    assert expected[0] == pytest.approx(1.4, abs=0.01)
    assert expected[1] < 0.9
    assert expected[2] < 0.0


def test_fit_finds_which_dimensions_matter():
    points = np.random.default_rng(5).random((60, 12))
    scores, _ = standardised(-((points[:, 3] - 0.7) ** 2) - (points[:, 8] - 0.2) ** 2)
    known = Evidence.plain(points, scores, np.zeros(60))
    lengths = fit(known).process.shape.lengths
    assert {*np.argsort(lengths)[:2]} == {3, 8}
    assert len({*fit(known, alike=True).process.shape.lengths}) == 1


def test_argmax_is_as_good_as_a_million_points():
    acquisition = upper_bound(1.0)
    found = argmax(PROCESS, acquisition, np.random.default_rng(1))
    dense = np.random.default_rng(2).random((100_000, 5))
    best = values(acquisition, PROCESS, dense).max()
    assert values(acquisition, PROCESS, found[None])[0] >= best
    assert ((found >= 0) & (found <= 1)).all()


def test_bounds_close_in_as_the_old_tool_has_them():
    """Against the transformer of bayesian-optimization, after each of forty scores."""
    bayes_opt = pytest.importorskip("bayes_opt")
    transformer = bayes_opt.SequentialDomainReductionTransformer(
        gamma_osc=0.6, gamma_pan=0.95, eta=0.85, minimum_window=0.0
    )
    rng, points = np.random.default_rng(7), np.empty((0, 3))
    box = reduced(points, points[:, 0], 0.6, 0.95, 0.85, 0.0)
    library = bayes_opt.BayesianOptimization(None, dict.fromkeys("abc", (0.0, 1.0)), verbose=0)
    transformer.initialize(library.space)
    for _ in range(40):
        points = np.vstack([points, box.point(rng.random(3))])
        scores = -((points - [0.3, 0.5, 0.9]) ** 2).sum(1)
        library.register(dict(zip("abc", points[-1], strict=True)), scores[-1])
        theirs = transformer.transform(library.space)
        box = reduced(points, scores, 0.6, 0.95, 0.85, 0.0)
        np.testing.assert_allclose(box.low, [theirs[k][0] for k in "abc"], atol=1e-9)
        np.testing.assert_allclose(box.high, [theirs[k][1] for k in "abc"], atol=1e-9)
    assert box.width.max() < 0.1
    wide = reduced(points, scores, 0.6, 0.95, 0.85, 0.25)
    assert wide.width == pytest.approx(0.25)
    assert wide.low.min() >= 0
    assert wide.high.max() <= 1


def _box(scores, sure=None, asked=None):
    points = np.linspace(0.5, 0.6, len(scores))[:, None]
    everything = np.ones(len(scores), dtype=bool)
    found = around_best(
        points,
        np.array(scores, dtype=float),
        everything if sure is None else np.array(sure),
        everything if asked is None else np.array(asked),
    )
    return float(found.low[0]), float(found.high[0])


def test_box_closes_in_around_the_best_while_it_yields_nothing():
    design = [False]
    assert _box([1.0]) == pytest.approx((0.1, 0.9))
    assert _box([1.0, *[0.0] * 7], asked=design + [True] * 7) == pytest.approx((0.1, 0.9))
    assert _box([1.0, *[0.0] * 8], asked=design + [True] * 8) == pytest.approx((0.3, 0.7))
    assert _box([1.0, *[0.0] * 40], asked=design + [True] * 40) == pytest.approx((0.4, 0.6))
    assert _box([1.0, *[0.0] * 8], asked=[False] * 9) == pytest.approx((0.1, 0.9))


def test_box_opens_again_and_moves_on_with_what_is_better():
    failed = [1.0, *[0.0] * 8]
    once, twice = _box([*failed, 2.0]), _box([*failed, 2.0, 3.0])
    assert once == pytest.approx((0.4, 0.8))  # 0.2 to either side of the last point
    assert twice == pytest.approx((0.2, 1.0))


def test_box_stays_at_the_best_that_is_sure():
    assert _box([1.0, 9.0], sure=[True, False]) == pytest.approx((0.1, 0.9))
    assert _box([1.0, 9.0], sure=[False, False]) == pytest.approx((0.1, 0.9))  # of the whole


def test_lengths_gain_where_dimensions_matter_differently():
    points = np.random.default_rng(5).random((60, 12))
    few, _ = standardised(-((points[:, 3] - 0.7) ** 2) - (points[:, 8] - 0.2) ** 2)
    all_alike, _ = standardised(-(points - 0.2).sum(1))

    def gain(scores):
        known = Evidence.plain(points, scores, np.zeros(60))
        return fit(known, alike=True).loss - fit(known).loss

    assert gain(few) > 20
    assert 0 <= gain(all_alike) < 1


def asked(score, asks, *optimisers):
    """Tell optimisers of 60 trials, the best at .3; return their proposals after so many asks."""
    space = Space(tuple(Parameter(name, 0.0, 1.0) for name in "abcde"))
    rng, told, proposals = np.random.default_rng(6), [], []
    for number in range(60):
        asked_for = number >= 60 - asks
        point = rng.random(5) if number else np.full(5, 0.3)
        values = dict(zip("abcde", point.tolist(), strict=True))
        told.append(Result(number, values, score(point), proposed=asked_for, pruned=number > 0))
    for make, options in optimisers:
        optimiser = make(space, 1, 80, **options)
        optimiser.replay(told)
        proposals.append(np.array([*optimiser.ask().values()]))
    return proposals


def test_auto_proposes_near_the_best_once_it_knows_the_space():
    def score(point):
        return -abs(point[0] - 0.3) - 9 * abs(point[1] - 0.3)

    distances = [abs(asked(score, asks, (Auto, {}))[0] - 0.3).max() for asks in (58, 59)]
    assert distances[0] <= 0.1 + 1e-9  # half the least box
    assert distances[1] > 0.1  # by turns anywhere


@pytest.mark.parametrize("asks", [58, 59])
def test_auto_has_one_length_scale_where_all_dimensions_matter_alike(asks):
    one, another = asked(lambda x: -float(sum(x)), asks, (Auto, {}), (Bayes, {"noise": 1e-6}))
    np.testing.assert_array_equal(one, another)


def test_standardised_scores_of_any_size():
    for scores in ([1e300, -1e300, 0.0], [1e-300, 2e-300], [3.0, 3.0]):
        found, scale = standardised(np.array(scores))
        assert np.isfinite(found).all()
        assert np.isfinite([scale.mean, scale.deviation]).all()
        assert abs(found.mean()) < 1e-9


@pytest.mark.parametrize("kind", [Auto, Bayes])
def test_points_of_choices_and_whole_numbers_are_proposed_once_each(kind):
    space = Space(
        (
            Parameter("preset", 0.0, 2.0, choices=("v", "a", "cosine")),
            Parameter("steps", 1.0, 4.0, integer=True),
        )
    )
    assert space.size == 12
    optimiser = kind(space, 5, 12)
    optimiser.replay([Result(0, space.centre(), 0.9, proposed=False)])
    points = [space.centre()]
    for number in range(1, 12):
        points.append(dict(optimiser.ask()))
        optimiser.tell(Result(number, points[-1], -abs(points[-1]["steps"] - 3)))
    assert len({tuple(point.values()) for point in points}) == 12
    assert dict(optimiser.ask()) in points, "there is nothing else"
