"""Several evaluators at once: nothing is lost or doubled, and the run's thread does the rest."""

from __future__ import annotations

import math
import threading
from collections import Counter
from dataclasses import replace

import pytest

from bmerge import GeneratorError, StudyError
from bmerge.evaluate.evaluation import Evaluator
from bmerge.evaluate.scoring import WeightedScorer
from bmerge.storage.stored import read_study
from bmerge.study import loop
from bmerge.study.events import PictureDone, TrialFinished, TrialStarted
from bmerge.study.loop import run_study
from bmerge.study.study import Workplace
from bmerge.trials.limits import Limits
from noisy_study import BOTH, PAYLOADS, Painter, race_study
from noisy_study import Judge as NoisyJudge
from toy_study import PAYLOADS as THREE
from toy_study import Generator, Judge, Merger, factory, make_study


class Watched(Generator):
    """Notes which threads use it; its first trial waits until all others are at theirs, too."""

    def __init__(self, delay=0.0, fail=None, meet=None):
        super().__init__(delay)
        self.threads, self.fail, self.meet, self.loads = set(), fail, meet, 0

    def load(self, model):
        super().load(model)
        self.loads += 1
        self.threads.add(threading.get_ident())
        if self.meet and self.loads == 1:
            self.meet.wait(60)

    def generate(self, payloads):
        for picture in super().generate(payloads):
            if self.fail and self.loads >= self.fail[0]:
                raise self.fail[1]
            yield picture


def crew_study(folder, count, *, delay=0.0, fail=None, meet=None, optimiser="random", **changes):
    judge = (WeightedScorer("judge", 1.0, Judge()),)
    makers = [Watched(delay, fail if index == 1 else None, meet) for index in range(count)]
    places = [Workplace(Evaluator(g, judge, THREE), Merger()) for g in makers]
    study = make_study(
        folder, optimiser, evaluator=places[0].evaluator, others=tuple(places[1:]), **changes
    )
    return study, makers


def numbers(folder):
    return [(t.number, t.state) for t in read_study(folder).trials.values()]


def test_trials_are_evaluated_at_the_same_time_each_generator_in_a_thread_of_its_own(tmp_path):
    meet = threading.Barrier(4)
    study, makers = crew_study(tmp_path, 4, meet=meet, n_iters=9, init=2, design="random")
    events = []
    run_study(study, on_event=lambda e: events.append((e, threading.get_ident())))
    assert numbers(tmp_path) == [(n, "complete") for n in range(14)]
    assert all(len(maker.threads) == 1 for maker in makers)
    assert len(set.union(*(maker.threads for maker in makers))) == 4
    assert {thread for _, thread in events} == {threading.get_ident()}
    assert sum(maker.loads for maker in makers) == 14
    kinds = Counter(type(event) for event, _ in events)
    assert (kinds[TrialStarted], kinds[TrialFinished], kinds[PictureDone]) == (14, 14, 42)
    trials = read_study(tmp_path).trials.values()
    assert sorted(t.sequence for t in trials) == list(range(14))
    points = [tuple(t.proposal.values.values()) for t in trials if t.proposal.asked]
    assert len(set(points)) == 9, "a point was proposed twice"
    assert all(maker.closed == 1 for maker in makers)


@pytest.mark.parametrize(("long", "ahead"), [
    (math.inf, [0, 0, 1, 1, 1, 1, 1, 1, 0, 0]),
    (0.0, [0, 0, 1, 0, 0, 0, 0, 0, 0, 0]),  # as for trials that last long, but the first ask
])  # fmt: skip
def test_the_next_proposal_is_made_while_all_evaluators_are_busy(
    tmp_path, monkeypatch, long, ahead
):
    monkeypatch.setattr(loop, "_LONG", long)
    asks, started, found = [], [], []

    def make(space, seed, budget):
        inner = factory("random")(space, seed, budget)
        ask = inner.ask
        inner.ask = lambda: asks.append(ask()) or asks[-1]
        return inner

    def note(event):
        if isinstance(event, TrialStarted):
            started.append(event.phase == "iters")
        if isinstance(event, TrialFinished):
            found.append(len(asks) - sum(started))

    study, _ = crew_study(tmp_path, 2, n_iters=6, init=1, design="random", optimiser=make)
    run_study(study, on_event=note)
    assert found == ahead
    trials = read_study(tmp_path).trials.values()
    assert [t.proposal.values for t in trials if t.proposal.asked] == asks


@pytest.mark.parametrize("optimiser", ["random", "gp", "nevergrad", "cmaes"])
def test_every_ask_is_told_once_and_the_study_goes_on_after_an_outage(tmp_path, optimiser):
    told = []

    def make(space, seed, budget):
        inner = factory(optimiser)(space, seed, budget)
        tell = inner.tell
        inner.tell = lambda result: (told.append(result.number), tell(result))
        return inner

    down = (2, GeneratorError("no answer", blame="surroundings"))
    options = {"n_iters": 8, "init": 1, "design": "random", "optimiser": make}
    study, _ = crew_study(tmp_path, 3, delay=0.01, fail=down, patience=0.0, **options)
    with pytest.raises(StudyError, match="no answer"):
        run_study(study)
    cut = numbers(tmp_path)
    assert Counter(state for _, state in cut)["running"] >= 1
    told.clear()
    study, _ = crew_study(tmp_path, 3, delay=0.01, **options)
    run_study(study)
    assert numbers(tmp_path) == [(n, "complete") for n in range(12)]
    assert len(told) == len(set(told))
    trials = read_study(tmp_path).trials.values()
    points = [tuple(t.proposal.values.values()) for t in trials if t.proposal.asked]
    assert len(set(points)) == len(points) == 8, "a point was proposed twice"


def test_limits_count_what_trials_in_flight_may_take(tmp_path):
    study, _ = crew_study(tmp_path, 3, delay=0.01, n_iters=None, init=0, limits=Limits(pictures=25))
    run_study(study)
    assert sum(len(t.pictures) for t in read_study(tmp_path).trials.values()) == 24


def test_normalised_scores_wait_for_the_whole_reference(tmp_path):
    objectives = replace(BOTH, sums=(replace(BOTH.sums[0], weights={"judge": 1.0}),),
                         normalise="zscore")  # fmt: skip
    study, _ = crew_study(
        tmp_path, 3, delay=0.01, n_iters=4, init=2, design="random", objectives=objectives
    )
    run_study(study)
    trials = read_study(tmp_path).trials
    last = max(t.sequence for t in trials.values() if not t.proposal.asked)
    assert all(t.sequence > last for t in trials.values() if t.proposal.asked)


def test_a_race_with_several_evaluators_prunes_and_picks_a_complete_winner(tmp_path):
    study = race_study(tmp_path, n_iters=10)
    scorers = tuple(replace(s, scorer=NoisyJudge()) for s in study.evaluator.scorers)
    places = [Workplace(Evaluator(Painter(), scorers, PAYLOADS), Merger()) for _ in range(2)]
    finished = run_study(replace(study, others=tuple(places)))
    trials = read_study(tmp_path).trials
    assert {t.state for t in trials.values()} == {"complete", "pruned"}
    assert finished.best.state == "complete"
    for trial in trials.values():
        if trial.state == "pruned":
            assert trials[trial.incumbent].state == "complete"


def test_a_scorer_of_whole_trials_wants_one_evaluator(tmp_path):
    class Person:
        def score_trial(self, exhibit): ...
        def revise(self, folder):
            return {}

    study, _ = crew_study(tmp_path, 2)
    person = (WeightedScorer("me", 1.0, Person()),)
    study = replace(study, evaluator=replace(study.evaluator, scorers=person))
    with pytest.raises(StudyError, match="the scorer 'me' judges one trial at a time"):
        run_study(study)
