"""Tables on a terminal fit it and lose nothing; elsewhere they stay one line for each row."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import click
import pytest

from bmerge.cli.table import lines_of

HEADER = ("name", "options", "summary")
ROWS = [
    ("short", "a=1", "does little"),
    ("a_rather_long_name", "alpha=0.5 beta=1 gamma=2 delta=3 epsilon=4", "word " * 30 + "end"),
]


def on_terminal(*arguments: str, width: int, **environment: str) -> str:
    """Return what a command prints on a terminal of a width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    known = {k: v for k, v in os.environ.items() if k not in {"COLUMNS", "LINES", "NO_COLOR"}}
    process = subprocess.Popen(
        [sys.executable, "-m", "bmerge", *arguments],
        stdin=theirs, stdout=theirs, stderr=theirs, env={**known, **environment},
    )  # fmt: skip
    os.close(theirs)
    said = b""
    while True:
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # the other end has gone
            chunk = b""
        if not chunk:
            break
        said += chunk
    os.close(ours)
    assert process.wait() == 0
    return said.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("width", [60, 80, 120, 400])
def test_rows_fit_and_lose_no_word(width):
    lines = [click.unstyle(line) for line in lines_of(HEADER, ROWS, width=width)]
    assert max(map(len, lines)) <= width
    text = " ".join(lines)
    for row in ROWS:
        for cell in row:
            for word in cell.split():
                assert text.count(word) >= cell.split().count(word)


def test_without_a_terminal_each_row_is_a_line_as_long_as_it_is():
    lines = lines_of(HEADER, ROWS, width=None, titles=["x", "y"])
    assert len(lines) == 3
    assert lines[2].endswith("end")
    assert "\x1b" not in "".join(lines)


@pytest.mark.parametrize("value", ["0", "*=0,*attn2*=0.3"])
def test_column_of_nothing_takes_no_room(bmerge, monkeypatch, value):
    """Values that are all zero have bars of no length."""
    monkeypatch.setenv("COLUMNS", "80")
    called = bmerge("weights", "show", value)
    assert called.status == 0, called.err
    assert "0.000000" in called.out


def test_width_that_is_told_folds_in_a_pipe_too(bmerge, monkeypatch):
    assert max(map(len, bmerge("methods").out.splitlines())) > 100
    monkeypatch.setenv("COLUMNS", "100")
    folded = bmerge("methods").out
    assert max(map(len, folded.splitlines())) <= 100
    assert "\x1b" not in folded


def test_listing_on_a_terminal_is_grouped_coloured_and_fits():
    said = on_terminal("methods", width=90)
    plain = click.unstyle(said)
    assert max(map(len, plain.splitlines())) <= 90
    assert plain.index("\ntwo models\n") < plain.index("\nthree models\n")
    assert "\x1b[36mslerp" in said
    assert "\x1b" not in on_terminal("methods", width=90, NO_COLOR="1")


def test_escapes_of_plugins_are_never_sent_to_the_terminal(write_plugin):
    plugin = write_plugin(
        "odd.py",
        """
        from bmerge import ScorerKind, hookimpl

        @hookimpl
        def bmerge_scorers():
            return [ScorerKind("odd", object, "\\x1b[2J gone")]
        """,
    )
    said = on_terminal("scorers", "--plugin", str(plugin), width=90)
    assert "\x1b[2J" not in said
    assert "\\x1b[2J gone" in said


def test_filter_keeps_what_has_every_word(bmerge):
    names = [line.split()[0] for line in bmerge("methods", "ties").out.splitlines()[1:]]
    assert {"ties", "ties_add_difference", "dare_ties"} <= set(names)
    assert "weighted_sum" not in names
    both = {line.split()[0] for line in bmerge("methods", "ties", "DARE").out.splitlines()[1:]}
    assert "dare_ties" in both
    assert both.isdisjoint({"ties", "dare_linear"})
    assert bmerge("generators", "comfy").out.splitlines()[1].startswith("comfyui")


def test_filter_that_fits_nothing_names_the_nearest(bmerge):
    called = bmerge("methods", "slurp")
    assert (called.status, called.out) == (1, "")
    assert "did you mean 'slerp'?" in called.err
    assert re.search("nothing in this list has 'slurp' in it", called.err)
