"""What a trial's time goes into, in words: merging, handing over, loading, painting, scoring."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping

from bmerge.trials.trial import Trial

__all__ = ["time_of_a_trial", "times_in_words"]

_WORDS: Mapping[str, str] = {
    "merge": "merge",
    "hand_over": "hand-over",
    "load": "load",
    "generate": "paint",
    "wait": "wait for scores",
    "judge": "judge",
    "score": "score",
}
"""Key of a trial's seconds → word; scoring goes on beside the others."""


def time_of_a_trial(trials: Iterable[Trial]) -> dict[str, float]:
    """Return what → seconds: medians over the complete trials; empty where there are none."""
    complete = [trial.seconds for trial in trials if trial.state == "complete"]
    known = {key: [one[key] for one in complete if key in one] for key in _WORDS}
    return {word: statistics.median(known[key]) for key, word in _WORDS.items() if known[key]}


def times_in_words(times: Mapping[str, float]) -> str:
    """Return the times of :func:`time_of_a_trial` as a line; those of no length are left out."""
    parts = [f"{word} {seconds:.2f} s" for word, seconds in times.items() if seconds >= 0.005]
    return ", ".join(parts)
