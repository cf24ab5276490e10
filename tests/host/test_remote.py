"""Evaluators that rebuild a study elsewhere: they find its inputs by hash, and die without loss."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bmerge import load_registry
from bmerge.evaluate.pictures import place_of
from bmerge.executors import ExecutorOptions, choose_executor
from bmerge.host.remote import with_remote_evaluators
from bmerge.host.remote_worker import Arrived, Failed, Finished, Worker
from bmerge.host.studies import build_study
from bmerge.storage.stored import read_study
from bmerge.study.events import Paused, PictureDone
from bmerge.study.loop import run_study
from bmerge.study_file.load import load_study
from bmerge.testing import write_checkpoint
from bmerge.trials.trial import Trial

EXAMPLE = Path(__file__).parents[1] / "plugin_project" / "bmerge_example.py"
STUDY = f"""
name: far
merge: {{method: from_middle, models: [a.safetensors, b.safetensors]}}
space: {{pull: {{range: [0, 2], per: single}}}}
payloads: {{prompts: [one, two, three], seeds: [1, 2]}}
generator: {{name: slow}}
scorers: [{{name: brightness, target: 1.0}}]
optimiser: {{name: random, init_points: 2, n_iters: 9}}
racing: off
plugins: [{EXAMPLE}, slow.py]
evaluators: {{name: ray, number: 2, models: elsewhere}}
"""
SLOW = """
import os, time
from bmerge import GeneratorKind, hookimpl
from bmerge_example import Swatch

class Slow(Swatch):
    def generate(self, payloads):
        for payload in payloads:
            time.sleep(float(os.environ.get("SLOW", "0")))
            for picture in super().generate([payload]):
                with open(os.environ["PAINTED"], "a") as log:
                    print(os.getpid(), self.level, payload.id, file=log)
                yield picture

@hookimpl
def bmerge_generators():
    return [GeneratorKind("slow", lambda: Slow(), "takes its time")]
"""


@pytest.fixture
def study(tmp_path, monkeypatch):
    """The file of a study whose pictures are logged."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PAINTED", str(tmp_path / "painted"))
    monkeypatch.setenv("PYTHONPATH", f"{EXAMPLE.parent}:{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.syspath_prepend(EXAMPLE.parent)
    for name, value in (("a", 0.1), ("b", 0.9)):
        tensors = {f"layers.{i}.w": np.full((4, 4), value) for i in range(2)}
        write_checkpoint(tmp_path / f"{name}.safetensors", tensors)
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path / "study.yaml"


def built(file, out, **changes):
    config = load_study(file)
    config = replace(config, ray=replace(config.ray, **changes))
    registry = load_registry()
    registry.add(config.plugins, file.parent)

    def choose(plan):
        return choose_executor(plan).executor

    study = build_study(config, registry, folder=out, choose=choose)
    return with_remote_evaluators(study, config, registry, ExecutorOptions())


def job_of(study):
    return study.remote._job


def test_a_worker_finds_models_by_their_hashes_and_sends_what_the_run_would_have_made(
    study, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # knows no file by its hash
    here = built(study, tmp_path / "out")
    job = job_of(here)
    (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
    (tmp_path / "a.safetensors").rename(tmp_path / "elsewhere" / "deep" / "a.safetensors")
    (tmp_path / "b.safetensors").rename(tmp_path / "elsewhere" / "renamed.safetensors")
    worker = Worker()
    assert worker.prepare(job) is None
    _, _, proposal, *_ = here.queue
    trial = Trial(7, "running", proposal, token="word")
    messages = list(worker.evaluate(trial, None))
    arrived = [m for m in messages if isinstance(m, Arrived)]
    assert [m.record["id"] for m in arrived] == [p.id for p in here.evaluator.payloads]
    assert all(m.file.startswith(place_of(7)) and m.data[:4] == b"\x89PNG" for m in arrived)
    (outcome,) = (m.trial for m in messages if isinstance(m, Finished))
    assert (outcome.state, outcome.proposal) == ("complete", proposal)
    assert [dict(p) for p in outcome.pictures] == [dict(m.record) for m in arrived]
    # With some of its pictures there, it paints the others.
    again = list(worker.evaluate(replace(trial, pictures=outcome.pictures[:4]), None))
    assert sum(isinstance(m, Arrived) for m in again) == 2
    assert again[-1].trial.means == outcome.means


def test_a_worker_without_a_model_or_with_other_code_says_so(study, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    job = job_of(built(study, tmp_path / "out"))
    (tmp_path / "b.safetensors").rename(tmp_path / "gone")
    failed = Worker().prepare(job)
    assert isinstance(failed, Failed)
    assert "b.safetensors is not on this machine, nor another file of its contents" in failed.text
    (tmp_path / "gone").rename(tmp_path / "b.safetensors")
    (tmp_path / "slow.py").write_text(SLOW + "# another\n")
    failed = Worker().prepare(job)
    assert "was made with different generator.code" in failed.text
    assert failed.blame == "study"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore")
def test_a_node_and_an_evaluator_that_are_killed_in_mid_trial_cost_one_picture_each(
    study, tmp_path, monkeypatch
):
    """A cluster of three: one for the run, two that paint. Another machine comes after the kill."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("SLOW", "0.3")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})

    def add_machine(attempts=5):
        try:
            return cluster.add_node(num_cpus=1)
        except Exception as error:  # Ray gives it 30 s, which is little on a busy machine
            if attempts == 1 or "timed out during startup" not in str(error):
                raise
            return add_machine(attempts - 1)

    nodes = [add_machine() for _ in range(2)]
    done, killed, paused = [], [], []

    def on_event(event):
        if isinstance(event, Paused):
            paused.append(event.reason)
        if not isinstance(event, PictureDone):
            return
        done.append((event.number, event.index))
        if len(done) == 10:  # an evaluator's process
            painter = int((tmp_path / "painted").read_text().splitlines()[-1].split()[0])
            os.kill(painter, signal.SIGKILL)
            killed.append("evaluator")
        if len(done) == 30:  # a machine
            raylet = nodes[0].all_processes["raylet"][0].process
            os.kill(raylet.pid, signal.SIGKILL)
            killed.append("node")
            add_machine()

    try:
        run_study(built(study, tmp_path / "out", address=cluster.address), on_event=on_event)
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert killed == ["evaluator", "node"]
    assert any("an evaluator on Ray was lost" in reason for reason in paused)
    trials = read_study(tmp_path / "out").trials
    assert [(t.number, t.state) for t in trials.values()] == [(n, "complete") for n in range(14)]
    assert sorted(t.sequence for t in trials.values()) == list(range(14))
    assert len(done) == len(set(done)), "a picture that had arrived was made again"
    assert len(done) >= 14 * 6 - 2, "more was not told of than what came as a painter died"
    painted = (tmp_path / "painted").read_text().splitlines()
    assert 14 * 6 <= len(painted) <= 14 * 6 + 4, "more was lost than what was being painted"
    assert len({line.split()[0] for line in painted}) >= 3, "nobody took their place"
    for trial in trials.values():
        assert len({p["id"] for p in trial.pictures}) == 6
        assert all((tmp_path / "out" / p["file"]).is_file() for p in trial.pictures)
