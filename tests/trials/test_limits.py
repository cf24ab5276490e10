"""A search ends at the first of its limits: trials, pictures, minutes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bmerge import BmergeError, PluginError, StudyError
from bmerge.cli.outlook import Outlook
from bmerge.host import load_registry
from bmerge.host.study_kinds import StudyKinds
from bmerge.storage.stored import read_study
from bmerge.study.events import PictureDone, StudyStarted, TrialFinished, TrialStarted
from bmerge.study.loop import run_study
from bmerge.study_file.load import load_study
from bmerge.trials.limits import Limits, pictures_of
from bmerge.trials.trial import Proposal, Trial
from grey_study import STUDY
from toy_study import factory, make_study

NOBODY = Proposal("iters", "x", {}, {})


def trials(*pictures, seconds=60.0):
    return [
        Trial(n, "complete", NOBODY, pictures=({},) * count, seconds={"total": seconds})
        for n, count in enumerate(pictures)
    ]


@pytest.mark.parametrize(
    ("limits", "known", "reason"),
    [
        (Limits(), trials(9, 9), None),
        (Limits(trials=3), trials(1, 1), None),
        (Limits(trials=2), trials(1, 1), "all 2 trials are done"),
        (Limits(pictures=32), trials(16), None),
        (Limits(pictures=31), trials(16), "16 of 31 pictures are made, and a trial may take 16"),
        (Limits(pictures=48), [*trials(16), Trial(1, "running", NOBODY)], None),
        (
            Limits(pictures=47),
            [*trials(16), Trial(1, "running", NOBODY)],
            "32 of 47 pictures are made, and a trial may take 16",
        ),
        (Limits(minutes=3), trials(1, 1), None),
        (Limits(minutes=2), trials(1, 1), "the 2 minutes are over"),
        (Limits(9, 16, 9), trials(1), "1 of 16 pictures are made, and a trial may take 16"),
    ],
)
def test_the_first_limit_that_is_reached_ends_the_search(limits, known, reason):
    assert limits.reached(known, 16) == reason


def test_what_is_left_goes_by_the_pictures_that_stopped_trials_have():
    stopped = [replace(trial, state="pruned") for trial in trials(4, 4)]
    assert Limits(pictures=56).trials_left(stopped, 16) == 3
    assert Limits(pictures=55).trials_left(stopped, 16) == 2
    assert Limits(pictures=24).reached(stopped, 16) is None


def test_pictures_are_never_more_than_the_limit_and_more_may_follow(tmp_path):
    study = make_study(tmp_path, n_iters=None, init=1, limits=Limits(pictures=20))
    finished = run_study(study)  # of 3 pictures a trial
    assert pictures_of(read_study(tmp_path).trials.values()) == 18
    assert finished.reason == "18 of 20 pictures are made, and a trial may take 3"
    run_study(study, limits=Limits(pictures=21))
    assert pictures_of(read_study(tmp_path).trials.values()) == 21
    assert run_study(study, limits=Limits(trials=30, minutes=0)).reason == "the 0 minutes are over"


def test_the_optimiser_may_reckon_with_what_the_limits_leave(tmp_path):
    def asks(n_iters, **limits):  # 4 of the queue, 3 pictures a trial
        return make_study(tmp_path, n_iters=n_iters, init=1, limits=Limits(**limits)).asks

    assert asks(7) == 7
    assert asks(7, trials=9) == 5
    assert asks(7, trials=99) == 7
    assert asks(None, pictures=3 * 10 + 2) == 6
    assert asks(None, pictures=60, trials=9) == 5
    assert asks(None, minutes=5) == 40


def test_the_study_file_gives_limits_and_forty_proposals_only_without(tmp_path):
    file = tmp_path / "study.yaml"

    def optimiser(text):
        file.write_text(STUDY.replace("init_points: 2, n_iters: 3", text))
        found = load_study(file).optimiser
        return found.n_iters, found.limits

    assert optimiser("init_points: 2") == (40, Limits())
    assert optimiser("pictures: 528") == (None, Limits(pictures=528))
    assert optimiser("minutes: 1.5, trials: 8") == (None, Limits(8, None, 1.5))
    assert optimiser("pictures: 9, n_iters: 3") == (3, Limits(pictures=9))


def test_outlook_tells_seconds_a_picture_and_until_the_nearest_limit():
    now = [0.0]
    outlook = Outlook(lambda: now[0])
    outlook.on_event(StudyStarted(2, 10, None, Limits(10, 100, None), painted=20))
    assert (outlook.per_picture, outlook.left) == (None, None)
    outlook.on_event(TrialStarted(2, "iters", "x"))
    for index in range(10):
        now[0] += 6.0 if index == 0 else 2.0  # the merge, then pictures
        outlook.on_event(PictureDone(2, index, 10, 0.5))
    assert outlook.per_picture == 2.0
    outlook.on_event(TrialFinished(replace(trials(10)[0], number=2), None))
    outlook.on_event(TrialStarted(3, "iters", "x"))
    # 24 s for one trial of ten pictures: 7 trials or 70 pictures are left
    assert outlook.left == pytest.approx(24 * 7)
    outlook.on_event(StudyStarted(2, 10, None, Limits(10, 100, 0.5), minutes=0.05, painted=20))
    assert outlook.left == pytest.approx(60 * 0.45 - 24)


def gained(folder, least, **changes):
    """Return how many trials a study has that ends where little is expected, and why it ends."""
    finished = run_study(
        make_study(folder, "auto", n_iters=40, init=6, least_gain=least, **changes)
    )  # fmt: skip
    return len(read_study(folder).trials), finished.reason


def test_a_search_ends_where_its_optimiser_expects_no_more(tmp_path):
    little, reason = gained(tmp_path / "little", 0.05)
    assert "auto expects a gain of 0.0" in reason
    assert "less than 0.05" in reason
    less, _ = gained(tmp_path / "less", 0.002)
    assert 9 < little < less < 49  # of 9 that nobody asks for and 40 more
    run_study(make_study(tmp_path / "again", "auto", n_iters=40, init=6), trials=little - 2)
    assert gained(tmp_path / "again", 0.05) == (little, reason)


def test_an_optimiser_that_has_nothing_left_ends_the_search_with_its_best(tmp_path):
    study = make_study(
        tmp_path, factory("coordinate", passes=1, points=2), n_iters=99, init=0, design="random"
    )
    finished = run_study(study)
    assert finished.reason == "coordinate has tried every step of its passes"
    assert finished.best.score == max(t.score for t in read_study(tmp_path).trials.values())
    assert finished.checkpoint.is_file()


def test_least_gain_is_refused_with_an_optimiser_that_does_not_tell(tmp_path):
    file, text = tmp_path / "study.yaml", STUDY
    for name, real in (("grey", "demo"), ("middling", "contrast"), ("brightness", "exposure")):
        text = text.replace(name, real)

    def kinds(optimiser):
        file.write_text(text.replace("name: dice", f"name: {optimiser}"))
        return StudyKinds(load_study(file), load_registry())

    with pytest.raises(PluginError, match="'random' does not tell what it expects") as caught:
        kinds("random, least_gain: 0.1")
    assert caught.value.hint == "leave least_gain out, or take one that does: auto, bayes"
    kinds("auto, least_gain: 0.1")
    with pytest.raises(BmergeError, match="least_gain must be above 0, not 0"):
        kinds("auto, least_gain: 0")


@pytest.mark.parametrize("limits", [Limits(pictures=2), Limits(trials=0)])
def test_a_limit_that_no_trial_fits_is_refused_before_anything_is_made(tmp_path, limits):
    with pytest.raises(StudyError, match="no trial can begin: "):
        run_study(make_study(tmp_path, n_iters=None, limits=limits))
    assert not read_study(tmp_path).trials
    assert not list(tmp_path.rglob("*.png"))
    run_study(make_study(tmp_path), trials=1)
    run_study(make_study(tmp_path), limits=limits)  # what is there stays, and its best is written
    assert len(read_study(tmp_path).trials) == 1
