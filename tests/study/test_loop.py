"""The loop of a study: order, storage, failures, interruption, resumption, the best."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest
from PIL import Image

from bmerge import (
    BmergeError,
    GeneratorError,
    PluginError,
    StudyError,
    StudyInterruptedError,
)
from bmerge.evaluate.evaluation import Evaluator
from bmerge.evaluate.scoring import WeightedScorer
from bmerge.recipe import load_recipe
from bmerge.storage.stored import read_study
from bmerge.study.events import PictureDone, StudyStarted, TrialFinished, TrialStarted
from bmerge.study.loop import run_study
from bmerge.trials.limits import Limits
from toy_study import BEST, PAYLOADS, Generator, Judge, factory, make_study, quality


class Flaky(Generator):
    """Fails at chosen loads with a given error."""

    def __init__(self, errors):
        super().__init__()
        self.errors, self.loads = errors, 0

    def load(self, model):
        super().load(model)
        self.loads += 1
        if self.loads - 1 in self.errors:
            raise self.errors[self.loads - 1]


def with_generator(generator, scorer=None):
    return Evaluator(generator, (WeightedScorer("judge", 1.0, scorer or Judge()),), PAYLOADS)


def summary(folder):
    return [
        (t.number, t.state, t.proposal.phase, t.proposal.source, dict(t.proposal.values), t.score)
        for t in read_study(folder).trials.values()
    ]


def test_run_study_goes_through_the_phases_in_order(tmp_path):
    finished = run_study(make_study(tmp_path, n_iters=2, init=2))
    trials = read_study(tmp_path).trials
    assert [(t.proposal.phase, t.proposal.source) for t in trials.values()] == [
        ("baseline", "model a"), ("baseline", "model b"), ("baseline", "centre"),
        ("init", "sobol"), ("init", "sobol"), ("iters", "random"), ("iters", "random"),
    ]  # fmt: skip
    assert list(trials) == list(range(7))
    assert [t.sequence for t in trials.values()] == list(range(7))
    assert [t.asks_before for t in trials.values()] == [0, 0, 0, 0, 0, 1, 2]
    for trial in trials.values():
        assert trial.score == pytest.approx(quality(trial.proposal.weights) + 0.01)
        assert trial.means == {"judge": trial.score}
    assert finished.best == max(trials.values(), key=lambda t: t.score)


def test_run_study_stores_every_picture(tmp_path):
    run_study(make_study(tmp_path, n_iters=0, init=0))
    trial = read_study(tmp_path).trials[1]
    assert [p["id"] for p in trial.pictures] == [p.id for p in PAYLOADS]
    for picture, payload in zip(trial.pictures, PAYLOADS, strict=True):
        with Image.open(tmp_path / picture["file"]) as image:
            assert image.text["prompt"] == payload.prompt
            assert image.text["score:judge"] == repr(picture["scores"]["judge"])
        assert picture["seed"] == payload.seed


def test_run_study_writes_the_best_with_a_recipe_of_the_same_merge(tmp_path):
    study = make_study(tmp_path)
    finished = run_study(study)
    recipe = load_recipe(finished.recipe)
    weights = finished.best.proposal.weights["alpha"]
    assert {b: recipe.hyperparameters["alpha"].of(b) for b in BEST} == {
        b: weights.of(b) for b in BEST
    }
    study.merger.write(recipe.hyperparameters, tmp_path / "again")
    assert quality(recipe.hyperparameters) == quality(finished.best.proposal.weights)


def test_run_study_tells_what_happens(tmp_path):
    events = []
    run_study(make_study(tmp_path, n_iters=1, init=0), on_event=events.append)
    counts = Counter(type(event).__name__ for event in events)
    assert counts == {
        "StudyStarted": 1, "TrialStarted": 4, "PictureDone": 12, "TrialFinished": 4,
        "StudyFinished": 1,
    }  # fmt: skip
    assert events[0] == StudyStarted(0, 4, None, Limits(4))
    assert events[1] == TrialStarted(0, "baseline", "model a")
    assert events[2] == PictureDone(0, 0, 3, pytest.approx(quality_of(events)))


def quality_of(events):
    finished = next(e for e in events if isinstance(e, TrialFinished))
    return quality(finished.trial.proposal.weights)


def test_run_study_closes_models_and_generator(tmp_path):
    study = make_study(tmp_path, evaluator=with_generator(Flaky({1: GeneratorError("no")})))
    run_study(study)
    assert all(model.closed for model in study.merger.models)
    assert study.evaluator.generator.closed == 1


@pytest.mark.parametrize(
    "optimiser", ["random", "bayes", "gp", "tpe", "nevergrad", "cmaes", "auto"]
)
def test_run_study_in_pieces_equals_one_run(tmp_path, optimiser):
    run_study(make_study(tmp_path / "whole", optimiser, n_iters=5))
    for trials in (2, 7, 8, None):
        run_study(make_study(tmp_path / "pieces", optimiser, n_iters=5), trials=trials)
    assert summary(tmp_path / "pieces") == summary(tmp_path / "whole")


def test_run_study_trials_counts_all_and_more_may_follow(tmp_path):
    run_study(make_study(tmp_path, n_iters=1), trials=2)
    assert len(summary(tmp_path)) == 2
    run_study(make_study(tmp_path, n_iters=1), trials=9)
    assert len(summary(tmp_path)) == 9
    run_study(make_study(tmp_path, n_iters=4))
    assert len(summary(tmp_path)) == 10


def test_run_study_failed_trial_has_a_reason_and_no_score(tmp_path):
    generator = Flaky({1: GeneratorError("no memory left")})
    run_study(make_study(tmp_path, evaluator=with_generator(generator)))
    trials = read_study(tmp_path).trials
    assert (trials[1].state, trials[1].score) == ("failed", None)
    assert trials[1].reason == "no memory left"
    assert len(trials) == 10
    assert all(t.state == "complete" for t in trials.values() if t.number != 1)


def test_run_study_failing_scorer_fails_the_trial(tmp_path):
    class Broken(Judge):
        calls = 0

        def score(self, pictures):
            self.calls += 1
            if self.calls == 2:
                raise ZeroDivisionError("0 / 0")
            return super().score(pictures)

    run_study(make_study(tmp_path, evaluator=with_generator(Generator(), Broken())))
    reason = read_study(tmp_path).trials[1].reason
    pictures = "'p00-s0' (picture 0), 'p01-s1' (picture 1), 'p02-s2' (picture 2)"
    told = f"the scorer 'judge' failed at {pictures}: ZeroDivisionError: 0 / 0"
    assert re.fullmatch(rf"{re.escape(told)} \({re.escape(__file__)}:\d+\)", reason)


def test_run_study_stops_after_three_failures_in_a_row(tmp_path):
    errors = {n: GeneratorError(f"no model {n}") for n in (1, 3, 4, 5, 6)}
    study = make_study(tmp_path, evaluator=with_generator(Flaky(errors)))
    with pytest.raises(StudyError, match="3 trials failed one after the other, .*: no model 5"):
        run_study(study)
    assert [t.state for t in read_study(tmp_path).trials.values()].count("failed") == 4
    run_study(make_study(tmp_path))
    assert len(summary(tmp_path)) == 10


@pytest.mark.parametrize("optimiser", ["random", "gp", "nevergrad"])
def test_run_study_with_failed_trials_resumes_exactly(tmp_path, optimiser):
    for folder, cuts in (("whole", (None,)), ("pieces", (4, 8, None))):
        done = 0
        for trials in cuts:
            errors = {n - done: GeneratorError("no") for n in (1, 7) if n >= done}
            evaluator = with_generator(Flaky(errors))
            run_study(make_study(tmp_path / folder, optimiser, evaluator=evaluator), trials=trials)
            done = trials
    assert summary(tmp_path / "pieces") == summary(tmp_path / "whole")


def test_run_study_interrupted_goes_on_where_it_was(tmp_path):
    run_study(make_study(tmp_path / "whole"))
    study = make_study(tmp_path / "cut", evaluator=with_generator(Flaky({5: KeyboardInterrupt()})))
    with pytest.raises(StudyInterruptedError, match="finished trials are stored") as caught:
        run_study(study)
    assert caught.value.hint == "run the same command again to continue"
    assert study.evaluator.generator.closed == 1
    assert [t.state for t in read_study(tmp_path / "cut").trials.values()][-1] == "running"
    events = []
    run_study(make_study(tmp_path / "cut"), on_event=events.append)
    assert events[0].done == 5
    assert events[1] == TrialStarted(5, "init", "sobol", again=True)
    assert summary(tmp_path / "cut") == summary(tmp_path / "whole")


class Scripted:
    """An optimiser that proposes what it is given."""

    def __init__(self, *proposals):
        self.proposals = list(proposals)

    def ask(self):
        return self.proposals.pop(0)

    def tell(self, result):
        pass

    def replay(self, results):
        pass


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha.M00": 1.2}, r"'given' proposed alpha.M00 = 1.2, outside \[0, 1\]"),
        ({"alpha.M00": float("nan")}, "proposed alpha.M00 = nan"),
        ({"alpha.M00": "much"}, "proposed alpha.M00 = 'much', not a number"),
        ({"alpha.M00": None}, "proposed alpha.M00 = None, not a number"),
        ({"alpha.M01": 0.5}, "for other parameters than asked for: one for alpha.M01"),
    ],
    ids=["bounds", "nan", "text", "none", "names"],
)
def test_run_study_refuses_a_wrong_proposal(tmp_path, change, message):
    study = make_study(tmp_path)
    proposal = {**study.search.centre(), **change}
    study = make_study(tmp_path, optimiser=lambda *_: Scripted(proposal))
    with pytest.raises(PluginError, match=message):
        run_study(study)


@pytest.mark.parametrize(
    ("proposal", "message"),
    [
        (None, "'given' proposed a NoneType, not a mapping of values"),
        ([0.5], "'given' proposed a list, not a mapping of values"),
        ({}, "'given' proposed values for other parameters than asked for: no alpha.BASE"),
    ],
)
def test_run_study_refuses_what_is_no_proposal(tmp_path, proposal, message):
    with pytest.raises(PluginError, match=message):
        run_study(make_study(tmp_path, optimiser=lambda *_: Scripted(proposal)))


def test_run_study_warns_where_an_optimiser_cannot_go_on_exactly(tmp_path, caplog):
    centre = make_study(tmp_path).search.centre()
    flaky = with_generator(Flaky({6: KeyboardInterrupt()}))
    make = lambda *points: lambda *_: Scripted(*points)  # noqa: E731
    with pytest.raises(StudyInterruptedError):
        run_study(make_study(tmp_path, n_iters=1, optimiser=make(centre), evaluator=flaky))
    other = {**centre, "alpha.M00": 0.1}
    run_study(make_study(tmp_path, n_iters=1, optimiser=make(other)))
    assert "proposes another point than before the interruption" in caplog.text
    assert dict(read_study(tmp_path).trials[6].proposal.values) == centre


def test_run_study_refuses_another_definition(tmp_path):
    run_study(make_study(tmp_path), trials=1)
    study = make_study(tmp_path)
    other = replace(study.definition, optimiser=replace(study.definition.optimiser, seed=6))
    message = r"made with different optimiser.seed: 5, now 6"
    with pytest.raises(StudyError, match=message) as caught:
        run_study(make_study(tmp_path, definition=other))
    assert "--out" in caught.value.hint


def test_run_study_without_trials_takes_any_definition(tmp_path):
    def refuse(*_):
        raise PluginError("unknown algorithm")

    with pytest.raises(PluginError):
        run_study(make_study(tmp_path, optimiser=refuse))
    study = make_study(tmp_path)
    run_study(replace(study, definition=replace(study.definition, baselines=False)), trials=1)
    assert len(read_study(tmp_path).trials) == 1


def test_run_study_refuses_another_study_in_the_folder(tmp_path):
    run_study(make_study(tmp_path), trials=1)
    with pytest.raises(StudyError, match="holds the study 'toy', not 'doll'"):
        run_study(make_study(tmp_path, name="doll"))


def test_run_study_optimiser_keeps_the_first_budget(tmp_path):
    budgets = []

    def spy(space, seed, budget):
        budgets.append(budget)
        return factory("random")(space, seed, budget)

    for n_iters in (4, 6):
        run_study(make_study(tmp_path, n_iters=n_iters, optimiser=spy))
    assert budgets == [4, 4]


def test_run_study_in_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    study = make_study(tmp_path / "file" / "study")
    with pytest.raises(BmergeError, match="cannot be written: Not a directory"):
        run_study(study)
    assert study.evaluator.generator.closed == 1


def test_run_study_says_nothing_on_its_own(tmp_path):
    program = (
        "import sys, toy_study\n"
        "from bmerge.study.loop import run_study\n"
        "run_study(toy_study.make_study(sys.argv[1], 'gp', n_iters=2, init=1, design='random'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path],
        check=True, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize("place", ["load", "generate", "score"])
def test_a_plugin_that_exits_fails_its_trial_only(tmp_path, place):
    parts = {"load": Generator, "generate": Generator, "score": Judge}
    seen = []

    class Exits(parts[place]):
        pass

    def leave(self, given):
        seen.append(given)
        if len(seen) == 2:
            sys.exit(0)
        return getattr(parts[place], place)(self, given)

    setattr(Exits, place, leave)
    made = Exits()
    evaluator = with_generator(*((Generator(), made) if place == "score" else (made,)))
    run_study(make_study(tmp_path, n_iters=0, init=0, evaluator=evaluator))
    assert [t.state for t in read_study(tmp_path).trials.values()] == [
        "complete", "failed", "complete",
    ]  # fmt: skip
    assert "SystemExit: 0" in read_study(tmp_path).trials[1].reason


def test_a_plugin_that_exits_elsewhere_does_not_end_the_run_in_silence(tmp_path):
    class Leaves(Generator):
        def check(self, *, paint):
            sys.exit(0)

    with pytest.raises(PluginError, match="a plugin ended the run: SystemExit: 0"):
        run_study(make_study(tmp_path, evaluator=with_generator(Leaves())))
