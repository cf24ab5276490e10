"""The example study says what the shipped demo can do."""

from __future__ import annotations

from pathlib import Path

from bmerge.study.load import load_study
from bmerge_plugins.demo import words

DEMO = Path(__file__).parents[2] / "examples" / "demo.yaml"


def test_the_demo_study_names_files_that_are_there_and_words_that_are_known() -> None:
    config = load_study(DEMO)
    assert all(Path(model.path).is_file() for model in config.merge.models)
    prompts = [payload.prompt for payload in config.payloads]
    assert set(prompts) <= set(words.all_prompts())


def test_the_demo_study_shows_every_colour_and_every_shape() -> None:
    prompts = [payload.prompt for payload in load_study(DEMO).payloads]
    assert {words.find_colour(prompt) for prompt in prompts} == set(words.COLOURS)
    assert {words.find_shape(prompt) for prompt in prompts} == set(words.SHAPES)
