"""From models to a study that runs, without an editor: ``bmerge init``, then ``bmerge run``."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bmerge.study_file.load import load_study
from bmerge.testing import tiny_sd1, write_checkpoint
from servers.fake_a1111 import FakeA1111
from servers.fake_comfyui import FakeComfyUI

PAINTS = ("--generator", "diffusers", "--judge", "contrast")
BOTH = ("a.safetensors", "b.safetensors")
NOBODY = ("--address", "http://127.0.0.1:9")


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BMERGE_SCORER_MODELS", str(tmp_path / "no-weights"))
    for seed, name in enumerate("ab"):
        tiny_sd1(tmp_path / f"{name}.safetensors", seed)
    return tmp_path


@pytest.fixture
def webui(here):
    folder = here / "webui" / "models"
    folder.mkdir(parents=True)
    tiny_sd1(folder / "resident.safetensors", 9)
    server = FakeA1111(folder)
    with server:
        yield server


def test_newcomer_gets_from_two_models_to_a_study_that_has_run(here, webui, bmerge):
    called = bmerge(
        *("init", "a.safetensors", "b.safetensors", "--address", webui.url),
        *("--judge", "colourfulness", "--pictures", 2, "--trials", 6),
    )
    assert called.status == 0, called.err
    assert "a web UI (A1111, Forge, SD.Next) at" in called.err
    assert "6 trials of 2 pictures, 12 in all" in called.out
    assert bmerge("run", "study.yaml", "--check").status == 0
    ran = bmerge("run", "study.yaml")
    assert ran.status == 0, ran.err
    assert "checkpoint  runs/study/best/best.safetensors" in ran.out
    assert webui.pictures == 12 + 1, "and one that was tried before the study"
    assert [file.name for file in webui.folder.iterdir()] == ["resident.safetensors"]


def test_newcomer_with_comfyui_gets_to_a_study_that_has_run(here, bmerge):
    folder = here / "comfyui" / "checkpoints"
    folder.mkdir(parents=True)
    with FakeComfyUI(folder) as server:
        called = bmerge(
            *("init", "a.safetensors", "b.safetensors", "--address", server.url),
            *("--judge", "colourfulness", "--pictures", 1, "--trials", 5),
        )
        assert called.status == 0, called.err
        assert "ComfyUI at" in called.err
        ran = bmerge("run", "study.yaml")
        assert ran.status == 0, ran.err
    assert "checkpoint  runs/study/best/best.safetensors" in ran.out
    assert len(list((here / "runs/study/pictures").glob("*/*.png"))) == 5
    assert not list(folder.iterdir())


def test_study_file_says_what_it_means_and_suits_the_models(here, webui, bmerge):
    bmerge("init", "a.safetensors", "b.safetensors", "--address", webui.url)
    text = Path("study.yaml").read_text()
    study = load_study("study.yaml")
    assert study.generator.options["models_dir"] == str(webui.folder)
    assert [scorer.name for scorer in study.scorers] == ["person"]
    assert (len(study.payloads), study.optimiser.init_points + study.optimiser.n_iters) == (12, 37)
    assert {(p.width, p.steps, p.cfg) for p in study.payloads} == {(512, 20, 7.0)}
    assert "bmerge rate" in text
    sections = ("merge", "# space", "payloads", "generator", "scorers", "optimiser")
    assert all(re.search(rf"^{section}:.*", text, re.MULTILINE) for section in sections)


def test_terminal_is_asked_for_what_is_not_given(here, webui):
    answers = ["a.safetensors", "gone.safetensors", "b.safetensors", "n", "", "3", "2", "6"]
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "bmerge", "init", "--address", webui.url]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True)
    os.close(theirs)
    os.write(ours, "".join(f"{answer}\n" for answer in answers).encode())
    said = b""
    while True:
        try:
            said += (chunk := os.read(ours, 4096))
        except OSError:  # the other end has gone
            break
        if not chunk:
            break
    os.close(ours)
    assert process.wait() == 0, said.decode()
    assert b"there is no file gone.safetensors" in said
    assert b"2 is not in the range x>=5" in said
    study = load_study("study.yaml")
    assert len(study.payloads) == 3
    assert study.optimiser.init_points + study.optimiser.n_iters == 3
    assert [Path(model.path).stem for model in study.merge.models] == ["a", "b"]


def test_comfyui_gets_the_workflow_and_the_folder_of_the_architecture(here, bmerge):
    places = {kind: here / kind for kind in ("checkpoints", "diffusion_models")}
    for place in places.values():
        place.mkdir()
    keys = ("cap_embedder.1.weight", "noise_refiner.0.attention.qkv.weight", "x_pad_token")
    tensors = {key: np.zeros((4, 4)) for key in keys} | {
        "layers.0.attention.qkv.weight": np.zeros((12, 4))
    }
    for name in "cd":
        write_checkpoint(here / f"{name}.safetensors", tensors)
    with FakeComfyUI(places["checkpoints"]) as server:
        server.folders = {kind: [str(place)] for kind, place in places.items()}
        called = bmerge("init", "c.safetensors", "d.safetensors", "--address", server.url)
    assert called.status == 0, called.err
    options = load_study("study.yaml").generator.options
    assert options["workflow"] == "z_image_turbo"
    assert options["models_dir"] == str(places["diffusion_models"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "name the models"),
        (("a.safetensors", "b.safetensors", *NOBODY), "no program that paints answers"),
        (("a.safetensors", "b.safetensors", *NOBODY, "--method", "slurp"), "did you mean 'slerp'"),
        (("a.safetensors", *NOBODY, "--method", "weighted_sum"), "takes 2 models"),
        (("a.safetensors", "gone.safetensors", *NOBODY), "gone.safetensors"),
        (("a.safetensors", "b.safetensors", *PAINTS, "--trials", 4), "4 trials are too few"),
        (("a.safetensors", *PAINTS), "one model is nothing to merge"),
        ((*BOTH, "--generator", "slurp", "--judge", "contrast"), "unknown generator 'slurp'"),
        ((*BOTH, "--generator", "command"), "command needs 'command', which init does not ask"),
        ((*BOTH, "--judge", "vlm"), "vlm needs 'address' and 'model', which init does not"),
        ((*BOTH, *PAINTS, "-o", "study.txt"), "a study is a YAML file"),
    ],
    ids=[
        "no models",
        "no server",
        "method",
        "one model",
        "missing model",
        "trials",
        "alone",
        "generator",
        "generator's options",
        "scorer's options",
        "suffix",
    ],
)
def test_what_is_wrong_is_said_and_nothing_written(here, bmerge, words, message):
    called = bmerge("init", *words)
    assert called.status != 0
    assert message in called.err
    assert not Path("study.yaml").exists()


@pytest.mark.parametrize("wrong", [("--models-dir", "gone"), ("--generator", "slurp")])
def test_existing_file_stays_where_a_forced_one_would_not_run(here, webui, bmerge, wrong):
    Path("study.yaml").write_text("mine")
    called = bmerge("init", *BOTH, "--address", webui.url, *wrong, "--force")
    assert called.status == 1
    assert wrong[1] in called.err
    assert Path("study.yaml").read_text() == "mine"
    assert sorted(path.name for path in here.iterdir()) == [
        "a.safetensors", "b.safetensors", "study.yaml", "webui",
    ]  # fmt: skip


def test_existing_file_stays_unless_force_is_given(here, webui, bmerge):
    Path("study.yaml").write_text("mine")
    words = ("init", "a.safetensors", "b.safetensors", "--address", webui.url)
    assert "--force replaces it" in bmerge(*words).err
    assert Path("study.yaml").read_text() == "mine"
    assert bmerge(*words, "--force").status == 0
    assert load_study("study.yaml").name == "study"
