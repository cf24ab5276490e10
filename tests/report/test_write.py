"""The report of studies that the real loop has run and stored, with a stand-in for the merge."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
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
    StudyError,
)
from bmerge.architectures import builtin
from bmerge.evaluate.evaluation import Evaluator, WeightedScorer
from bmerge.report import write_report
from bmerge.report.load import load_report_data
from bmerge.study.baselines import baselines
from bmerge.study.definition import definition_of
from bmerge.study.load import load_study
from bmerge.study.loop import run_study
from bmerge.study.space_config import build_space
from bmerge.study.study import Study, initial_proposals

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
    def file(self) -> Path: ...  # type: ignore[empty-body]
    def close(self) -> None: ...


class StandInMerger:
    def model(self, hyperparameters: Mapping[str, BlockWeights]) -> Model:
        return Model(hyperparameters)

    def write(self, hyperparameters: Mapping[str, BlockWeights], output: Path) -> None:
        output.write_bytes(b"merged")

    def recipe(self, hyperparameters: Mapping[str, BlockWeights]) -> Recipe:
        models = (ModelRef("shapes.safetensors"), ModelRef("colours.safetensors"))
        return Recipe("weighted_sum", models, hyperparameters, architecture="sd1")


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
            yield Picture(payload, Image.new("RGB", (8, 8), (self.grey,) * 3))

    def close(self) -> None: ...


def _grey(picture: Picture) -> float:
    pixel = picture.image.getpixel((0, 0))
    assert isinstance(pixel, tuple)
    return pixel[0] / 255


class Middling:
    def score(self, pictures: Sequence[Picture]) -> list[float]:
        return [1 - abs(_grey(picture) - 0.3) for picture in pictures]


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


def _run(folder: Path, *, trials: int | None = None, fail_at: int = 6) -> Path:
    (folder / "study.yaml").write_text(STUDY, encoding="utf-8")
    config = load_study(folder / "study.yaml")
    search = build_space(config.space, [ALPHA], SD1)
    queue = [
        *baselines(search, {0: {"alpha": 0.0}, 1: {"alpha": 1.0}}, "ab"),
        *initial_proposals(search, "sobol", 2, 0),
    ]
    study = Study(
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


def test_candidates_are_the_parents_the_uniform_merge_and_the_best(tmp_path: Path) -> None:
    data = load_report_data(_run(tmp_path))
    names = [(c.role, c.label) for c in data.candidates]
    assert names == [
        ("parent", "shapes"), ("parent", "colours"), ("uniform", "uniform 0.5"), ("best", "best"),
    ]  # fmt: skip
    assert [c.score for c in data.candidates[:3]] == pytest.approx([1.4, 0.6, 1.6], abs=0.01)
    assert data.best is not None
    assert data.candidates[-1].score == data.best.score


def test_pictures_have_the_prompt_the_seed_and_the_objective(tmp_path: Path) -> None:
    data = load_report_data(_run(tmp_path))
    shots = data.candidates[0].shots
    assert [(s.prompt, s.seed) for s in shots.values()] == [
        ("a red star", 7), ("a red star", 8), ("a <blue> heart", 7), ("a <blue> heart", 8),
    ]  # fmt: skip
    assert all(shot.file.is_file() for shot in shots.values())
    assert [shot.score for shot in shots.values()] == pytest.approx([1.4] * 4)


def test_rows_tell_phases_scores_parameters_and_reasons(tmp_path: Path) -> None:
    data = load_report_data(_run(tmp_path))
    phases = [trial.phase for trial in data.trials]
    assert phases == ["baseline"] * 3 + ["sobol"] * 2 + ["dice"] * 3
    assert data.trials[6].reason == "out of <paint>"
    assert data.trials[6].score is None
    assert set(data.trials[3].parameters) == {"alpha.in", "alpha.out"}
    assert data.trials[0].parameters == {"alpha": 0.0}, "outside the space, M00 being frozen"
    assert data.objective == "2 × middling"


def test_weights_have_a_scale_whose_ends_are_named_after_the_models(tmp_path: Path) -> None:
    (drawn,) = load_report_data(_run(tmp_path)).weights
    assert (drawn.low, drawn.high) == (0.0, 1.0)
    assert (drawn.low_means, drawn.high_means) == ("shapes", "colours")
    assert drawn.weights.of("M00") == 0.5


def test_blocks_come_in_the_order_of_the_architecture(tmp_path: Path) -> None:
    assert load_report_data(_run(tmp_path)).blocks == SD1.blocks


def test_the_page_is_written_beside_the_study_and_replaced(tmp_path: Path) -> None:
    folder = _run(tmp_path)
    first = write_report(folder)
    assert first == folder / "report.html"
    text = first.read_text(encoding="utf-8")
    assert "uniform 0.5" in text
    assert "method: weighted_sum" in text
    assert "out of &lt;paint&gt;" in text
    assert text.count("data:image/webp") == 4 * 4
    assert write_report(folder).read_text(encoding="utf-8") == text
    assert [p.name for p in folder.iterdir() if "report" in p.name] == ["report.html"]


def test_an_unfinished_study_has_a_report_without_a_stale_recipe(tmp_path: Path) -> None:
    folder = _run(tmp_path, trials=2)
    assert load_report_data(folder).recipe
    recipe = folder / "best" / "recipe.yaml"
    recipe.write_text(recipe.read_text(encoding="utf-8").replace("0.0", "0.25"), encoding="utf-8")
    data = load_report_data(folder)
    assert data.recipe == ""
    assert data.models == ("model a", "model b")
    write_report(folder)


def test_a_folder_without_a_study_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no study in"):
        write_report(tmp_path)
