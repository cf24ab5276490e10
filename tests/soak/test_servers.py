"""Studies over servers of which three answers in ten are wrong, late, cut off or missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from bmerge.storage.stored import read_study
from bmerge.testing import tiny_sd1
from servers.fake_a1111 import FakeA1111
from servers.faulty_http import rate

STUDY = """
name: web
merge: {{method: weighted_sum, models: [a.safetensors, b.safetensors]}}
space: {{alpha: {{}}}}
payloads:
  seeds: [1, 2]
  prompts: [a cat, a dog]
  defaults: {{width: 64, height: 64}}
generator:
  name: a1111
  addresses: ["{first}", "{second}"]
  models_dir: {folder}
  timeout: 1
  backoff: 0.01
scorers: [{{name: colourfulness}}]
optimiser: {{name: random, init_points: 0, n_iters: {trials}}}
"""
FAULTS = ("cut", "500", "half", "html", "hang")
TRIALS = 60


@pytest.fixture
def study(tmp_path):
    for seed, name in enumerate("ab"):
        tiny_sd1(tmp_path / f"{name}.safetensors", seed)
    return tmp_path / "study.yaml"


def run(bmerge, study: Path, name: str, faults: tuple[str, ...]) -> tuple[list[object], int]:
    """Return the trials of a study over two servers, and how many faults they made."""
    folder, out = study.parent / f"models-{name}", study.parent / name
    folder.mkdir()
    with FakeA1111(folder) as one, FakeA1111(folder) as two:
        if faults:
            one.faults, two.faults = rate(0.3, faults, seed=1), rate(0.3, faults, seed=2)
        text = STUDY.format(first=one.url, second=two.url, folder=folder, trials=TRIALS)
        study.write_text(text)
        for _ in range(20):  # an outage may last longer than a run's patience
            if bmerge("run", study, "--out", out, "--patience", "0.2").status == 0:
                break
        asked = len(one.requests) + len(two.requests)
    assert not list(folder.iterdir())
    trials = read_study(out).trials.values()
    return [(t.number, t.state, dict(t.proposal.values), t.score) for t in trials], asked


def test_a_study_over_servers_that_fail_is_the_same_study(bmerge, study, note):
    calm, _ = run(bmerge, study, "calm", ())
    assert {state for _, state, *_ in calm} == {"complete"}
    wild, asked = run(bmerge, study, "wild", FAULTS)
    assert wild == calm
    note("requests to servers with 30 % faults", asked, f"{len(wild)} trials, all complete")
