"""The end of the program: nothing that anybody waits for is lost where it comes at once."""

import pstats
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = str(Path(sys.executable).with_name("bmerge"))
PLUGIN = """
import atexit, sys, threading, time
from bmerge import hookimpl

behind = open({file!r}, "w")

def late():
    time.sleep(0.3)
    behind.write("of a thread; ")

atexit.register(behind.write, "at the end")

@hookimpl
def bmerge_commands(group):
    @group.command("work")
    def work():
        threading.Thread(target=late).start()
        sys.stdout.write("said")
"""


def run(*arguments, **how):
    return subprocess.run(arguments, capture_output=True, text=True, check=False, **how)


def test_what_a_plugin_leaves_open_is_written(write_plugin, tmp_path):
    left = tmp_path / "left.txt"
    plugin = write_plugin("working.py", PLUGIN.format(file=str(left)))
    called = run(PROGRAM, "--plugin", plugin, "work")
    assert (called.returncode, called.stdout, called.stderr) == (0, "said", "")
    assert left.read_text() == "of a thread; at the end"


FAILING = """
import atexit

@atexit.register
def leave():
    raise ValueError("no room")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="its signals are taken otherwise")
def test_what_fails_at_the_end_is_one_line(write_plugin):
    plugin = write_plugin("failing.py", FAILING)
    called = run(PROGRAM, "--plugin", plugin, "methods", "--json")
    line = FAILING.splitlines().index('    raise ValueError("no room")') + 1
    assert called.returncode == 0
    assert called.stderr.endswith(f"ValueError: no room ({plugin}:{line})\n")
    assert called.stderr.startswith("warning: exception ignored in ")
    assert called.stderr.count("\n") == 1


def test_results_reach_a_pipe_whole(bmerge):
    called = run(PROGRAM, "methods", "--json")
    assert (called.returncode, called.stdout) == (0, bmerge("methods", "--json").out)


@pytest.mark.parametrize(("words", "status"), [(["methods", "--jsn"], 2), (["inspect", "no"], 1)])
def test_the_status_is_told(words, status):
    assert run(PROGRAM, *words).returncode == status


def test_a_profile_is_written(tmp_path):
    file = tmp_path / "profile"
    called = run(sys.executable, "-m", "cProfile", "-o", file, PROGRAM, "methods")
    assert called.returncode == 0
    assert pstats.Stats(str(file)).total_calls > 1000


def test_who_calls_the_command_goes_on():
    code = "from bmerge.cli import main\ntry: main()\nfinally: print('on')"
    called = run(sys.executable, "-c", code, "--version")
    assert called.stdout.splitlines()[-1] == "on"
