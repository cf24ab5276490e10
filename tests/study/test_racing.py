"""Trials that fall behind are stopped: when, what they are told, and who can win."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import optuna
import pytest

from bmerge import BmergeError, Result, StudyError
from bmerge.cli.study_progress import trial_text
from bmerge.evaluate.payloads import Witnesses
from bmerge.evaluate.scoring import WeightedScorer
from bmerge.storage.stored import read_study
from bmerge.study.events import RacingChosen
from bmerge.study.loop import run_study
from bmerge.study.racing import check_racing, cost_of_a_merge
from bmerge.study_file.load import load_study
from bmerge.trials.objective import Objective, Objectives
from bmerge.trials.picture_record import PictureRecord
from bmerge.trials.race import Race
from bmerge.trials.told import results_of
from bmerge.trials.trial import Proposal, Trial, best_of
from grey_study import STUDY
from noisy_study import BOTH, PAYLOADS, Judge, N, Painter, race_study
from toy_study import ONE, TWO


def order(seed):
    return sorted(
        (p.id for p in PAYLOADS), key=lambda i: hashlib.sha256(f"{seed}/{i}".encode()).digest()
    )


def scores(trial, ids):
    """Return the value of each scorer's weighted mean over some pictures, as a column."""
    by_id = {p["id"]: p for p in trial.pictures}
    total = 0.0
    for label, weight in BOTH.sums[0].weights.items():
        judged = [by_id[i] for i in ids if label in by_id[i]["scores"]]
        if judged:
            values = [p["scores"][label] for p in judged]
            total += weight * np.average(values, weights=[p["weight"] for p in judged])
    return total


@pytest.fixture(scope="module")
def raced(tmp_path_factory):
    """A study that has raced: its folder, what it painted in each trial."""
    folder, painter = tmp_path_factory.mktemp("raced"), Painter()
    run_study(race_study(folder, painter))
    assert painter.stopped == painter.loads
    return folder, painter.painted


def test_a_trial_stops_at_the_first_picture_from_the_fourth_on_that_shows_it_behind(raced):
    folder, painted = raced
    trials = read_study(folder).trials
    states = defaultdict(list)
    for number, trial in trials.items():
        earlier = {n: t for n, t in trials.items() if n < number}
        best = best_of(earlier)
        if trial.proposal.phase == "baseline":
            assert painted[number] == [p.id for p in PAYLOADS]
            assert trial.state == "complete"
            continue
        assert painted[number] == order(5)[: len(painted[number])]
        stop = N
        for n in range(4, N):
            if scores(trial, painted[number][:n]) < scores(best, painted[number][:n]):
                stop = n
                break
            if n == len(painted[number]):
                break
        assert len(painted[number]) == len(trial.pictures) == stop
        assert trial.state == ("complete" if stop == N else "pruned")
        states[trial.state].append(stop)
    assert states["complete"], "nothing has ever won"
    assert len(set(states["pruned"])) > 1, "all stopped at the same picture"


def test_a_pruned_trial_is_told_as_the_best_plus_the_difference_with_its_variance(raced):
    trials = read_study(raced[0]).trials
    for result in results_of(trials, BOTH):
        trial = trials[result.number]
        assert (result.pictures, result.pruned) == (len(trial.pictures), trial.state == "pruned")
        if not result.pruned:
            assert result.variance == 0
            continue
        best = best_of({n: t for n, t in trials.items() if n < result.number})
        ids = [p["id"] for p in trial.pictures]
        difference = scores(trial, ids) - scores(best, ids)
        assert difference < 0
        assert result.score == pytest.approx(best.score + difference, abs=1e-12)
        parts = np.zeros(len(ids))
        for label, weight in BOTH.sums[0].weights.items():
            pairs = {p["id"]: p for p in best.pictures}
            at = [i for i, p in enumerate(trial.pictures) if label in p["scores"]]
            w = np.array([trial.pictures[i]["weight"] for i in at])
            d = [trial.pictures[i]["scores"][label] - pairs[ids[i]]["scores"][label] for i in at]
            if at:
                parts[at] += weight * len(ids) * w * d / w.sum()
        variance = parts.var(ddof=1) / len(ids) * (1 - len(ids) / N)
        assert result.variance == pytest.approx(variance, rel=1e-9)


def test_pictures_are_told_one_by_one_as_parts_of_the_score(raced):
    trials = read_study(raced[0]).trials
    for result in results_of(trials, BOTH):
        trial = trials[result.number]
        whole = trial if trial.incumbent is None else trials[trial.incumbent]
        assert result.pruned == (whole is not trial)
        totals = {
            label: sum(p["weight"] for p in whole.pictures if label in p["scores"])
            for label in BOTH.sums[0].weights
        }
        for picture in trial.pictures:
            parts = [
                weight * picture["weight"] * picture["scores"][label] / totals[label]
                for label, weight in BOTH.sums[0].weights.items()
                if label in picture["scores"]
            ]
            assert result.by_picture[picture["id"]] == pytest.approx(N * sum(parts))
        assert len(result.by_picture) == len(trial.pictures)
        if not result.pruned:
            assert np.mean([*result.by_picture.values()]) == pytest.approx(result.score)


@pytest.mark.parametrize("tallies", [{}, {"judge": "min"}])
def test_pictures_that_do_not_add_up_to_the_score_are_not_told(raced, tallies):
    trials = read_study(raced[0]).trials
    other = replace(BOTH, tallies=tallies) if tallies else replace(BOTH, sums=BOTH.sums * 2)
    assert not any(result.by_picture for result in results_of(other.scored(trials), other))


def test_only_complete_trials_win_though_an_estimate_may_be_higher(raced):
    study = read_study(raced[0])
    best = best_of(study.trials)
    assert best.state == "complete"
    lucky = next(t for t in study.trials.values() if t.state == "pruned")
    raised = {**study.trials, lucky.number: replace(lucky, score=best.score + 1)}
    assert best_of(raised) == best


def test_optuna_sees_pruned_trials_with_their_estimates(raced):
    rows = optuna.load_study(study_name="toy", storage=f"sqlite:///{raced[0]}/study.db").trials
    own = read_study(raced[0]).trials
    pruned = [row for row in rows if row.state.name == "PRUNED"]
    assert [row.number for row in pruned] == [t.number for t in own.values() if t.state == "pruned"]
    assert pruned
    assert all(row.value == own[row.number].score for row in pruned)


@pytest.mark.parametrize("normalise", ["none", "zscore"])
def test_a_race_that_is_interrupted_ends_as_if_it_was_not(tmp_path, normalise):
    objectives = replace(BOTH, normalise=normalise)
    run_study(race_study(tmp_path / "whole", optimiser="gp", n_iters=5, objectives=objectives))
    for trials, fail in ((4, ()), (8, ((2, 3),)), (8, ((2, 5),)), (None, ())):
        study = race_study(
            tmp_path / "pieces", Painter(fail=fail), optimiser="gp", n_iters=5,
            objectives=objectives, patience=0.0,
        )  # fmt: skip
        with pytest.raises(StudyError, match="no answer") if fail else nullcontext():
            run_study(study, trials=trials)
    seen = [
        [(t.state, dict(t.proposal.values), t.score, t.variance, dict(t.means), len(t.pictures))
         for t in read_study(tmp_path / kind).trials.values()]
        for kind in ("whole", "pieces")
    ]  # fmt: skip
    assert seen[0] == seen[1]
    assert any(row[0] == "pruned" for row in seen[0])


@pytest.mark.parametrize(("merging", "on"), [(0.2, True), (14.9, True), (15.1, False)])
def test_auto_measures_whether_a_race_pays_and_says_so(tmp_path, monkeypatch, merging, on):
    def timed(trials):  # as if each picture had taken a second
        seconds = {"load": merging, "generate": N - 1.0, "score": 1.0}
        return cost_of_a_merge({n: replace(t, seconds=seconds) for n, t in trials.items()})

    monkeypatch.setattr("bmerge.study.racing.cost_of_a_merge", timed)
    events, again = [], []
    study = race_study(tmp_path, n_iters=4, init=0, racing="auto")
    run_study(study, on_event=events.append, trials=4)
    (chosen,) = (event for event in events if isinstance(event, RacingChosen))
    assert (chosen.on, chosen.cost) == (on, pytest.approx(merging))
    assert read_study(tmp_path).attributes["racing"] == on
    run_study(study, on_event=again.append)
    assert not any(isinstance(event, RacingChosen) for event in again)
    fewest = min(len(trial.pictures) for trial in read_study(tmp_path).trials.values())
    assert 4 <= fewest < N if on else fewest == N


def test_trials_that_cannot_be_compared_do_not_race(tmp_path):
    class Person:
        def score_trial(self, exhibit): ...
        def revise(self, folder): ...

    check_racing((WeightedScorer("judge", 1.0, Judge()),), ONE)
    with pytest.raises(StudyError, match="trials cannot race: the scorer 'me' judges all"):
        check_racing((WeightedScorer("me", 1.0, Person()),), ONE)
    with pytest.raises(StudyError, match="trials cannot race: there are several objectives"):
        check_racing((WeightedScorer("judge", 1.0, Judge()),), TWO)
    with pytest.raises(StudyError, match="cannot race: judge counts by its min, not its mean"):
        check_racing(
            (WeightedScorer("judge", 1.0, Judge()),), replace(ONE, tallies={"judge": "min"})
        )
    two = Objectives((Objective("a", {"judge": 1.0}), Objective("b", {"odd": 1.0})))
    run_study(race_study(tmp_path, objectives=two, racing="auto", n_iters=3))
    assert {t.state for t in read_study(tmp_path).trials.values()} == {"complete"}


@pytest.mark.parametrize("text", ["on", "off", "auto", "'on'"])
def test_the_study_file_says_whether_trials_race(tmp_path, text):
    file = tmp_path / "study.yaml"
    file.write_text(f"{STUDY}racing: {text}\n")
    assert load_study(file).racing == text.strip("'")
    file.write_text(f"{STUDY}racing: perhaps\n")
    with pytest.raises(BmergeError, match="racing must be one of auto, on, off"):
        load_study(file)


def test_a_pruned_trial_is_shown_as_what_it_is(raced, bmerge):
    trials = read_study(raced[0]).trials
    pruned = next(t for t in trials.values() if t.state == "pruned")
    text = trial_text(pruned, best_of(trials))
    assert f"behind after {len(pruned.pictures)} pictures, score about " in text
    shown = bmerge("studies", "show", raced[0]).out.splitlines()[1 + pruned.number]
    assert shown.endswith(f"behind trial {pruned.incumbent} after {len(pruned.pictures)} pictures")
    assert "  ~" in shown


def test_pictures_count_by_their_weights_in_an_estimate():
    def pictures(*scores):
        return tuple(
            {"id": f"p{n}", "file": "", "seed": 0, "weight": weight, "scores": {"judge": score}}
            for n, (weight, score) in enumerate(zip((1.0, 3.0), scores, strict=True))
        )

    best = Trial(0, "complete", Proposal("iters", "x", {}, {}), means={"judge": 0.5},
                 pictures=pictures(0.5, 0.5))  # fmt: skip
    race = Race(best, ONE.scale({}), 0)
    assert race.means(pictures(0.9, 0.1)) == pytest.approx({"judge": 0.5 + (0.4 - 3 * 0.4) / 4})


def _listed(times: int) -> list[Result]:
    """Return what is told of a complete trial of eight pictures and of one behind after four.

    The study lists each of the eight ``times`` times.
    """
    names = [[f"p{n}{copy}" for copy in "abc"[:times]] for n in range(8)]
    same = {name: copies[0] for copies in names for name in copies}
    objectives = replace(ONE, witnesses=Witnesses(pictures=same))

    def pictures(*scores: float) -> tuple[PictureRecord, ...]:
        return tuple(
            {"id": name, "file": "", "seed": 0, "weight": 1.0, "scores": {"judge": score}}
            for copies, score in zip(names, scores, strict=False)
            for name in copies
        )

    tried = Proposal("iters", "x", {"alpha": 0.5}, {})
    whole = Trial(0, "complete", tried, means={"judge": 0.45},
                  pictures=pictures(*np.arange(1, 9) / 10), sequence=0)  # fmt: skip
    some = Trial(1, "pruned", tried, pictures=pictures(0.0, 0.1, 0.4, 0.3), sequence=1, incumbent=0)
    scale = objectives.scale({})
    scored = {trial.number: scale.scored(trial, {0: whole}) for trial in (whole, some)}
    return results_of(scored, objectives)


def test_a_picture_that_is_listed_several_times_counts_once():
    once, thrice = _listed(1), _listed(3)
    for one, other in zip(once, thrice, strict=True):
        assert other.score == pytest.approx(one.score)
        assert other.variance == pytest.approx(one.variance)
        assert [*other.by_picture] == [*one.by_picture]
        assert [*other.by_picture.values()] == pytest.approx([*one.by_picture.values()])
    differences = np.array([-0.1, -0.1, 0.1, -0.1])
    assert once[1].variance == pytest.approx(differences.var(ddof=1) / 4 * (1 - 4 / 8))


def test_a_trial_is_judged_by_four_pictures_that_differ():
    same = {"p0b": "p0", "p1b": "p1"}
    scale = replace(ONE, witnesses=Witnesses(pictures=same)).scale({})

    def pictures(score: float) -> list[PictureRecord]:
        return [
            {"id": name, "file": "", "seed": 0, "weight": 1.0, "scores": {"judge": score}}
            for name in ("p0", "p0b", "p1", "p1b", "p2", "p3", "p4")
        ]

    best = Trial(0, "complete", Proposal("iters", "x", {}, {}), means={"judge": 0.5},
                 pictures=tuple(pictures(0.5)))  # fmt: skip
    race, behind = Race(best, scale, 0), pictures(0.4)
    assert [race.pace(behind[:count]) for count in range(7)] == [4, 3, 3, 2, 2, 1, 0]
