"""The example study says what the shipped demo can do."""

from __future__ import annotations

from pathlib import Path

from benchmarks.demo_training.data import KNOWN_COLOURS, KNOWN_SHAPES
from bmerge.study_file.load import load_study
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


def test_the_demo_study_asks_for_what_neither_model_has_learned() -> None:
    """Of the prompts, half name a colour and a shape that the base does not know."""
    prompts = {payload.prompt for payload in load_study(DEMO).payloads}
    known = set(KNOWN_COLOURS), set(KNOWN_SHAPES)
    unknown = [
        p
        for p in prompts
        if words.find_colour(p) not in known[0] and words.find_shape(p) not in known[1]
    ]
    assert len(unknown) * 2 == len(prompts)
