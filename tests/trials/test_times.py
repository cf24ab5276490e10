"""What a trial's time goes into."""

from __future__ import annotations

from bmerge.trials.times import time_of_a_trial, times_in_words
from bmerge.trials.trial import Proposal, Trial

PROPOSAL = Proposal("iters", "random", {}, {})


def test_times_are_medians_of_the_complete_trials():
    seconds = [
        ("complete", {"merge": 1.0, "load": 0.001, "generate": 4.0, "wait": 0.5, "total": 6.0}),
        ("complete", {"merge": 3.0, "load": 0.001, "generate": 6.0, "wait": 0.5, "total": 9.0}),
        ("pruned", {"merge": 99.0, "load": 99.0, "generate": 99.0, "total": 297.0}),
        ("complete", {"load": 0.001, "generate": 5.0, "total": 6.0}),  # of an earlier release
    ]
    trials = [Trial(i, state, PROPOSAL, seconds=own) for i, (state, own) in enumerate(seconds)]
    times = time_of_a_trial(trials)
    assert times == {"merge": 2.0, "load": 0.001, "paint": 5.0, "wait for scores": 0.5}
    assert times_in_words(times) == "merge 2.00 s, paint 5.00 s, wait for scores 0.50 s"
    assert times_in_words(time_of_a_trial(())) == ""
