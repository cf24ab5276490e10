"""The command scorer with real programs."""

from __future__ import annotations

import json
import sys
import textwrap
import time

import numpy as np
import pytest

from bmerge import Payload, Picture, ScorerError
from bmerge.testing import check_scorer
from bmerge.testing.scorers import sample_pictures
from bmerge_plugins.scorers.command_scorer import CommandScorer

BRIGHTNESS = """
    from PIL import Image, ImageStat
    def score(path): return sum(ImageStat.Stat(Image.open(path)).mean) / 3
"""
EACH = """
    print("loading a model …")
    print(score(sys.argv[1]) + len(sys.argv[2]))
    print()
"""
ALL = """
    records = json.load(open(sys.argv[1]))
    print("loading a model …")
    for r in records: print(score(r["file"]) + len(r["prompt"]))
"""


@pytest.fixture
def program(tmp_path):
    """Write a program; return the head of its command line."""

    def write(body: str) -> list[str]:
        file = tmp_path / "judge it.py"
        file.write_text("import json, sys, time\n" + textwrap.dedent(body))
        return [sys.executable, str(file)]

    return write


def _expected(pictures):
    return [np.asarray(p.image, float).mean() + len(p.payload.prompt) for p in pictures]


@pytest.mark.parametrize(
    ("body", "arguments"),
    [(EACH, ["{picture}", "{prompt}"]), (ALL, ["{pictures}"])],
    ids=["a run for each", "a run for all"],
)
def test_score_is_what_the_program_prints(program, body, arguments):
    command = [*program(textwrap.dedent(BRIGHTNESS) + textwrap.dedent(body)), *arguments]
    pictures = sample_pictures(["a 'red' circle; $(date)", "black"])
    scorer = CommandScorer(command=command)
    assert scorer.score(pictures) == pytest.approx(_expected(pictures))
    if arguments == ["{pictures}"]:
        check_scorer(scorer, prompts=["a b", "c"])


def test_program_is_told_what_the_picture_was_made_for(program, tmp_path):
    told = tmp_path / "told.json"
    copy = f"import shutil; shutil.copy(sys.argv[1], {str(told)!r}); print(1)"
    (picture,) = sample_pictures(["x"])[:1]
    payload = Payload("p00-s7", "ein Kreis, grün", "blurry", 7)
    scorer = CommandScorer(command=[*program(copy), "{pictures}"])
    assert scorer.score([Picture(payload, picture.image)]) == [1.0]
    (record,) = json.loads(told.read_text())
    assert record.pop("file").endswith(".png")
    assert record == {
        "id": "p00-s7",
        "prompt": "ein Kreis, grün",
        "negative_prompt": "blurry",
        "seed": 7,
    }


@pytest.mark.parametrize(
    ("body", "message", "blame"),
    [
        ("sys.exit('warming up\\nno such model')", "exited with 1: no such model", "surroundings"),
        ("sys.exit(65)", "exited with 65", "merge"),
        ("time.sleep(60)", "did not end within 0.5 s", "surroundings"),
        ("print('good')", "gave 'good' where a number was expected", "study"),
        ("print('nan')", "gave 'nan' where a number was expected", "merge"),
        ("pass", "printed 0 lines where 1 numbers were expected", "study"),
    ],
    ids=["fails", "data", "hangs", "words", "nan", "nothing"],
)
def test_fault_of_the_program_is_told_in_one_line(program, body, message, blame):
    scorer = CommandScorer(
        command=[*program(body), "{picture}"], timeout=0.5 if "sleep" in body else 60
    )
    started = time.monotonic()
    with pytest.raises(ScorerError) as info:
        scorer.score(sample_pictures(["x"])[:1])
    assert message in str(info.value)
    assert info.value.blame == blame
    assert time.monotonic() - started < 50  # the one that hangs was ended


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"command": "judge"}, "command must use either {picture} or {pictures}"),
        ({"command": "judge {picture} {pictures}"}, "command must use either"),
        ({"command": "judge {pictures} {seed}"}, "can use nothing else"),
        ({"command": "judge {image}"}, "command has no {image}"),
        ({"command": ""}, "command is empty"),
        ({"command": "judge {picture}", "timeout": 0}, "timeout is 0, must be above 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ScorerError) as info:
        CommandScorer(**options)
    assert message in str(info.value)


def test_program_that_is_not_there_is_named():
    scorer = CommandScorer(command="no-such-judge-program {picture}")
    with pytest.raises(ScorerError, match="cannot start 'no-such-judge-program'") as info:
        scorer.score(sample_pictures(["x"])[:1])
    assert info.value.blame == "study"
    with pytest.raises(ScorerError, match="there is no program 'no-such-judge-program'"):
        scorer.check(paint=False)


def test_check_runs_the_program_on_a_picture_if_it_may(program):
    scorer = CommandScorer(command=[*program("print('good')"), "{picture}"])
    scorer.check(paint=False)
    with pytest.raises(ScorerError, match="gave 'good'"):
        scorer.check(paint=True)
