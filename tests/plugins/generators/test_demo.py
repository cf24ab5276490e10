"""The demo generator: live parameters, the payload's settings, clear refusals.

The model has random weights here: what is tested is how it is driven, not how well it paints.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bmerge import Generator, GeneratorError, Payload, Picture
from bmerge_plugins.demo import sampler
from bmerge_plugins.demo.model import DemoModel
from bmerge_plugins.demo.sampler import sample
from bmerge_plugins.generators.demo import DemoGenerator, bmerge_generators

FAST = Payload("p", "a red star", seed=5, steps=2, cfg=2.0)


class Merge:
    """A merged model whose tensors are all given."""

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self.tensors = tensors
        self.targets: list[Mapping[str, Any]] = []

    def into(self, state_dict: Mapping[str, Any]) -> None:
        self.targets.append(state_dict)
        for key, tensor in state_dict.items():
            tensor.copy_(self.tensors[key])

    def file(self, *, lent: bool = False) -> Path:
        raise AssertionError("the demo generator needs no file")


@pytest.fixture(scope="module")
def model() -> DemoModel:
    torch.manual_seed(11)
    made = DemoModel().eval()
    with torch.no_grad():
        for parameter in made.parameters():  # some start as zeros, which would hide the prompt
            parameter.normal_(0, 0.08)
    return made


@pytest.fixture
def generator(model: DemoModel) -> Iterator[DemoGenerator]:
    made = DemoGenerator(batch=2, threads=2)
    made.load(Merge(model.state_dict()))
    yield made
    made.close()


def _array(picture: Picture) -> np.ndarray:
    return np.asarray(picture.image)


def _one(generator: DemoGenerator, payload: Payload) -> np.ndarray:
    (picture,) = generator.generate([payload])
    return _array(picture)


def test_it_is_a_generator_and_its_kind_lists_its_options(generator: DemoGenerator) -> None:
    assert isinstance(generator, Generator)
    (kind,) = bmerge_generators()
    assert kind.name == "demo"
    assert [(o.name, o.default) for o in kind.options] == [("batch", 12), ("threads", None)]


def test_offering_it_imports_no_torch() -> None:
    code = (
        "import sys; from bmerge_plugins.generators import demo; "
        "from bmerge_plugins.scorers import demo_judge; "
        "demo.bmerge_generators(), demo_judge.bmerge_scorers(); print('torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


def test_pictures_are_those_of_the_sampler_with_the_merged_parameters(
    generator: DemoGenerator, model: DemoModel
) -> None:
    payloads = [replace(FAST, id=str(i), seed=i, prompt=p) for i, p in enumerate(PROMPTS)]
    made = list(generator.generate(payloads))
    assert [picture.payload for picture in made] == payloads
    expected = sample(model, PROMPTS, [0, 1, 2, 3, 4], steps=2, cfg=2.0)
    for picture, image in zip(made, expected, strict=True):
        difference = _array(picture).astype(int) - np.asarray(image)
        assert abs(difference).max() <= 1, "another batch size may round otherwise"


PROMPTS = ["a red star", "a blue ring", "a pink moon", "a white heart", "a green arrow"]


def test_the_same_live_mapping_is_merged_into_in_every_trial(
    generator: DemoGenerator, model: DemoModel
) -> None:
    before = _one(generator, FAST)
    merge = Merge({key: tensor * 0.9 for key, tensor in model.state_dict().items()})
    generator.load(merge)
    changed = _one(generator, FAST)
    generator.load(merge)
    assert merge.targets[0] is merge.targets[1]
    assert (before != changed).any()
    assert np.array_equal(_one(generator, FAST), changed)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 6},
        {"steps": 3},
        {"cfg": 5.0},
        {"prompt": "a blue star"},
        {"negative_prompt": "a blue ring"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_each_setting_of_a_payload_matters(
    generator: DemoGenerator, change: dict[str, Any]
) -> None:
    assert (_one(generator, FAST) != _one(generator, replace(FAST, **change))).any()


def test_payloads_with_different_steps_keep_their_order(generator: DemoGenerator) -> None:
    payloads = [replace(FAST, id=str(i), steps=1 + i % 2) for i in range(5)]
    made = list(generator.generate(payloads))
    assert [p.payload.id for p in made] == ["0", "1", "2", "3", "4"]
    assert [p.info["steps"] for p in made] == [1, 2, 1, 2, 1]
    assert np.array_equal(_array(made[0]), _array(made[2]))


def test_the_caller_may_stop_at_any_picture_and_go_on_with_another_model(
    generator: DemoGenerator, model: DemoModel
) -> None:
    pictures = generator.generate([replace(FAST, id=str(i), seed=i) for i in range(8)])
    next(pictures)
    pictures.close()  # type: ignore[attr-defined]
    generator.load(Merge(model.state_dict()))
    assert _one(generator, FAST).shape == (64, 64, 3)


def test_what_is_being_painted_ends_with_the_picture_at_which_the_caller_stops(
    generator: DemoGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []

    def counted(model: DemoModel, *given: Any) -> torch.Tensor:
        steps.append(len(given[0]))
        return guided(model, *given)

    guided = sampler._guided
    monkeypatch.setattr(sampler, "_guided", counted)
    long = replace(FAST, steps=1000)
    pictures = generator.generate([FAST, *[replace(long, id=str(i)) for i in range(6)]])
    next(pictures)
    pictures.close()  # type: ignore[attr-defined]
    assert len(steps) < 1000
    ended = len(steps)
    assert (_one(generator, FAST).shape, len(steps)) == ((64, 64, 3), ended + 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": "a crimson star"}, "does not know the word 'crimson'"),
        ({"negative_prompt": "blurry"}, "does not know the word 'blurry'"),
        ({"prompt": "a <pad> star"}, "does not know the word 'pad'"),
        ({"steps": 1001}, "steps is 1001"),
        ({"width": 512, "height": 512}, "64 x 64 pictures, not 512 x 512"),
        ({"sampler": "euler"}, "not 'euler'"),
        ({"extra": {"clip_skip": 2}}, "no setting 'clip_skip'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_the_model_cannot_do_is_an_error_before_any_picture(
    generator: DemoGenerator, change: dict[str, Any], message: str
) -> None:
    pictures = generator.generate([FAST, replace(FAST, **change)])
    with pytest.raises(GeneratorError, match=message):
        next(pictures)


@pytest.mark.parametrize("options", [{"batch": 0}, {"threads": 0}], ids=str)
def test_options_must_be_positive(options: dict[str, int]) -> None:
    with pytest.raises(GeneratorError, match="must be 1 or more"):
        DemoGenerator(**options)


def test_torch_gets_its_threads_back() -> None:
    before = torch.get_num_threads()
    made = DemoGenerator()
    assert torch.get_num_threads() == 1
    made.close()
    assert torch.get_num_threads() == before
