"""Signals: the first ends a command in good order, the second at once; ignored ones stay so."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bmerge.cli import signals

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="signals"),
    pytest.mark.usefixtures("interruptible"),
]

COMMANDS = '''
    import atexit, os, subprocess, sys, threading, time
    import click
    from bmerge import hookimpl

    def say(word):
        print(word, file=sys.stderr, flush=True)

    def rest():
        """Sleep for long; a signal at the very start of a sleep counts when that sleep ends."""
        for _ in range(1200):
            time.sleep(0.05)

    @hookimpl
    def bmerge_commands(group):
        @group.command("wait")
        def wait():
            try:
                say("ready")
                rest()
            finally:
                say("closed")

        @group.command("closing")
        def closing():
            try:
                say("ready")
                rest()
            finally:
                say("ready")
                rest()

        @group.command("native")
        def native():
            import hashlib
            say("ready")
            hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)  # many minutes

        @group.command("leaving")
        def leaving():
            atexit.register(lambda: (say("ready"), time.sleep(0.5), say("ready"), rest()))

        @group.command("thread")
        def thread():
            threading.Thread(target=rest).start()
            say("ready")
            rest()

        @group.command("program")
        def program():
            code = "import time; time.sleep(60)"
            child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
            try:
                say(child.pid)
                child.wait()
            finally:
                say("ready")
                child.wait()

        @group.command("callback")
        def callback():
            class Odd:
                def __del__(self):
                    say("ready")
                    rest()

            Odd()
            rest()

        @group.command("converted")
        def converted():
            try:
                say("ready")
                rest()
            except KeyboardInterrupt:
                raise RuntimeError("what came of it")
'''


@pytest.fixture
def start(write_plugin):
    """Start a command of the plugin above; what it prints comes from a pipe."""
    file = write_plugin("waiting.py", COMMANDS)

    @contextmanager
    def begin(*words: str, **options) -> Iterator[subprocess.Popen[str]]:
        process = subprocess.Popen(
            [sys.executable, "-m", "bmerge.cli", "--plugin", str(file), *words],
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **options,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    return begin


def _until(process: subprocess.Popen[str], word: str) -> str:
    line = process.stderr.readline()
    assert re.fullmatch(word, line.strip()), line + process.stderr.read()
    return line.strip()


def _end(process: subprocess.Popen[str]) -> str:
    """Return what is still printed; the process must end long before its sleeps do."""
    lines = process.communicate(timeout=30)[1].splitlines()
    return "\n".join(line for line in lines if line)  # click ends the terminal's line with ^C


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_first_signal_ends_in_good_order(start, number):
    with start("wait") as process:
        _until(process, "ready")
        process.send_signal(number)
        assert _end(process) == "closed\nstopped"
        assert process.returncode == 128 + number


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["closing", "leaving"])
def test_second_signal_ends_at_once_and_says_nothing(start, command, second):
    with start(command) as process:
        _until(process, "ready")
        process.send_signal(signal.SIGINT)
        _until(process, "ready")
        process.send_signal(second)
        assert _end(process) == ""
        assert process.returncode in {128 + second, -second}


def test_second_interrupt_ends_native_code(start):
    with start("native") as process:
        _until(process, "ready")
        time.sleep(0.5)  # it is in native code now
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)  # signals that come together are one
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert _end(process) == ""
        assert process.returncode == 130


def test_second_interrupt_ends_a_wait_for_threads(start):
    with start("thread") as process:
        _until(process, "ready")
        process.send_signal(signal.SIGINT)
        _until(process, "")
        _until(process, "stopped")
        time.sleep(0.2)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert _end(process) == ""
        assert process.returncode == 130


def test_programs_end_with_the_process(start):
    with start("program") as process:
        child = int(_until(process, r"\d+"))
        process.send_signal(signal.SIGINT)
        _until(process, "ready")
        process.send_signal(signal.SIGINT)
        assert _end(process) == ""
    deadline = time.monotonic() + 20
    while _runs(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
        return text.rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_terminal_that_closes_may_say_so_twice(start):
    with start("closing") as process:
        _until(process, "ready")
        process.send_signal(signal.SIGHUP)
        _until(process, "ready")
        process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        assert process.poll() is None


def test_interrupt_that_a_callback_swallows_is_raised_again(start):
    with start("callback") as process:
        _until(process, "ready")
        process.send_signal(signal.SIGINT)
        assert _end(process) == "stopped"
        assert process.returncode == 130


def test_interrupt_that_becomes_another_error_is_no_bug(start):
    with start("converted") as process:
        _until(process, "ready")
        process.send_signal(signal.SIGINT)
        assert _end(process) == "stopped"
        assert process.returncode == 130


@pytest.mark.parametrize("ignored", [signal.SIGINT, signal.SIGHUP])
def test_signals_that_were_ignored_stay_ignored(start, ignored):
    ignore = lambda: signal.signal(ignored, signal.SIG_IGN)  # noqa: E731
    with start("wait", preexec_fn=ignore) as process:
        _until(process, "ready")
        process.send_signal(ignored)
        process.send_signal(ignored)
        time.sleep(0.3)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert _end(process) == "closed\nstopped"
        assert process.returncode == 143


def test_interrupt_while_modules_are_imported_is_no_traceback(tmp_path):
    # A module that bmerge imports tells when it is being imported, and waits for the signal.
    code = "import os, time; os.write(2, b'ready\\n'); time.sleep(60)"
    (tmp_path / "click.py").write_text(code)
    process = subprocess.Popen(
        [sys.executable, "-c", "from bmerge.cli import main; main()"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    _until(process, "ready")
    process.send_signal(signal.SIGINT)
    assert _end(process) == "stopped"
    assert process.returncode == 130


def test_call_within_a_process_leaves_its_signals_alone(bmerge):
    before = signal.getsignal(signal.SIGTERM)
    assert bmerge("--help").status == 0
    assert signal.getsignal(signal.SIGTERM) == before
    assert not signals.received()
