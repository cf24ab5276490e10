"""The demo's judge as a scorer: it tells the drawn world apart and refuses what it cannot judge."""

from __future__ import annotations

import numpy as np
import pytest

from bmerge import Payload, Picture, Scorer, ScorerError
from bmerge_plugins.demo.renderer import render
from bmerge_plugins.scorers.demo_judge import DemoJudge, bmerge_scorers


@pytest.fixture(scope="module")
def judge() -> DemoJudge:
    (kind,) = bmerge_scorers()
    made = kind.create(options={})
    assert isinstance(made, DemoJudge)
    assert isinstance(made, Scorer)
    return made


def _drawn(colour: str, shape: str, prompt: str, seed: int = 0) -> Picture:
    image = render(colour, shape, np.random.default_rng(seed))
    return Picture(Payload("p", prompt), image)


def test_a_picture_that_shows_its_prompt_scores_high_and_any_other_low(judge: DemoJudge) -> None:
    right = [_drawn("red", "star", "a red star", seed) for seed in range(4)]
    wrong = [
        _drawn("blue", "star", "a red star"),
        _drawn("red", "ring", "a red star"),
        _drawn("green", "moon", "a red star"),
    ]
    scores = judge.score([*right, *wrong])
    assert min(scores[:4]) > 0.8
    assert max(scores[4:]) < 0.2
    assert all(0 <= score <= 1 and isinstance(score, float) for score in scores)


def test_a_prompt_with_one_of_the_two_is_scored_by_that_one(judge: DemoJudge) -> None:
    by_shape, by_colour = judge.score(
        [_drawn("blue", "star", "a star"), _drawn("blue", "star", "a picture of red")]
    )
    assert by_shape > 0.8
    assert by_colour < 0.2


def test_a_prompt_that_names_nothing_it_knows_is_an_error(judge: DemoJudge) -> None:
    with pytest.raises(ScorerError, match="no colour and no shape in the prompt 'a photo'") as info:
        judge.score([_drawn("red", "star", "a photo")])
    assert info.value.hint is not None
    assert "purple" in info.value.hint
