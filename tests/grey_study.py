"""A study in grey, run by the real loop and stored: its pictures have the grey of a block's weight.

Its models are not there; all else is as in a real study, so that its report can be written.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from PIL import Image

from bmerge import (
    BlockWeights,
    GeneratorError,
    Hyperparameter,
    ModelRef,
    Payload,
    Picture,
    Recipe,
    Result,
    Space,
)
from bmerge.architectures import builtin
from bmerge.evaluate.evaluation import Evaluator
from bmerge.evaluate.scoring import WeightedScorer
from bmerge.pipeline.whole import whole_model
from bmerge.storage.definition import definition_of
from bmerge.study.loop import run_study
from bmerge.study.study import PreparedStudy, initial_proposals
from bmerge.study_file.load import load_study
from bmerge.study_file.space_config import build_space
from bmerge.trials.baselines import baselines

SD1 = next(a for a in builtin() if a.id == "sd1")
ALPHA = Hyperparameter("alpha", default=0.5, low=0.0, high=1.0)
STUDY = """
name: tiny
merge: {method: weighted_sum, models: [shapes.safetensors, colours.safetensors]}
space: {alpha: {groups: {in: [IN00-IN11], out: [OUT00-OUT11]}, blocks: {M00: 0.5, BASE: 0.5}}}
payloads: {prompts: [a red star, a <blue> heart], seeds: [7, 8]}
generator: {name: grey}
scorers:
  - {name: middling, weight: 2}
  - {name: brightness, weight: 0}
optimiser: {name: dice, init_points: 2, n_iters: 3}
"""


class Model:
    def __init__(self, weights: Mapping[str, BlockWeights]) -> None:
        self.alpha = weights["alpha"]

    def into(self, state_dict: object) -> None: ...
    def file(self, *, lent: bool = False) -> Path: ...  # type: ignore[empty-body]
    def close(self) -> None: ...


class StandInMerger:
    def model(self, merge: Mapping[str, BlockWeights] | int) -> Model:
        return Model({"alpha": BlockWeights(float(merge))} if isinstance(merge, int) else merge)

    def write(self, merge: Mapping[str, BlockWeights] | int, output: Path) -> None:
        output.write_bytes(b"merged")

    scratch = Path("/")

    def close(self) -> None: ...

    def size(self, merge: Mapping[str, BlockWeights] | int) -> int:
        return 0

    def recipe(self, merge: Mapping[str, BlockWeights] | int) -> Recipe:
        names = ("shapes.safetensors", "colours.safetensors")
        models = tuple(ModelRef(name, str(index) * 64) for index, name in enumerate(names))
        weights = {} if isinstance(merge, int) else merge
        recipe = Recipe("weighted_sum", models, weights, architecture="sd1")
        return whole_model(recipe, merge) if isinstance(merge, int) else recipe


class GreyGenerator:
    """Paints everything in the grey of IN00; fails at the second trial of the optimiser."""

    def __init__(self, fail_at: int) -> None:
        self.trial, self.fail_at = -1, fail_at

    def load(self, model: object) -> None:
        assert isinstance(model, Model)
        self.trial += 1
        self.grey = round(255 * model.alpha.of("IN00"))

    def generate(self, payloads: Sequence[Payload]) -> Iterator[Picture]:
        if self.trial == self.fail_at:
            raise GeneratorError("out of <paint>")
        for payload in payloads:
            yield Picture(payload, Image.new("RGB", (8, 8), (self.grey, self.grey, 1)))

    def close(self) -> None: ...


def _grey(picture: Picture) -> float:
    pixel = picture.image.getpixel((0, 0))
    assert isinstance(pixel, tuple)
    return pixel[0] / 255


class Middling:
    """Likes one seed more than the other, whatever they show."""

    def score(self, pictures: Sequence[Picture]) -> list[float]:
        liking = {7: 0.25, 8: -0.25}
        return [1 - abs(_grey(p) - 0.3) + liking[p.payload.seed] for p in pictures]


class Brightness:
    def score(self, pictures: Sequence[Picture]) -> list[float]:
        return [_grey(picture) for picture in pictures]


class Dice:
    def __init__(self, space: Space, seed: int, budget: int) -> None:
        self._space, self._rng = space, random.Random(seed)

    def ask(self) -> dict[str, float]:
        return {p.name: self._rng.uniform(p.low, p.high) for p in self._space.parameters}

    def tell(self, result: Result) -> None: ...
    def replay(self, results: Sequence[Result]) -> None: ...


def run_grey_study(folder: Path, *, trials: int | None = None, fail_at: int = 6) -> Path:
    """Run it in ``folder``/out and return that."""
    (folder / "study.yaml").write_text(STUDY, encoding="utf-8")
    config = load_study(folder / "study.yaml")
    search = build_space(config.space, [ALPHA], SD1)
    queue = [
        *baselines(search, {0: {"alpha": 0.0}, 1: {"alpha": 1.0}}, 2),
        *initial_proposals(search, "sobol", 2, 0),
    ]
    study = PreparedStudy(
        name=config.name,
        folder=folder / "out",
        search=search,
        merger=StandInMerger(),
        evaluator=Evaluator(
            GreyGenerator(fail_at),
            (
                WeightedScorer("middling", 2, Middling()),
                WeightedScorer("brightness", 0, Brightness()),
            ),
            config.payloads,
        ),
        objectives=config.objectives,
        optimiser=Dice,
        optimiser_name="dice",
        seed=3,
        queue=tuple(queue),
        n_iters=3,
        definition=definition_of(config, search, ["0" * 64, "1" * 64]),
    )
    run_study(study, trials=trials)
    return study.folder
