"""The report of a study that somebody else has stored: it reads nothing else, and runs nothing."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bmerge import StudyError
from bmerge.report import write_report
from bmerge.report.load import load_report_data
from bmerge.storage.stored import read_study
from grey_study import run_grey_study


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_grey_study(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """Return the folder of a finished study, to be changed."""
    return shutil.copytree(whole, tmp_path / "out")


def _sql(folder: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(folder / "study.db")) as db, db:
        assert db.execute(statement, values).rowcount > 0


def _store(folder: Path, key: str, change: Callable[[Any], Any], *, trial: int = 2) -> None:
    """Change an attribute of a trial as somebody else might have stored it."""
    where = "FROM trial_user_attributes WHERE key = ? AND trial_id = ?"
    with closing(sqlite3.connect(folder / "study.db")) as db, db:
        (text,) = db.execute(f"SELECT value_json {where}", (key, trial + 1)).fetchone()
        db.execute(
            "UPDATE trial_user_attributes SET value_json = ? WHERE key = ? AND trial_id = ?",
            (json.dumps(change(json.loads(text))), key, trial + 1),
        )


@pytest.mark.parametrize(
    "name",
    [
        "{outside}/secret.png", "../../outside/secret.png", "pictures/link.png",
        "pictures/0000/../../../../outside/secret.png", "linked/secret.png", "a\0b.png",
        "pictures/circle.png", "study.db", "pictures", "x" * 5000 + ".png", "pictures/pipe.png",
        "pictures/gone.png",
    ],
)  # fmt: skip
def test_a_stored_name_of_a_picture_leads_to_no_other_file(
    folder: Path, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    Image.new("RGB", (8, 8), "red").save(outside / "secret.png")
    (folder / "pictures" / "link.png").symlink_to(outside / "secret.png")
    (folder / "pictures" / "circle.png").symlink_to("circle.png")
    (folder / "linked").symlink_to(outside)
    os.mkfifo(folder / "pictures" / "pipe.png")
    name = name.replace("{outside}", str(outside))
    _store(folder, "pictures", lambda stored: [{**stored[0], "file": name}, *stored[1:]])
    assert name in load_report_data(folder).lost
    text = write_report(folder).read_text(encoding="utf-8")
    shown = 3 * 4 + 3 * 5 + 3 * 2  # candidates, best trials, sliders
    assert text.count("data:image/webp") == shown, "the others are there"
    shown = re.findall(r"data:image/webp;base64,([^\"]+)", text)
    for data in shown:
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            red, green, _ = image.convert("RGB").getpixel((4, 4))  # type: ignore[misc]
        assert abs(red - green) < 9, "grey, as all of the study"
    (said,) = [r.getMessage() for r in caplog.records]
    assert said.startswith("left out of the report, because it is missing or damaged: ")


def test_markup_in_anything_that_is_stored_stays_text(folder: Path) -> None:
    bad = '"><script>alert(1)</script><img src=x onerror=alert(1)>'
    _sql(folder, "UPDATE studies SET study_name = ?", bad)
    attributes = "UPDATE study_user_attributes SET value_json = ? WHERE key = 'definition'"
    study = read_study(folder)
    definition = json.loads(
        json.dumps(study.definition.to_json())
        .replace("a red star", json.dumps(bad)[1:-1])
        .replace("middling", json.dumps(bad)[1:-1])
        .replace("weighted_sum", json.dumps(bad)[1:-1])
    )
    _sql(folder, attributes, json.dumps(definition))
    _sql(folder, "UPDATE trial_params SET param_name = param_name || ?", bad)
    for trial in range(8):
        if trial != 6:
            _store(folder, "means", lambda means: {bad: means["middling"]}, trial=trial)
        _store(folder, "source", lambda source: f"{source}{bad}", trial=trial)
    _store(folder, "reason", lambda reason: f"{reason}{bad}", trial=6)
    _store(folder, "weights", lambda w: {f"{bad}": w["alpha"]}, trial=5)
    text = write_report(folder).read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert text.count("<script") == 1
    assert "&lt;script&gt;alert(1)" in text


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("phase", lambda _: "other"), ("source", lambda _: 3), ("weights", lambda _: [1]),
        ("weights", lambda _: {"alpha": {"blocks": {}}}), ("weights", lambda _: {"alpha": 0.5}),
        ("weights", lambda _: {"alpha": {"default": "<b>", "blocks": {}, "keys": {}}}),
        ("weights", lambda _: {"alpha": {"default": 0.5, "blocks": {"IN00": None}, "keys": {}}}),
        ("weights", lambda _: {"alpha": {"default": 0.5, "other": {}}}),
        ("means", lambda _: {"middling": "high"}), ("means", lambda _: {"middling": float("nan")}),
        ("means", lambda _: None), ("pictures", lambda _: 7), ("pictures", lambda _: ["x"]),
        ("pictures", lambda p: [{**p[0], "scores": {"middling": [1]}}]),
        ("pictures", lambda p: [{**p[0], "file": ["a"]}]),
        ("pictures", lambda p: [{**p[0], "id": "of no payload"}]),
        ("pictures", lambda p: [{**p[0], "seed": 10**400}]),
        ("seconds", lambda _: {"total": {}}), ("sequence", lambda _: "first"),
    ],
)  # fmt: skip
def test_attributes_other_than_expected_are_one_clear_line(
    folder: Path, key: str, change: Callable[[Any], Any]
) -> None:
    _store(folder, key, change)
    with pytest.raises(StudyError, match="is stored otherwise than expected: ") as caught:
        write_report(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["[]", "7", "null", "{}", '{"merge": 7}', "not JSON", "[" * 9999 + "]" * 9999, "9" * 5000],
    ids=lambda text: text[:9],
)
def test_a_definition_other_than_expected_is_one_clear_line(folder: Path, text: str) -> None:
    _sql(folder, "UPDATE study_user_attributes SET value_json = ? WHERE key = 'definition'", text)
    with pytest.raises(StudyError, match="is stored otherwise than expected: ") as caught:
        write_report(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["method: [", "- a\n", "method: \x00"])
def test_a_recipe_that_cannot_be_read_is_left_out_and_named(folder: Path, text: str) -> None:
    (folder / "best" / "recipe.yaml").write_text(text, encoding="utf-8")
    data = load_report_data(folder)
    assert data.recipe == ""
    assert data.lost == ("best/recipe.yaml",)
    assert "best/recipe.yaml" in write_report(folder).read_text(encoding="utf-8")


def test_a_recipe_that_lies_elsewhere_is_left_out(folder: Path, tmp_path: Path) -> None:
    recipe = folder / "best" / "recipe.yaml"
    recipe.replace(tmp_path / "elsewhere.yaml")
    recipe.symlink_to(tmp_path / "elsewhere.yaml")
    assert load_report_data(folder).recipe == ""


def test_a_report_is_written_to_no_other_place(folder: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("mine", encoding="utf-8")
    for name in ("report.part", "report.html"):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(mine)
    write_report(folder)
    assert mine.read_text(encoding="utf-8") == "mine"
    assert not (folder / "report.html").is_symlink()
