"""A server in a process of its own that dies, or is not there yet: nothing of the study is lost."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bmerge.storage.stored import read_study
from bmerge.testing import tiny_sd1

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="signals"),
    pytest.mark.timeout(300),
]

PICTURES, TRIALS = 2, 5

SERVER = """
import os, sys, time
from pathlib import Path
from servers.fake_a1111 import FakeA1111

folder, port, dies = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
with FakeA1111(folder, port=port) as server:
    def before(count):
        if count == dies:
            os._exit(1)
    server.before_picture = before
    print("ready", flush=True)
    time.sleep(600)
"""


class Servers:
    """Starts server processes at one address, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process = None

    def start(self, dies: int = 0) -> None:
        """Start one that dies in the middle of its picture number ``dies``; 0 lets it live."""
        self.stop()
        command = [sys.executable, "-c", SERVER, self.folder, str(self.port), str(dies)]
        self.process = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, text=True, env=environment()
        )
        assert self.process.stdout.readline() == "ready\n"

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


def environment():
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.fixture
def servers(models_dir):
    tiny_sd1(models_dir / "own.safetensors", 3)
    servers = Servers(models_dir)
    yield servers
    servers.stop()


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return [str(tiny_sd1(folder / f"{name}.safetensors", seed)) for seed, name in enumerate("ab")]


@pytest.fixture
def command(tmp_path, models, servers):
    study = {
        "name": "web",
        "merge": {"method": "weighted_sum", "models": models},
        "payloads": {"seeds": [1, 2], "prompts": ["a cat"], "defaults": {"width": 64}},
        "generator": {
            "name": "a1111",
            "addresses": [f"http://127.0.0.1:{servers.port}"],
            "models_dir": str(servers.folder),
            "retries": 0,
        },
        "scorers": [{"name": "colourfulness"}],
        "optimiser": {"name": "random", "init_points": 1, "init": "random", "n_iters": 1},
    }
    file = tmp_path / "study.yaml"
    file.write_text(json.dumps(study))
    return [sys.executable, "-m", "bmerge.cli", "run", str(file), "--threads", "1"]


def begin(command, folder, *options):
    return subprocess.Popen(
        [*command, "--out", str(folder), *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip


def until_it_waits(process, what=""):
    """Read what a run says until it says that it, or ``what``, waits."""
    said = ""
    while f"{what} waits, for " not in said:
        line = process.stderr.readline()
        assert line, said
        said += line


def end(process):
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, out + err
    return out


def rows(folder):
    return [
        (t.number, t.state, dict(t.proposal.values), t.score, [p["scores"] for p in t.pictures])
        for t in read_study(folder).trials.values()
    ]


@pytest.fixture
def whole(tmp_path, command, servers):
    """Return the rows of a study whose server stays, and its best checkpoint."""
    servers.start()
    end(begin(command, tmp_path / "whole"))
    servers.stop()
    return rows(tmp_path / "whole"), (tmp_path / "whole/best/best.safetensors").read_bytes()


def check(folder, whole):
    assert [row[1] for row in whole[0]] == ["complete"] * TRIALS
    assert rows(folder) == whole[0]
    assert (folder / "best/best.safetensors").read_bytes() == whole[1]


def test_server_that_dies_at_any_time_costs_no_trial(tmp_path, command, servers, whole):
    folder = tmp_path / "cut"
    process = begin(command, folder)  # no server yet
    until_it_waits(process, "the study")
    servers.start(dies=4)  # in the middle of trial 1
    until_it_waits(process, "trial 1")
    assert [p["id"] for p in read_study(folder).trials[1].pictures] == ["p00-s1"]
    servers.start(dies=TRIALS * PICTURES - 3)  # the last picture
    until_it_waits(process, "trial 4")
    servers.start()
    end(process)
    check(folder, whole)


def test_run_stops_after_its_patience_or_is_killed_and_the_same_command_goes_on(
    tmp_path, command, servers, whole
):
    folder = tmp_path / "cut"
    servers.start(dies=6)
    process = begin(command, folder, "--patience", "0.05")
    _, err = process.communicate(timeout=200)
    assert process.returncode == 1
    assert "error: trial 2 cannot be evaluated: " in err
    assert "run the same command again to continue" in err
    assert [row[1] for row in rows(folder)] == ["complete", "complete", "running"]
    servers.start(dies=4)
    process = begin(command, folder)
    until_it_waits(process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert "failed" not in [row[1] for row in rows(folder)]
    servers.start()
    end(begin(command, folder))
    check(folder, whole)


def test_server_that_is_not_there_ends_the_run_with_nothing_recorded(tmp_path, command):
    process = begin(command, tmp_path / "cut", "--patience", "0.02")
    _, err = process.communicate(timeout=200)
    assert process.returncode == 1
    assert "error: the study cannot continue: " in err
    assert "Traceback" not in err
    assert read_study(tmp_path / "cut").trials == {}
