"""docs/python.md and docs/notebook.ipynb, run one block after the other as they are written."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from bmerge.testing import read_checkpoint, tiny_sd1

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"
PAGE = Path(__file__).parents[2] / "docs" / "python.md"
EXAMPLE = Path(__file__).parents[1] / "plugin_project" / "bmerge_example.py"
STUDY = f"""
plugins: [{EXAMPLE}]
merge:
  method: from_middle
  models: [a.safetensors, b.safetensors]
space:
  pull: {{range: [0, 2], per: single}}
payloads:
  prompts: [hello, world]
generator: {{name: swatch}}
scorers:
  - {{name: brightness, target: 1.0}}
optimiser: {{name: walk, init_points: 1, n_iters: 2}}
"""
RECIPE = """
method: weighted_sum
models: [a.safetensors, b.safetensors]
hyperparameters: {alpha: 0.4}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate("abc"):
        tiny_sd1(tmp_path / f"{name}.safetensors", seed)
    (tmp_path / "study.yaml").write_text(STUDY)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path


def test_blocks_of_the_page_run_in_their_order(folder, capsys):
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 9
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "python.md", "exec"), names)
    said = capsys.readouterr().out
    assert "TrialFinished" in said
    assert "StudyFinished" in said
    a, ab = (read_checkpoint(folder / f"{name}.safetensors") for name in ("a", "ab"))
    again = read_checkpoint(folder / "again.safetensors")
    key = next(key for key in a if "attn1.to_q" in key)
    assert not np.array_equal(a[key], ab[key])
    assert np.array_equal(ab[key], again[key])
    best = read_checkpoint(folder / "best.safetensors")
    stored = read_checkpoint(names["results"].checkpoint)
    assert all(np.array_equal(best[key], stored[key]) for key in stored)
    assert (folder / "runs" / "study" / "report.html").exists()
    assert len(names["table"]) == 5


def test_cells_of_the_notebook_run_and_show_figures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cells = [c for c in json.loads(NOTEBOOK.read_text())["cells"] if c["cell_type"] == "code"]
    names: dict[str, object] = {}
    for cell in cells:
        source = "".join(cell["source"]).replace("init_points: 3, n_iters: 3", "n_iters: 1")
        assert cell["outputs"] or "import" in source, "not executed"
        exec(compile(source, "notebook.ipynb", "exec"), names)
    assert (tmp_path / "ab.safetensors").is_file()
    assert "<iframe" in names["figures"]["convergence"]._repr_html_()
    shown = [o["data"].get("text/html", "") for c in cells for o in c["outputs"] if "data" in o]
    assert sum("<iframe" in "".join(html) for html in shown) == 2
