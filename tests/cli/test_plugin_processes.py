"""Plugins that fork, close streams and files, or leave threads: no trial is lost, all is told."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from bmerge.storage.stored import read_study
from example_study import EXAMPLE

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="forks"),
    pytest.mark.usefixtures("study_file"),
]
LOAD = '''        """Read the first tensor of the merged file."""
'''
RUN = [sys.executable, "-m", "bmerge.cli", "run", "study.yaml", "--plugin", "bad.py"]
FORKED = "error: a plugin's code forked a process that came back from it: that one ends"


@pytest.fixture
def plugin(tmp_path):
    """Write the example plugin, with a line more where its generator takes a model."""

    def write(line: str) -> None:
        text = EXAMPLE.read_text().replace(LOAD, f"{LOAD}        {line}\n")
        assert line in text
        text = text.replace("import random\n", "import os, random, sys, threading, time\n")
        (tmp_path / "bad.py").write_text(text)

    return write


def _run() -> subprocess.CompletedProcess[str]:
    return subprocess.run(RUN, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    "after",
    [
        pytest.param("return", id="back"),
        pytest.param("raise OSError", id="error", marks=pytest.mark.slow),
        pytest.param("sys.exit(0)", id="exit", marks=pytest.mark.slow),
    ],
)
def test_a_process_that_comes_back_from_a_fork_does_no_work_of_the_run(plugin, tmp_path, after):
    plugin(f"if os.fork() == 0: {after}")
    ended = _run()
    assert ended.returncode == 0, ended.stderr
    trials = read_study(tmp_path / "runs" / "small").trials.values()
    assert [trial.state for trial in trials] == ["complete"] * 8
    assert ended.stderr.count(FORKED) == 8
    assert ended.stdout.count("end  ") == 1


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("os.closerange(0, 3)", id="descriptors"),
        pytest.param("sys.stderr.close(); sys.stdout.close()", id="streams"),
        pytest.param("sys.stderr = None", id="names", marks=pytest.mark.slow),
    ],
)
def test_streams_that_a_plugin_closes_are_opened_again(plugin, line):
    plugin(line)
    ended = _run()
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("score") == 8
    assert ended.stdout.count("end  ") == 1


def test_a_run_whose_files_are_closed_writes_nothing_more(plugin, tmp_path):
    plugin("os.closerange(3, 256)")
    ended = _run()
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-2:] == [
        "error: a plugin's code closed files that are not its own: nothing more is written",
        "hint: run the same command again without that plugin; a study continues where it stopped",
    ]
    plugin("")
    assert _run().returncode == 0
    trials = read_study(tmp_path / "runs" / "small").trials.values()
    assert [trial.state for trial in trials] == ["complete"] * 8


@pytest.mark.usefixtures("interruptible")
def test_a_thread_that_keeps_the_process_is_named(plugin, tmp_path):
    plugin("self.thread = threading.Thread(target=time.sleep, args=(60,), name='mine')\n"
           "        self.thread.start()")  # fmt: skip
    process = subprocess.Popen(RUN, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        said = next(line for line in process.stderr if line.startswith("waiting"))
        assert said == "waiting for the threads 'mine' of a plugin to end; Ctrl-C ends it now\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    finally:
        process.kill()
        process.communicate()
    assert (tmp_path / "runs" / "small" / "report.html").exists()
