"""The queue of a study: its design is made when it is reached, once."""

from __future__ import annotations

import subprocess
import sys

from bmerge.study.queue import Queue, baselines_of
from bmerge.trials.trial import Proposal

GIVEN, DESIGN = (
    tuple(Proposal(phase, phase, {"alpha": value}, {}) for value in (0.0, 1.0))
    for phase in ("baseline", "init")
)


def test_the_design_is_made_once_and_not_before_it_is_reached():
    made = []

    def make():
        made.append(1)
        return DESIGN

    queue = Queue(GIVEN, make, 2)
    assert len(queue) == 4
    assert next(iter(queue)) == GIVEN[0]
    assert GIVEN[1] in queue
    assert not made
    assert [*queue] == [*queue] == [*GIVEN, *DESIGN]
    assert DESIGN[1] in queue
    assert made == [1]


def test_baselines_are_told_without_the_design():
    def make():
        raise AssertionError("made")

    for given in (GIVEN, (*GIVEN, *DESIGN)):
        assert [*baselines_of(Queue(given, make, 2))] == [*GIVEN]
    assert [*baselines_of((*GIVEN, *DESIGN))] == [*GIVEN]


FIRST = """
import sys
from bmerge.study.attempt import Attempts
evaluate = Attempts.evaluate

def seen(self, trial, race=None):
    if trial.number < 3:
        print(trial.number, trial.proposal.phase, "scipy.stats" in sys.modules, file=sys.stderr)
    return evaluate(self, trial, race)

Attempts.evaluate = seen
from bmerge.cli import main
main()
"""


def test_a_run_evaluates_its_baselines_before_it_makes_its_design(tmp_path):
    from example_study import EXAMPLE, write_example_study

    write_example_study(tmp_path)
    command = [sys.executable, "-c", FIRST, "run", "study.yaml", "--plugin", str(EXAMPLE)]
    called = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    said = [line for line in called.stderr.splitlines() if line.endswith(("True", "False"))]
    assert said == [f"{number} baseline False" for number in range(3)]
