"""Failed trials that are evaluated again: their numbers and proposals stay, all else goes on."""

from __future__ import annotations

import pytest

from bmerge import GeneratorError, StudyError, StudyInterruptedError
from bmerge.evaluate.evaluation import Evaluator
from bmerge.evaluate.scoring import WeightedScorer
from bmerge.storage.stored import read_study
from bmerge.study.events import TrialStarted
from bmerge.study.loop import run_study
from toy_study import PAYLOADS, Generator, Judge, make_study

BAD = GeneratorError("NaN in all pictures")


class Failing(Generator):
    """Fails with an error at chosen loads of this process, counted from 0."""

    def __init__(self, *loads, error=BAD):
        super().__init__()
        self.at, self.error, self.loads = loads, error, 0

    def load(self, model):
        self.loads += 1
        if self.loads - 1 in self.at:
            raise self.error
        super().load(model)


def study_of(folder, generator=None, optimiser="random", **changes):
    evaluator = Evaluator(
        generator or Generator(), (WeightedScorer("judge", 1.0, Judge()),), PAYLOADS
    )
    return make_study(
        folder, optimiser, evaluator=evaluator, n_iters=5, init=1, design="random", **changes
    )


def rows(folder):
    return {
        t.number: (t.state, dict(t.proposal.values), t.proposal.phase, t.score, t.means, t.reason)
        for t in read_study(folder).trials.values()
    }


def sequences(folder):
    return [t.sequence for t in read_study(folder).trials.values()]


def test_failed_trials_are_completed_under_their_numbers(tmp_path):
    run_study(study_of(tmp_path / "whole"))
    finished = run_study(study_of(tmp_path / "cut", Failing(1, 5)))
    before = rows(tmp_path / "cut")
    assert [n for n, row in before.items() if row[0] == "failed"] == [1, 5]
    events = []
    again = Failing()
    run_study(study_of(tmp_path / "cut", again), on_event=events.append, retry_failed=True)
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")  # random does not look at scores
    assert again.loads == 2
    assert (events[0].done, events[0].total, events[0].best) == (7, 9, finished.best)
    started = [event for event in events if isinstance(event, TrialStarted)]
    assert [(event.number, event.again) for event in started] == [(1, True), (5, True)]
    assert sequences(tmp_path / "cut") == [0, 9, 2, 3, 4, 10, 6, 7, 8]


def test_without_the_option_failed_trials_stay(tmp_path):
    run_study(study_of(tmp_path, Failing(1)))
    before = rows(tmp_path)
    run_study(study_of(tmp_path))
    assert rows(tmp_path) == before


def test_trial_that_fails_again_has_its_new_reason(tmp_path):
    run_study(study_of(tmp_path, Failing(0, 1, 3, 4)))
    other = Failing(*range(9), error=GeneratorError("black"))
    run_study(study_of(tmp_path, other), retry_failed=True)  # more than three in a row
    reasons = {n: row[-1] for n, row in rows(tmp_path).items() if row[0] == "failed"}
    assert reasons == dict.fromkeys((0, 1, 3, 4), "black")
    run_study(study_of(tmp_path), retry_failed=True)
    assert {row[0] for row in rows(tmp_path).values()} == {"complete"}
    assert {row[-1] for row in rows(tmp_path).values()} == {None}


@pytest.mark.parametrize("optimiser", ["random", "gp", "tpe", "cmaes"])
def test_retried_study_that_is_interrupted_ends_as_if_it_was_not(tmp_path, optimiser, caplog):
    for folder in ("whole", "pieces"):
        run_study(study_of(tmp_path / folder, Failing(1, 5, 6), optimiser), trials=7)
    run_study(study_of(tmp_path / "whole", None, optimiser), retry_failed=True)
    stop = KeyboardInterrupt()
    for at, retry in ((1, True), (0, False), (1, False), (2, False)):
        study = study_of(tmp_path / "pieces", Failing(at, error=stop), optimiser)
        with pytest.raises(StudyInterruptedError):
            run_study(study, retry_failed=retry)
    run_study(study_of(tmp_path / "pieces", None, optimiser))
    assert rows(tmp_path / "pieces") == rows(tmp_path / "whole")
    assert sequences(tmp_path / "pieces") == sequences(tmp_path / "whole")
    assert "proposes another point" not in caplog.text


def test_optimiser_is_told_the_new_score_only(tmp_path):
    told = []

    class Listening:
        def __init__(self, space, seed, budget):
            self.space = space

        def ask(self):
            return {p.name: p.high for p in self.space.parameters}

        def tell(self, result):
            told.append((result.number, result.score is None))

        def replay(self, results):
            told.extend((result.number, result.score is None) for result in results)

    run_study(study_of(tmp_path, Failing(1, 4), Listening), trials=6)
    told.clear()
    run_study(study_of(tmp_path, None, Listening), trials=7, retry_failed=True)
    assert told == [(n, False) for n in (0, 2, 3, 5, 1, 4, 6)]


def test_mistake_of_the_study_while_retrying_forgets_nothing(tmp_path):
    run_study(study_of(tmp_path, Failing(0, 1)), trials=2)
    before = rows(tmp_path)
    mistake = Failing(0, error=GeneratorError("no such sampler", blame="study"))
    with pytest.raises(GeneratorError, match="no such sampler"):
        run_study(study_of(tmp_path, mistake), retry_failed=True)
    assert [row[1] for row in rows(tmp_path).values()] == [row[1] for row in before.values()]
    run_study(study_of(tmp_path))
    assert {row[0] for row in rows(tmp_path).values()} == {"complete"}


def test_outage_while_retrying_leaves_the_rest_to_the_same_command(tmp_path):
    run_study(study_of(tmp_path, Failing(1, 5)))
    down = GeneratorError("refused", transient=True)
    with pytest.raises(StudyError, match="trial 1 cannot be evaluated: refused"):
        run_study(study_of(tmp_path, Failing(0, error=down), patience=0), retry_failed=True)
    assert [row[0] for row in rows(tmp_path).values()].count("running") == 2
    run_study(study_of(tmp_path))
    assert {row[0] for row in rows(tmp_path).values()} == {"complete"}


def test_pictures_of_a_failed_trial_are_painted_again(tmp_path, monkeypatch):
    class Stumbling(Generator):
        """Is down after the first picture, then finds that the merge is bad."""

        errors, painted = (), 0

        def generate(self, payloads):
            for picture in super().generate(payloads):
                if self.painted and self.errors:
                    self.errors, error = self.errors[1:], self.errors[0]
                    raise error
                self.painted += 1
                yield picture

    monkeypatch.setattr("bmerge.study.waiting._FIRST", 0.001)
    first = Stumbling()
    first.errors = (GeneratorError("refused", transient=True), BAD)
    run_study(study_of(tmp_path, first), trials=2)
    assert [row[0] for row in rows(tmp_path).values()] == ["failed", "complete"]
    stop = study_of(tmp_path, Failing(0, error=KeyboardInterrupt()))
    with pytest.raises(StudyInterruptedError):
        run_study(stop, trials=2, retry_failed=True)
    again = Stumbling()
    run_study(study_of(tmp_path, again), trials=2)
    assert again.painted == len(PAYLOADS)
