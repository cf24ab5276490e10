from __future__ import annotations

import json
import re
import subprocess
import sys
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from bmerge.testing import write_checkpoint


@pytest.fixture(scope="module")
def merged(sd1_models, tmp_path_factory):
    from click.testing import CliRunner

    from bmerge.cli.root import root

    out = tmp_path_factory.mktemp("merged") / "out.safetensors"
    alpha = "IN00-IN05=0.2,M00=1,*=0.5"
    models = map(str, sd1_models[:2])
    words = ["merge", "weighted_sum", *models, "--alpha", alpha, "-o", str(out)]
    assert CliRunner().invoke(root, words).exit_code == 0
    return out


def test_two_drawings_of_one_name_are_refused(bmerge, sd1_models, tmp_path):
    words = ("--svg", tmp_path / "x", "--html", f"{tmp_path}/../{tmp_path.name}/x")
    called = bmerge("diff", *sd1_models[:2], *words)
    assert (called.status, list(tmp_path.iterdir())) == (2, [])
    assert "--svg and --html name the same file" in called.err


def test_diff_tells_which_blocks_differ(bmerge, sd1_models, merged, tmp_path):
    data = json.loads(bmerge("diff", merged, sd1_models[1], "--json").out)
    assert data["architecture"] == "sd1"
    assert [name for name, each in data["blocks"].items() if not each["changed"]] == ["M00"]
    assert data["blocks"]["IN00"]["distance"] > data["blocks"]["IN06"]["distance"]
    assert sum(each["keys"] for each in data["layers"].values()) == 1131
    assert set(data["components"]) == {"picture model", "VAE", "text encoder"}
    assert len(data["tensors"]) == 1131
    out = bmerge("diff", merged, sd1_models[1]).out
    assert re.search(r"^M00 +0/46 +0 +1\.000000$", out, re.MULTILINE)


def test_diff_draws_a_cell_for_every_block_and_kind_of_layer(bmerge, sd1_models, merged, tmp_path):
    svg, html = tmp_path / "x.svg", tmp_path / "x.html"
    called = bmerge("diff", merged, sd1_models[1], "--svg", svg, "--html", html)
    assert called.status == 0
    drawing = ET.parse(svg).getroot()
    titles = [element.text for element in drawing.iter() if element.tag.endswith("}title")]
    assert "M00, all: 0" in titles
    assert sum(title.startswith("IN01, ") for title in titles) == 8
    assert svg.read_text() in html.read_text()
    again = bmerge("diff", merged, sd1_models[1], "--svg", svg)
    assert (again.status, "exists" in again.err) == (1, True)


def test_parents_of_a_merge_are_found_and_the_guess_merges_to_the_same_bytes(
    bmerge, sd1_models, merged, tmp_path
):
    a, b = sd1_models[:2]
    data = json.loads(bmerge("diff", merged, "--parents", a, b, "--json").out)
    assert data["blocks"]["IN03"]["weights"] == pytest.approx([0.8, 0.2], abs=1e-3)
    assert data["explained"] > 0.9999
    found = re.search(
        r"weighted_sum .* --alpha (\S+)", bmerge("diff", merged, "--parents", a, b).out
    )
    again = tmp_path / "again.safetensors"
    bmerge("merge", "weighted_sum", a, b, "--alpha", found[1], "-o", again)
    assert json.loads(bmerge("diff", merged, again, "--json").out)["total"]["changed"] == 0


def test_diff_of_dtypes_and_missing_keys_says_so(bmerge, tmp_path):
    tensors = {f"layers.{i}.w": np.ones(4, "f4") for i in range(3)}
    one = write_checkpoint(tmp_path / "one.safetensors", tensors)
    two = write_checkpoint(
        tmp_path / "two.safetensors", dict(list(tensors.items())[:2]), dtype="F16"
    )
    out = bmerge("diff", one, two).out
    assert "all 2 tensors that both have are equal" in out
    assert "only in one.safetensors: 1 tensor (layers.2.w)" in out
    assert "F32 in the first, F16 in the second: 2 tensors" in out


@pytest.mark.parametrize("files", [1, 3])
def test_diff_of_another_number_of_files_is_wrong_usage(bmerge, sd1_models, files):
    called = bmerge("diff", *sd1_models[:files])
    assert (called.status, called.out) == (2, "")


def test_diff_never_writes_over_a_model(bmerge, sd1_models):
    before = sd1_models[0].read_bytes()
    called = bmerge("diff", *sd1_models[:2], "--html", sd1_models[0], "--force")
    assert called.status == 1
    assert sd1_models[0].read_bytes() == before


PEAK = """
import sys
from bmerge.cli import main

try:
    main(["diff", *sys.argv[1:], "--json"])
except SystemExit as ended:
    assert not ended.code
with open("/proc/self/status") as status:
    print(next(line for line in status if line.startswith("VmHWM")).split()[1], file=sys.stderr)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="nothing tells the peak there")
def test_diff_of_large_files_takes_little_memory(tmp_path):
    tensors = {f"layers.{i}.w": np.full((1024, 4096), i, "f4") for i in range(4)}
    files = [write_checkpoint(tmp_path / f"{name}.safetensors", tensors) for name in "ab"]
    command = [sys.executable, "-c", PEAK, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stderr) * 1024 < sum(file.stat().st_size for file in files) / 1.5


@pytest.mark.parametrize("words", [("a", "x"), ("x", "a"), ("x", "x"), ("a", "a", "--base", "x")])
def test_diff_of_a_lora_is_refused(bmerge, sd1_models, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    layer = "lora_unet_mid_block_attentions_0_proj_in"
    factors = {
        f"{layer}.lora_up.weight": np.ones((8, 2)),
        f"{layer}.lora_down.weight": np.ones((2, 8)),
    }
    files = {"a": sd1_models[0], "x": write_checkpoint(tmp_path / "x.safetensors", factors)}
    called = bmerge("diff", *(files.get(word, word) for word in words))
    assert (called.status, called.out) == (1, "")
    assert called.err.startswith("error: x.safetensors is a LoRA, whose factors do not tell")
