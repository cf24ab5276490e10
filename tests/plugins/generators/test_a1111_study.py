"""A whole study over two servers that fail every tenth time."""

from __future__ import annotations

import json
import logging

import pytest

from bmerge.testing import tiny_sd1
from servers.fake_a1111 import FakeA1111
from servers.faulty_http import rate
from servers.raw_http import RawServer, answer

STUDY = """
name: web
merge:
  method: weighted_sum
  models: [a.safetensors, b.safetensors]
space: {{alpha: {{}}}}
payloads:
  seeds: [1, 2]
  prompts: [a cat, a dog]
  defaults: {{width: 64, height: 64}}
generator:
  name: a1111
  addresses: ["{first}", "{second}"]
  models_dir: {folder}
  user: me
  password: s3cret
  timeout: 1
  backoff: 0.01
scorers: [{{name: colourfulness}}]
optimiser: {{name: random, init_points: 0, n_iters: 4}}
"""
FAULTS = ("cut", "500", "half", "html", "hang", "deep", "drip")


@pytest.fixture
def servers(models_dir):
    tiny_sd1(models_dir / "own.safetensors", 3)
    with (
        FakeA1111(models_dir, auth="me:s3cret") as one,
        FakeA1111(models_dir, auth="me:s3cret") as two,
    ):
        one.faults, two.faults = rate(0.1, FAULTS, seed=1), rate(0.1, FAULTS, seed=2)
        yield one, two


def test_a_study_over_failing_servers_accounts_for_every_trial(
    servers, models_dir, bmerge, tmp_path
):
    one, two = servers
    for seed, name in enumerate("ab"):
        tiny_sd1(tmp_path / f"{name}.safetensors", seed)
    file = tmp_path / "study.yaml"
    file.write_text(STUDY.format(first=one.url, second=two.url, folder=models_dir))
    out = tmp_path / "out"
    run = bmerge("run", file, "--out", out)
    assert run.status == 0, run.err
    assert list((out / "scratch").iterdir()) == []
    shown = json.loads(bmerge("studies", "show", out, "--json").out)
    assert [trial["state"] for trial in shown["trials"]] == ["complete"] * 7
    assert one.pictures + two.pictures >= 7 * 4
    assert [file.name for file in models_dir.iterdir()] == ["own.safetensors"]
    for stored in out.rglob("*"):
        assert not stored.is_file() or b"s3cret" not in stored.read_bytes(), stored


LEAKY = """
from bmerge import ScorerError, ScorerKind, hookimpl

class Leaky:
    def __init__(self, *, address):
        self.address, self.asked = address, 0

    def score(self, pictures):
        self.asked += 1
        if self.asked == 2:
            raise ScorerError(f"Max retries exceeded: {self.address}")
        return [float(self.asked)] * len(pictures)

@hookimpl
def bmerge_scorers():
    return [ScorerKind("leaky", Leaky, "quotes its address")]
"""


def test_passwords_of_scorers_reach_no_file_and_no_message(models_dir, bmerge, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    for seed, name in enumerate("ab"):
        tiny_sd1(tmp_path / f"{name}.safetensors", seed)
    tiny_sd1(models_dir / "own.safetensors", 3)
    (tmp_path / "leaky.py").write_text(LEAKY)
    with FakeA1111(models_dir) as server, RawServer(answer(b"2.5")) as judge:
        there = judge.url.replace("//", "//me:s3cret@") + "/x?token=t0ken"
        text = STUDY.format(first=server.url, second=server.url, folder=models_dir)
        text = text.replace(f', "{server.url}"]', "]").replace("timeout: 1\n", "timeout: 9\n")
        scorers = [
            {"name": "http", "address": there},
            {"name": "leaky", "address": "http://me:s3cret@host/x?token=t0ken"},
        ]
        text = text.replace("[{name: colourfulness}]", json.dumps(scorers))
        extra = ", extra: {callback: 'http://me:s3cret@host'}}"
        text = text.replace("height: 64}", f"height: 64{extra}")
        file = tmp_path / "study.yaml"
        file.write_text(text)
        run = bmerge("run", file, "--out", tmp_path / "out", "--plugin", tmp_path / "leaky.py")
    assert "Max retries exceeded: http://***@host/x?token=***" in run.err
    told = f"{run.out}{run.err}{caplog.text}".encode()
    stored = [f.read_bytes() for f in (tmp_path / "out").rglob("*") if f.is_file()]
    for secret in (b"s3cret", b"t0ken"):
        assert not any(secret in content for content in (told, *stored))
