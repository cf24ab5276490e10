"""What is maximised: weighted sums of normalised scores, against numpy; fronts; resumption."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmerge import GeneratorError, StudyError
from bmerge.evaluate.evaluation import Evaluator
from bmerge.evaluate.scoring import WeightedScorer
from bmerge.recipe import load_recipe
from bmerge.storage.stored import read_study
from bmerge.study.best import write_front
from bmerge.study.loop import run_study
from bmerge.trials.objective import Objective, Objectives
from bmerge.trials.trial import Proposal, Trial, best_of, front_of
from toy_study import PAYLOADS, TWO, Generator, Judge, Merger, make_study, quality

SUMS = (Objective("one", {"a": 2.0, "b": -0.5}), Objective("other", {"b": 1.0, "watched": 0.0}))
JUDGES = {"a": {0, 1, 2}, "b": {1, 2}, "watched": {0}}
"""Scorer → the payloads that it judges."""
WEIGHTS = np.array([1.0, 0.5, 3.0])


def trial(number, rows, *, asked=False):
    """Return a complete trial with scores, payloads × (a, b, watched)."""
    labels = tuple(JUDGES)
    pictures = tuple(
        {
            "id": f"p{p}",
            "weight": weight,
            "scores": {x: rows[p][i] for i, x in enumerate(labels) if p in JUDGES[x]},
        }
        for p, weight in enumerate(WEIGHTS.tolist())
    )
    means = {
        x: float(np.average([rows[p][i] for p in JUDGES[x]], weights=WEIGHTS[sorted(JUDGES[x])]))
        for i, x in enumerate(labels)
    }
    proposal = Proposal("iters" if asked else "init", "x", {}, {}, asked)
    return Trial(number, "complete", proposal, means=means, pictures=pictures)


def oracle(normalise, rows, frozen):
    """Return objectives × trials, by numpy in float64."""
    out = np.zeros((2, len(rows)))
    for i, label in enumerate(JUDGES):
        judged = sorted(JUDGES[label])
        data, weights = np.array(rows)[:, judged, i], WEIGHTS[judged]
        pool, pool_weights = data[:frozen].ravel(), np.tile(weights, frozen)
        if normalise == "zscore":
            mean = data[:frozen].mean(axis=0)
            inner = ((data[:frozen] - mean) ** 2).ravel()
            spread = np.sqrt(np.average(inner, weights=pool_weights))
            data = (data - mean) / (spread if spread > 1e-12 * abs(mean).max() else 1)
        elif normalise == "rank":
            below = (pool[None, None] < data[..., None]).sum(-1)
            equal = (pool[None, None] == data[..., None]).sum(-1)
            data = (below + equal / 2) / pool.size
        means = np.average(data, axis=1, weights=weights)
        for o, one in enumerate(SUMS):
            out[o] += one.weights.get(label, 0) * means
    return out


SCORE = st.floats(-100, 100).map(lambda x: round(x, 3))
ROWS = st.lists(
    st.lists(st.lists(SCORE, min_size=3, max_size=3), min_size=3, max_size=3),
    min_size=2, max_size=6,
)  # fmt: skip


@given(rows=ROWS, normalise=st.sampled_from(("none", "zscore", "rank")))
def test_scores_are_weighted_sums_over_a_frozen_reference(rows, normalise):
    frozen = len(rows) - 1
    trials = {n: trial(n, row, asked=n >= frozen) for n, row in enumerate(rows)}
    objectives = Objectives(SUMS, normalise)
    scored = objectives.scored(trials)
    expected = oracle(normalise, rows, frozen)
    for number, one in scored.items():
        assert one.scores == pytest.approx(expected[:, number].tolist(), rel=1e-6, abs=1e-6)
        assert one.score == pytest.approx(sum(one.scores), rel=1e-9, abs=1e-9)
        shares = objectives.scale(trials).shares(one.pictures)
        assert np.mean(shares) == pytest.approx(one.score, rel=1e-6, abs=1e-6)
    single = Objectives(SUMS[:1], normalise).scored(trials)
    assert all(t.scores == () for t in single.values())
    assert [t.score for t in single.values()] == pytest.approx(
        expected[0].tolist(), rel=1e-6, abs=1e-6
    )


def test_later_trials_do_not_move_the_scores_of_earlier_ones():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(6, 3, 3)).tolist()
    trials = {n: trial(n, row, asked=n >= 3) for n, row in enumerate(rows)}
    few = Objectives(SUMS, "zscore").scored({n: trials[n] for n in range(4)})
    many = Objectives(SUMS, "zscore").scored(trials)
    assert [few[n].scores for n in few] == [many[n].scores for n in few]


TALLIES = {
    "median": lambda x, w: np.median(x),
    "geometric": lambda x, w: np.exp(np.average(np.log(x), weights=w)),
    "harmonic": lambda x, w: 1 / np.average(1 / x, weights=w),
    "min": lambda x, w: x.min(),
    "max": lambda x, w: x.max(),
}


@pytest.mark.parametrize("tally", TALLIES)
@pytest.mark.parametrize("normalise", ["none", "rank"])
def test_a_tally_takes_the_place_of_the_mean(tally, normalise):
    rows = np.random.default_rng(2).uniform(0.1, 2, (4, 3, 3))
    trials = {n: trial(n, row.tolist(), asked=n == 3) for n, row in enumerate(rows)}
    tallied = Objectives(SUMS[:1], normalise, tallies={"a": tally})
    found = [one.score for one in tallied.scored(trials).values()]
    values = rows[:, :, 0]
    if normalise == "rank":
        pool = values[:3].ravel()
        below = (pool < values[..., None]).sum(-1) + (pool == values[..., None]).sum(-1) / 2
        values = below / pool.size
    means = [one.score for one in Objectives(SUMS[:1], normalise).scored(trials).values()]
    own = [TALLIES[tally](row, WEIGHTS) - np.average(row, weights=WEIGHTS) for row in values]
    assert found == pytest.approx(np.array(means) + 2 * np.array(own))
    again = Objectives.of(json.loads(json.dumps(tallied.describe())))
    assert again == tallied
    assert Objectives.of({}).tallies == {}


@pytest.mark.parametrize("tally", ["geometric", "harmonic"])
def test_means_of_logarithms_and_inverses_are_the_lowest_score_where_it_is_not_above_0(tally):
    objectives = Objectives((Objective("one", {"a": 1.0}),), tallies={"a": tally})
    for lowest in (0.0, -0.3):
        trials = {0: trial(0, [[1.0] * 3, [lowest] * 3, [2.0] * 3])}
        assert objectives.scored(trials)[0].score == lowest


def test_a_failed_trial_has_no_part_in_anything():
    trials = {n: trial(n, np.full((3, 3), n).tolist()) for n in range(3)}
    failed = Trial(3, "failed", trials[0].proposal, reason="no")
    with_it = Objectives(SUMS, "zscore").scored({**trials, 3: failed})
    assert with_it.pop(3) is failed
    assert with_it == Objectives(SUMS, "zscore").scored(trials)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)])
def test_of_equal_trials_the_first_is_the_best(order):
    scores = {0: 1.0, 1: 2.0, 2: 2.0, 3: 0.5}
    rows = [[0] * 3] * 3
    assert best_of({n: replace(trial(n, rows), score=scores[n]) for n in order}).number == 1
    equal = {n: replace(trial(n, rows), score=-0.0 if n else 0.0) for n in order}
    assert best_of(equal).number == 0


@given(points=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_front_is_what_nothing_dominates(points):
    trials = {n: replace(trial(n, [[0] * 3] * 3), score=sum(p), scores=p)
              for n, p in enumerate(points)}  # fmt: skip
    front = {t.number for t in front_of(trials)}
    expected = {
        n for n, (x, y) in enumerate(points)
        if not any(a >= x and b >= y and (a, b) != (x, y) for a, b in points)
    }  # fmt: skip
    assert front == expected
    assert best_of(trials).number in front


def summary(folder):
    study = read_study(folder)
    return [(t.state, dict(t.proposal.values), t.score, t.scores) for t in study.trials.values()]


@pytest.mark.parametrize("optimiser", ["nsga2", "gp"])
def test_run_in_pieces_equals_one_run(tmp_path, optimiser):
    make = lambda folder: make_study(folder, optimiser, n_iters=3, objectives=TWO)  # noqa: E731
    run_study(make(tmp_path / "whole"))
    for trials in (2, 7, None):
        run_study(make(tmp_path / "pieces"), trials=trials)
    assert summary(tmp_path / "pieces") == summary(tmp_path / "whole")


def test_an_optimiser_is_told_of_the_initial_design_by_its_final_scores(tmp_path):
    told = {}

    class Spy:
        def __init__(self, *_):
            self.asks = 0

        def ask(self):
            self.asks += 1
            return make_study(tmp_path).search.centre()

        def tell(self, result):
            assert self.asks
            told[result.number] = result

        def replay(self, results):
            assert not self.asks
            told.update({result.number: result for result in results})

    run_study(make_study(tmp_path, Spy, n_iters=2, objectives=TWO))
    trials = read_study(tmp_path).trials
    assert set(told) == set(trials) == set(range(8))
    for number, result in told.items():
        assert result.scores == trials[number].scores
        assert result.score == trials[number].score
        assert result.proposed == (number >= 6)


def test_recipes_of_the_front_are_written_and_kept_up_to_date(tmp_path):
    finished = run_study(make_study(tmp_path, "nsga2", n_iters=5, objectives=TWO))
    front = front_of(read_study(tmp_path).trials)
    assert len(front) > 1
    assert [path.name for path in finished.front] == [f"trial-{t.number:04d}.yaml" for t in front]
    for path, one in zip(finished.front, front, strict=True):
        assert quality(load_recipe(path).hyperparameters) == quality(one.proposal.weights)
    assert finished.best in front
    assert write_front(Merger(), front[:1], tmp_path) == finished.front[:1]
    assert [*(tmp_path / "front").iterdir()] == [finished.front[0]]


def test_optuna_sees_every_objective(tmp_path):
    run_study(make_study(tmp_path, n_iters=1, objectives=TWO))
    study = optuna.load_study(study_name="toy", storage=f"sqlite:///{tmp_path}/study.db")
    assert [d.name for d in study.directions] == ["MAXIMIZE", "MAXIMIZE"]
    last = read_study(tmp_path).trials[6]
    assert tuple(study.trials[-1].values) == last.scores


def test_scores_cannot_be_normalised_without_a_complete_trial(tmp_path):
    class Broken(Generator):
        def load(self, model):
            raise GeneratorError("no")

    broken = Evaluator(Broken(), (WeightedScorer("judge", 1.0, Judge()),), PAYLOADS)
    study = make_study(tmp_path, n_iters=1, objectives=TWO, evaluator=broken)
    with pytest.raises(StudyError, match="no trial before the optimiser's is complete") as caught:
        run_study(replace(study, queue=study.queue[:2]))
    assert "normalise" in caught.value.hint


def test_objectives_survive_the_definition():
    assert Objectives.of(json.loads(json.dumps(TWO.describe()))) == TWO


@pytest.mark.parametrize("power", [997, -1000], ids=["1e300", "1e-301"])
def test_normalised_scores_do_not_depend_on_the_unit_however_large(power):
    rows = [[[0.1 * i + 0.01 * p + 0.3 * i * p, 0.5, 0.5] for p in range(3)] for i in range(4)]
    large = [[[x * 2.0**power for x in row] for row in one] for one in rows]
    here = Objectives((Objective("one", {"a": 1.0}),), "zscore")
    scored, other = (
        here.scored({i: trial(i, one) for i, one in enumerate(some)}) for some in (rows, large)
    )
    assert [t.score for t in other.values()] == [t.score for t in scored.values()]
    assert len({t.score for t in scored.values()}) == 4
