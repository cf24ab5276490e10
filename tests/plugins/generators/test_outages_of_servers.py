"""Servers that are away, or answer with nonsense, at the start, in the middle and at the end.

Whatever they answer meanwhile, a study over them has the trials, and the best merge, of one whose
servers worked all the time.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bmerge.storage.stored import read_study
from bmerge.testing import tiny_sd1, write_checkpoint
from servers.fake_a1111 import FakeA1111
from servers.fake_comfyui import FakeComfyUI
from servers.faulty_http import JsonServer

EXAMPLE = Path(__file__).parents[2] / "plugin_project/bmerge_example.py"
TRIALS, PICTURES = 5, 2
KINDS = ("cut", "301", "308", "400", "413", "empty", "html", "500", "half")


class Judge(JsonServer):
    """Judges a picture by its seed and by its prompt's length."""

    pictures = 0

    def answer(self, method, path, query, body):
        if method == "GET":
            return {}
        self.pictures += 1
        return {"score": body["seed"] + len(body["prompt"]) + len(body["image"]) % 97}


class Outages:
    """Faults of a server: some when it starts, one of each kind later, and again near the end.

    Args:
        made: how many pictures it has had.
    """

    def __init__(self, made):
        self.made = made
        last = TRIALS * PICTURES - 1
        self.left = {0: ["cut"] * 4, 2 * PICTURES + 1: list(KINDS), last: list(KINDS)}

    def __call__(self, path):
        made = self.made()
        for begins, faults in self.left.items():
            if made >= begins and faults:
                return faults.pop(0)
        return None


@pytest.fixture
def run(tmp_path, models_dir, bmerge, monkeypatch):
    """Run a study with a generator and a scorer; return its trials and its best merge."""
    monkeypatch.setattr("bmerge.study.waiting._FIRST", 0.001)
    for value, name in ((0.2, "a"), (0.8, "b")):
        tensors = {"layers.0.w": np.full((50, 50), value, "float32")}
        write_checkpoint(tmp_path / f"{name}.safetensors", tensors)

    def go(name, generator, scorer):
        study = {
            "name": "web",
            "merge": {"method": "weighted_sum", "models": ["a.safetensors", "b.safetensors"]},
            "payloads": {"seeds": [1, 2], "prompts": ["a cat"], "defaults": {"width": 64}},
            "generator": generator,
            "scorers": [scorer],
            "optimiser": {"name": "random", "init_points": 0, "n_iters": TRIALS - 3},
        }
        file = tmp_path / "study.yaml"
        file.write_text(json.dumps(study))
        out = tmp_path / name
        done = bmerge("run", file, "--out", out, "--plugin", EXAMPLE)
        assert done.status == 0, done.err
        trials = [
            (t.number, t.state, dict(t.proposal.values), t.score, [p["scores"] for p in t.pictures])
            for t in read_study(out).trials.values()
        ]
        return trials, (out / "best/best.safetensors").read_bytes()

    return go


def check(calm, wild, outages):
    assert [trial[1] for trial in calm[0]] == ["complete"] * TRIALS
    assert wild == calm
    assert not any(outages.left.values()), outages.left


@pytest.mark.parametrize(("name", "fake"), [("a1111", FakeA1111), ("comfyui", FakeComfyUI)])
def test_outages_of_an_image_server_cost_nothing(name, fake, run, models_dir):
    tiny_sd1(models_dir / "own.safetensors", 3)
    scorer = {"name": "colourfulness"}
    with fake(models_dir) as server:
        generator = {
            "name": name,
            "addresses": [server.url],
            "models_dir": str(models_dir),
            "retries": 0,
            "backoff": 0.01,
            "timeout": 5,
        }
        calm = run("calm", generator, scorer)
        known = server.pictures if name == "a1111" else server.runs
        made = lambda: (server.pictures if name == "a1111" else server.runs) - known  # noqa: E731
        server.faults = outages = Outages(made)
        wild = run("wild", generator, scorer)
    check(calm, wild, outages)
    assert [file.name for file in models_dir.iterdir()] == ["own.safetensors"]


def test_outages_of_a_scorers_server_cost_nothing(run):
    generator = {"name": "swatch"}
    with Judge() as server:
        scorer = {"name": "http", "address": f"{server.url}/score", "retries": 0, "backoff": 0.01}
        calm = run("calm", generator, scorer)
        server.pictures = 0
        server.faults = outages = Outages(lambda: server.pictures)
        wild = run("wild", generator, scorer)
    check(calm, wild, outages)
