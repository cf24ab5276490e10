"""The benchmark of merges runs from end to end; what it measures is not looked at."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.merge.machines import kept, table
from benchmarks.merge.measure import Run
from benchmarks.merge.models import KINDS
from benchmarks.merge.table import Row
from bmerge.formats import Checkpoint, Form, TensorInfo
from bmerge.formats.relaid import relaid

ROOT = Path(__file__).parents[2]


def _bench(tmp_path, *arguments):
    command = [sys.executable, "-m", "benchmarks.merge", "--model", "tiny", "--rounds", "1"]
    command += ["--no-warm", "--scratch", tmp_path, "--output", tmp_path / "merge.md", *arguments]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    lines = (tmp_path / "merge.md").read_text().splitlines()
    return [
        [cell.strip() for cell in line.split("|")[2:-1]]
        for line in lines
        if line.startswith("| SD1.5")
    ]


@pytest.mark.slow
def test_table_has_a_row_for_each_work_and_candidate(tmp_path):
    who = "native,native_shards,native_mmap"
    rows = _bench(tmp_path, "--work", "fp16_to_fp8,lora", "--who", who)
    assert [row[:2] for row in rows] == [
        [work, name] for work in ("fp16_to_fp8", "lora") for name in ("floor", *who.split(","))
    ]
    for _, name, ratio, seconds, cpu, resident in rows:
        assert re.fullmatch(r"1" if name == "floor" else r"\d+\.\d\d", ratio)
        numbers = [cell.split()[0].replace(",", "") for cell in (seconds, cpu, resident)]
        assert all(float(number) >= 0 for number in numbers)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "merge.json", "merge.md", "merge_processors.md",
    ]  # fmt: skip


@pytest.mark.slow
def test_models_of_two_layouts_are_measured_against_those_of_one(tmp_path):
    rows = _bench(tmp_path, "--work", "layouts,layouts_back", "--who", "native")
    assert [row[:3] for row in rows[::2]] == [
        [work, "one layout", "1"] for work in ("layouts", "layouts_back")
    ]
    assert all(re.fullmatch(r"\d+\.\d\d", row[2]) for row in rows[1::2])


@pytest.mark.parametrize("name", ["flux_part", "z_image_part", "sd3_part"])
def test_a_kind_has_another_layout(name):
    tensors = {
        key: TensorInfo(key, dtype, shape, Path("a"), 0, 0)
        for key, dtype, shape in KINDS[name].layout()
    }
    model = relaid(Checkpoint(Path("a"), tensors), Form(layout="diffusers"))
    assert not set(model.tensors) & set(tensors)


@pytest.mark.slow
def test_what_cannot_be_measured_is_noted(tmp_path):
    rows = _bench(tmp_path, "--work", "one_block", "--who", "sd-meh")
    assert rows[1][:3] == ["one_block", "sd-meh", "does not do this"]


def test_a_run_keeps_what_was_measured_on_other_processors(tmp_path):
    def row(ratio, who="native"):
        run = Run(seconds=1.0, cpu=1.234, resident=70_000_000)
        return Row("SD1.5", "ties", who, runs=[run], ratios=[ratio] if ratio else [])

    path = tmp_path / "merge.json"
    kept([row(1.9), row(0, who="floor")], path, "AMD")
    kept([row(2.5)], path, "Intel")
    lines = table(kept([row(1.8)], path, "AMD")).splitlines()
    assert "| model | work | who | AMD | Intel |" in lines
    assert lines[-1] == "| SD1.5 | ties | native | 1.80; 1.23; 70 | 2.50; 1.23; 70 |"
