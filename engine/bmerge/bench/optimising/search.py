"""One search on one landscape: the trials of a study, without its files.

The order of things is that of a real one: both parents and the centre on all pictures, the initial
design, then the optimiser; trials race against the best one by the study's own code.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import field, replace
from typing import Any

import numpy as np

from bmerge.bench.optimising.landscapes import Array, Landscape
from bmerge.bench.optimising.painting import SEEDS, Painter
from bmerge.evaluate.payloads import Prompt, make_payloads
from bmerge.evaluate.protocols import Payload
from bmerge.records import dataclass
from bmerge.space.protocols import Optimiser, Parameter, Space
from bmerge.study.design import initial_points
from bmerge.study.gallery import record_of
from bmerge.trials.objective import Objective, Objectives
from bmerge.trials.picture_record import PictureRecord
from bmerge.trials.race import Race, in_random_order
from bmerge.trials.told import result_of, results_of
from bmerge.trials.trial import Phase, Proposal, Trial, best_of
from bmerge.trials.winner import winner_of

__all__ = ["DESIGN", "PICTURES", "SearchOutcome", "search"]

PICTURES = 16  # of a trial
DESIGN = 10  # trials of the initial design
_WHOLE = 3  # trials that do not race: the parents and the centre


@dataclass(slots=True)
class SearchOutcome:
    """What came of a search.

    Args:
        quality: pictures painted → true quality of the best merge at that time.
        trials: how many there were.
        asks: how many of them the optimiser proposed.
        seconds: CPU time of the optimiser, all asks and tells together.
        start: true qualities of the parents and the centre.
    """

    quality: dict[int, float] = field(default_factory=dict)
    trials: int = 0
    asks: int = 0
    seconds: float = 0.0
    start: tuple[float, ...] = ()


def search(
    landscape: Landscape,
    make: Callable[[Space, int, int], Optimiser],
    seed: int,
    marks: Sequence[int],
    *,
    racing: bool = True,
) -> SearchOutcome:
    """Search until the last of ``marks`` pictures is painted.

    Args:
        landscape: what is searched.
        make: makes the optimiser of a space, a seed and a number of trials.
        seed: of pictures, design and optimiser.
        marks: numbers of pictures at which the best merge is noted, ascending; the first is above
            those of the parents and the centre.
        racing: whether trials are stopped that are behind.
    """
    names = [f"alpha.B{index:02d}" for index in range(landscape.dimensions)]
    space = Space(tuple(Parameter(name, 0.0, 1.0) for name in names))
    queue = [dict.fromkeys(names, value) for value in (0.0, 1.0, 0.5)]
    found = SearchOutcome(start=tuple(landscape.quality(_array(point)) for point in queue))
    queue += initial_points("sobol", space, DESIGN, seed)
    trials = _Trials(Painter(landscape, PICTURES, seed), seed, racing=racing)
    optimiser = make(space, seed, max(1, marks[-1] // PICTURES - len(queue)))
    asking = _Asking(optimiser, trials, found)
    left = list(marks)
    while left:
        number = found.trials
        values = queue[number] if number < len(queue) else asking.ask()
        before = trials.winner if trials.painted + PICTURES > left[0] else None
        phase: Phase = "baseline" if number < _WHOLE else "iters"
        proposal = Proposal(phase, "bench", values, {}, asked=number >= len(queue))
        asking.tell(trials.evaluate(Trial(number, "running", proposal, asks_before=found.asks)))
        while left and trials.painted > left[0]:
            best = before.proposal.values if before else values
            found.quality[left.pop(0)] = landscape.quality(_array(best))
        found.trials += 1
    return found


class _Asking:
    """The talk with the optimiser, timed."""

    def __init__(self, optimiser: Optimiser, trials: _Trials, found: SearchOutcome) -> None:
        self._optimiser, self._trials, self._found = optimiser, trials, found

    def ask(self) -> dict[str, float]:
        start = time.process_time()
        if not self._found.asks:
            self._optimiser.replay(results_of(self._trials.trials, self._trials.objectives))
        values = dict(self._optimiser.ask())
        self._found.asks += 1
        self._found.seconds += time.process_time() - start
        return values

    def tell(self, trial: Trial) -> None:
        if self._found.asks:
            start = time.process_time()
            self._optimiser.tell(result_of(trial, self._trials.trials, self._trials.objectives))
            self._found.seconds += time.process_time() - start


class _Trials:
    """Evaluates trials by painting their pictures one by one."""

    def __init__(self, painter: Painter, seed: int, *, racing: bool) -> None:
        self._painter, self._seed, self._racing = painter, seed, racing
        self.objectives = Objectives((Objective("score", {"judge": 1.0}),))
        self._scale = self.objectives.scale({})
        prompts = [Prompt(Payload("", ""))] * (PICTURES // SEEDS)
        payloads = make_payloads(prompts, range(SEEDS))
        places = {payload.id: place for place, payload in enumerate(payloads)}
        self._order = [(p, places[p.id]) for p in in_random_order(payloads, seed)]
        self.trials: dict[int, Trial] = {}

    @property
    def painted(self) -> int:
        """How many pictures were painted."""
        return self._painter.painted

    @property
    def winner(self) -> Trial | None:
        """The trial that a study would return now."""
        return winner_of(self.trials, self.objectives)

    def evaluate(self, trial: Trial) -> Trial:
        """Return the trial, complete or pruned."""
        best, point = best_of(self.trials), _array(trial.proposal.values)
        race = Race(best, self._scale, self._seed) if best and self._racing else None
        if trial.proposal.phase == "baseline":
            race = None
        pictures: list[PictureRecord] = []
        while len(pictures) < PICTURES and not (race and race.is_lost(pictures)):
            payload, place = self._order[len(pictures)]
            scores = {"judge": self._painter.score(point, place)}
            pictures.append(record_of(payload, "", scores))
        done = replace(trial, pictures=tuple(pictures), means=_means(pictures), state="complete")
        if race is not None and len(pictures) < PICTURES:
            done = replace(done, state="pruned", incumbent=race.incumbent.number)
        done = replace(self._scale.scored(done, self.trials), sequence=trial.number)
        self.trials[trial.number] = done
        return done


def _means(pictures: Sequence[PictureRecord]) -> dict[str, float]:
    return {"judge": float(np.mean([picture["scores"]["judge"] for picture in pictures]))}


def _array(values: Any) -> Array:
    return np.array([*values.values()], dtype=np.float64)
