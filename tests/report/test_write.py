"""The report of studies that the real loop has run and stored, with a stand-in for the merge."""

from __future__ import annotations

from pathlib import Path

import pytest

from bmerge import StudyError
from bmerge.report import write_report
from bmerge.report.load import load_report_data
from grey_study import SD1, run_grey_study


def test_candidates_are_the_parents_the_uniform_merge_and_the_best(tmp_path: Path) -> None:
    data = load_report_data(run_grey_study(tmp_path))
    names = [(c.role, c.label) for c in data.candidates]
    assert names == [
        ("parent", "shapes"), ("parent", "colours"), ("uniform", "uniform 0.5"), ("best", "best"),
    ]  # fmt: skip
    assert [c.score for c in data.candidates[:3]] == pytest.approx([1.4, 0.6, 1.6], abs=0.01)
    assert data.best is not None
    assert data.candidates[-1].score == data.best.score


def test_pictures_have_the_prompt_the_seed_and_the_objective(tmp_path: Path) -> None:
    data = load_report_data(run_grey_study(tmp_path))
    shots = data.candidates[0].shots
    assert [(s.prompt, s.seed) for s in shots.values()] == [
        ("a red star", 7), ("a red star", 8), ("a <blue> heart", 7), ("a <blue> heart", 8),
    ]  # fmt: skip
    assert all(shot.file.is_file() for shot in shots.values())
    assert [shot.score for shot in shots.values()] == pytest.approx([1.9, 0.9] * 2)


def test_rows_tell_phases_scores_parameters_and_reasons(tmp_path: Path) -> None:
    data = load_report_data(run_grey_study(tmp_path))
    phases = [trial.phase for trial in data.trials]
    assert phases == ["baseline"] * 3 + ["sobol"] * 2 + ["dice"] * 3
    assert data.trials[6].reason == "out of <paint>"
    assert data.trials[6].score is None
    assert set(data.trials[3].parameters) == {"alpha.in", "alpha.out"}
    assert data.trials[0].parameters == {"alpha": 0.0}, "outside the space, M00 being frozen"
    assert data.objective == "2 × middling"


def test_weights_have_a_scale_whose_ends_are_named_after_the_models(tmp_path: Path) -> None:
    (drawn,) = load_report_data(run_grey_study(tmp_path)).weights
    assert (drawn.low, drawn.high) == (0.0, 1.0)
    assert (drawn.low_means, drawn.high_means) == ("shapes", "colours")
    assert drawn.weights.of("M00") == 0.5


def test_blocks_come_in_the_order_of_the_architecture(tmp_path: Path) -> None:
    assert load_report_data(run_grey_study(tmp_path)).blocks == SD1.blocks


def test_the_page_is_written_beside_the_study_and_replaced(tmp_path: Path) -> None:
    folder = run_grey_study(tmp_path)
    first = write_report(folder)
    assert first == folder / "report.html"
    text = first.read_text(encoding="utf-8")
    assert "uniform 0.5" in text
    assert "method: weighted_sum" in text
    assert "out of &lt;paint&gt;" in text
    assert text.count("data:image/webp") == 4 * 4 + 4 * 5 + 3 * 2, (
        "candidates, best trials, sliders"
    )
    assert write_report(folder).read_text(encoding="utf-8") == text
    assert [p.name for p in folder.iterdir() if "report" in p.name] == ["report.html"]


@pytest.mark.parametrize(
    ("trials", "before", "after"),
    [(2, "0" * 64, "1" * 64), (3, "0.5", "0.25")],
    ids=["a model as it is", "a merge"],
)
def test_an_unfinished_study_has_a_report_without_a_stale_recipe(
    tmp_path: Path, trials: int, before: str, after: str
) -> None:
    folder = run_grey_study(tmp_path, trials=trials)
    data = load_report_data(folder)
    assert data.recipe
    assert data.models == ("shapes", "model b" if trials == 2 else "colours")
    recipe = folder / "best" / "recipe.yaml"
    recipe.write_text(recipe.read_text(encoding="utf-8").replace(before, after), encoding="utf-8")
    data = load_report_data(folder)
    assert data.recipe == ""
    assert data.models == ("model a", "model b")
    write_report(folder)


def test_a_folder_without_a_study_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no study in"):
        write_report(tmp_path)
