"""Studies that wait for a person: answers come from a thread, or from a later run."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

import pytest
from PIL import Image

from bmerge.errors import StudyInterruptedError
from bmerge.evaluate.evaluation import Evaluator
from bmerge.evaluate.scoring import WeightedScorer
from bmerge.rating import PersonScorer, Ratings
from bmerge.rating.scores import standings
from bmerge.storage.stored import read_study
from bmerge.study.events import Waiting
from bmerge.study.loop import run_study
from bmerge.trials.objective import Objective, Objectives
from toy_study import PAYLOADS, Generator, Judge, make_study

BOTH = Objectives((Objective("score", {"judge": 0.1, "person": 1.0}),))
ALONE = Objectives((Objective("score", {"person": 1.0}),))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("bmerge.rating.person._PAUSE", 0.01)


def study_with(folder, objectives=BOTH, *, n_iters=1, questions=4, **options):
    scorers = [WeightedScorer("person", 1.0, PersonScorer(questions=questions, **options))]
    if objectives is BOTH:
        scorers.append(WeightedScorer("judge", 0.1, Judge()))
    evaluator = Evaluator(Counting(), tuple(scorers), PAYLOADS)
    return make_study(folder, init=1, n_iters=n_iters, objectives=objectives, evaluator=evaluator)


class Counting(Generator):
    loads = 0

    def load(self, model):
        self.loads += 1
        super().load(model)


def grey(folder, ratings, picture):
    with Image.open(folder / ratings.file(picture)) as image:
        return image.getpixel((0, 0))[0]


def answer_one(folder):
    """Answer as somebody would who likes brighter pictures, which are the better merges."""
    ratings = Ratings(folder)
    question = ratings.question() if ratings.exist else None
    if question is None:
        return False
    left = grey(folder, ratings, question.left)
    if question.right is None:
        return ratings.answer(question.id, str(round(left / 25.5)))
    right = grey(folder, ratings, question.right)
    answer = "left" if left > right else "right" if right > left else "tie"
    return ratings.answer(question.id, answer)


@contextmanager
def person(folder):
    done = threading.Event()

    def rate():
        while not done.is_set():
            if not answer_one(folder):
                time.sleep(0.01)

    thread = threading.Thread(target=rate)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def brightness(folder, trial):
    with Image.open(folder / trial.pictures[0]["file"]) as image:
        return image.getpixel((0, 0))[0]


@pytest.mark.parametrize("mode", ["pairwise", "0-10"])
def test_person_decides_which_trial_is_best(tmp_path, mode):
    with person(tmp_path):
        finished = run_study(study_with(tmp_path, ALONE, mode=mode))
    trials = read_study(tmp_path).trials
    brightest = max(trials.values(), key=lambda trial: brightness(tmp_path, trial))
    missed = brightness(tmp_path, brightest) - brightness(tmp_path, finished.best)
    assert missed <= (0 if mode == "pairwise" else 26)  # marks are as coarse
    for number, standing in standings(Ratings(tmp_path)).items():
        assert trials[number].means["person"] == pytest.approx(standing.score)
        assert trials[number].score == pytest.approx(standing.score)
    assert all(len(picture["scores"]) == 1 for picture in trials[3].pictures)
    assert trials[3].seconds["judge"] > 0


def test_person_and_scorers_add_up(tmp_path):
    with person(tmp_path):
        run_study(study_with(tmp_path))
    for trial in read_study(tmp_path).trials.values():
        assert trial.score == pytest.approx(0.1 * trial.means["judge"] + trial.means["person"])


def test_interrupted_wait_goes_on_without_painting_again(tmp_path):
    """Each run is stopped after one answer; in the end it is as if nobody had."""

    def on_event(event):
        if isinstance(event, Waiting):
            answer_one(tmp_path)
            raise KeyboardInterrupt

    runs = painted = 0
    while True:
        study = study_with(tmp_path, n_iters=1)
        try:
            finished = run_study(study, on_event=on_event)
        except StudyInterruptedError:
            runs += 1
            assert runs < 100
            continue
        finally:
            painted += study.evaluator.generator.loads
        break
    assert runs > 10
    assert painted == len(read_study(tmp_path).trials) == 5
    with person(tmp_path / "whole"):
        whole = run_study(study_with(tmp_path / "whole", n_iters=1))
    assert finished.best.proposal.values == whole.best.proposal.values
    ours, theirs = (read_study(f).trials[4].proposal.values for f in (tmp_path, tmp_path / "whole"))
    assert ours == theirs


def test_pictures_that_are_gone_are_made_again(tmp_path):
    def on_event(event):
        if isinstance(event, Waiting):
            raise KeyboardInterrupt

    with pytest.raises(StudyInterruptedError):
        run_study(study_with(tmp_path), on_event=on_event)
    waiting = next(t for t in read_study(tmp_path).trials.values() if t.state == "running")
    for lost, loads in ((waiting.pictures[0]["file"], 1), (None, 0)):
        if lost:
            (tmp_path / lost).unlink()
        study = study_with(tmp_path)
        with pytest.raises(StudyInterruptedError):
            run_study(study, on_event=on_event)
        assert study.evaluator.generator.loads == loads
        assert all((tmp_path / picture["file"]).is_file() for picture in waiting.pictures)


def test_run_says_what_it_waits_for(tmp_path):
    reasons = []

    def on_event(event):
        if isinstance(event, Waiting):
            reasons.append(event.reason)
            answer_one(tmp_path)

    run_study(study_with(tmp_path, questions=2), on_event=on_event)
    assert reasons[0] == f"0 of 2 questions are answered; `bmerge rate {tmp_path}` asks them"
    assert any(reason.startswith("1 of 2") for reason in reasons)


def test_only_the_promising_trials_are_shown(tmp_path):
    with person(tmp_path):
        run_study(study_with(tmp_path, only_best=0.3, n_iters=6))
    trials = read_study(tmp_path).trials
    offers = Ratings(tmp_path).offers()
    for offer in offers:
        known = [t.means["judge"] for t in trials.values() if t.number <= offer.trial]
        place = sum(mean > trials[offer.trial].means["judge"] for mean in known) + 1
        assert offer.shown == (place <= -(-3 * len(known) // 10))
    shown = {offer.trial for offer in offers if offer.shown}
    assert 0 < len(shown) < len(trials)
    lowest = min(trials[number].means["person"] for number in shown)
    for number in set(trials) - shown:
        assert trials[number].means["person"] == pytest.approx(lowest)
    best = max(trials.values(), key=lambda trial: trial.score)
    assert best.number in shown


def test_trial_of_which_all_is_skipped_fails(tmp_path):
    def on_event(event):
        if isinstance(event, Waiting):
            ratings = Ratings(tmp_path)
            ratings.answer(ratings.question().id, "skip" if event.number == 2 else "tie")

    run_study(study_with(tmp_path, questions=2), on_event=on_event)
    trials = read_study(tmp_path).trials
    assert [t.number for t in trials.values() if t.state == "failed"] == [2]
    assert "all questions were skipped" in trials[2].reason


def test_later_answers_move_scores_but_not_what_the_optimiser_was_told(tmp_path):
    with person(tmp_path):
        first = run_study(study_with(tmp_path, ALONE, n_iters=2)).best
    ratings = Ratings(tmp_path)
    while last := ratings.last_answer():
        assert ratings.undo(*last)
    while question := ratings.question():  # another person, who likes it dark
        left, right = (grey(tmp_path, ratings, p) for p in (question.left, question.right))
        ratings.answer(question.id, "left" if left < right else "right")
    told = []
    study = study_with(tmp_path, ALONE, n_iters=3)
    inner = study.optimiser

    def watched(space, seed, budget):
        optimiser = inner(space, seed, budget)
        replay = optimiser.replay
        optimiser.replay = lambda results: (told.extend(results), replay(results))
        return optimiser

    with person(tmp_path):
        object.__setattr__(study, "optimiser", watched)
        second = run_study(study, trials=7).best
    trials = read_study(tmp_path).trials
    assert first.number != second.number
    assert brightness(tmp_path, second) < brightness(tmp_path, first)
    assert second.score == max(trial.score for trial in trials.values())
    assert max(told, key=lambda result: result.score).number == first.number


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "pairs"}, "mode is 'pairs', must be pairwise or 0-10"),
        ({"questions": 0}, "questions is 0, must be 1 or more"),
        ({"only_best": 0}, "only_best is 0, must be above 0 and at most 1"),
        ({"only_best": 30}, "only_best is 30, must be above 0 and at most 1"),
    ],
)
def test_wrong_option_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        PersonScorer(**options)
