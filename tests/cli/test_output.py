from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import pytest

import bmerge.cli
from bmerge.cli.output import (
    human_bytes,
    human_time,
    note,
    print_json,
    print_table,
    printable,
    show,
)
from bmerge.cli.progress import LiveLine, bar_text
from bmerge.errors import ExecutorError
from bmerge.sizes import parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512M", 512 * 2**20),
        ("4G", 4 * 2**30),
        ("1.5GiB", 3 * 2**29),
        ("64mb", 64 * 2**20),
        ("1000", 1000),
        (" 2 K ", 2048),
    ],
)
def test_parse_size_reads(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "M", "-1G", "4X", "1e9", "4 G B"])
def test_parse_size_refuses(text):
    with pytest.raises(ExecutorError, match="is not a size; write 512M or 4G"):
        parse_size(text)


@pytest.mark.parametrize("text", ["9" * 5000, "9999999999999T"])
def test_parse_size_refuses_what_there_cannot_be(text):
    with pytest.raises(ExecutorError, match="is more than there is"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (999.7, "1 kB"),
        (1400, "1.4 kB"),
        (2.13e9, "2.13 GB"),
        (5e12, "5 TB"),
    ],
)
def test_human_bytes(size, text):
    assert human_bytes(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.6, "1:00"), (125, "2:05"), (3723, "1:02:03"), (-1, "0:00")],
)
def test_human_time(seconds, text):
    assert human_time(seconds) == text


@pytest.mark.parametrize(
    ("done", "seconds", "text"),
    [
        (0, 0.0, "[........................]   0 %  0 B of 4 GB"),
        (int(1e9), 2.0, "[######..................]  25 %  1 GB of 4 GB  500 MB/s  0:06 left"),
        (int(4e9), 8.0, "[########################] 100 %  4 GB of 4 GB  500 MB/s  0:00 left"),
    ],
    ids=["begin", "quarter", "end"],
)
def test_bar_text(done, seconds, text):
    assert bar_text(done, int(4e9), seconds) == text


NASTY = "a\x1b[31mb\x07\r\x9b2Jc\u202ed\x00\x7f"
SHOWN = r"a\x1b[31mb\x07\x0d\x9b2Jc\u202ed\x00\x7f"


def test_steering_characters_are_shown_and_not_sent(capsys):
    note(f"error: {NASTY}\nhint: do")
    show(f"{NASTY}\nnext")
    print_table(("key", "size"), [(f"{NASTY}\n", 3)])
    out, err = capsys.readouterr()
    assert err == f"error: {SHOWN}\\nhint: do\n"
    assert out.splitlines()[:2] == [SHOWN, "next"]
    assert out.splitlines()[3].startswith(SHOWN + "\\n  3")


def test_a_line_that_nobody_would_read_is_shortened(capsys):
    note("error: " + "x" * 1_000_000 + " is wrong")
    print_table(("key",), [("y" * 1_000_000,)])
    out, err = capsys.readouterr()
    assert err.startswith("error: xxx")
    assert err.endswith("x is wrong\n")
    assert "x … x" in err
    assert len(err) < 2000
    assert len(out) < 6000


def test_text_in_any_language_is_printed_as_it_is():
    text = "Füße, 日本語, → 🦊 ‐"
    assert printable(text) == text
    assert printable("\u2066\u2028\ufeff") == r"\u2066\u2028\ufeff"


def test_json_holds_the_same_text_and_no_steering_characters(capsys):
    value = {NASTY: ["\x7f", "\udcff", "日本"]}
    print_json(value)
    out = capsys.readouterr().out
    assert json.loads(out) == value
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\udcff]", out)
    assert "日本" in out


def test_names_that_are_not_utf_8_are_shown_by_their_bytes(capsys):
    note("a\udcffb")
    show("a\udcffb\ud834")
    assert capsys.readouterr() == ("a\\xffb\\ud834\n", "a\\xffb\n")


def test_what_the_stream_cannot_write_is_escaped(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    show("a → b")
    sys.stdout.flush()
    assert raw.getvalue().decode() == "a \\u2192 b\n"


class _Gone(io.StringIO):
    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        raise OSError(5, "Input/output error")


def test_a_terminal_that_has_gone_stops_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stderr", _Gone())
    note("stopped")
    with LiveLine() as line:
        line.draw("half")
        line.say("done")
        assert not line.live


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_live_line_shows_steering_characters_too():
    terminal = _Terminal()
    with LiveLine(terminal) as line:
        line.say(f"no: {NASTY}")
        line.draw("\x1b[2J")
    assert "\x1b" not in terminal.getvalue()
    assert SHOWN in terminal.getvalue()


def test_everything_is_printed_through_one_seam():
    folder = Path(bmerge.cli.__file__).parent
    for file in folder.rglob("*.py"):
        if file.name != "output.py":
            assert not re.search(r"click\.s?echo\(|(?<![_\w])print\(", file.read_text()), file
