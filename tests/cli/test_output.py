from __future__ import annotations

import click
import pytest

from bmerge.cli.executor import parse_size
from bmerge.cli.output import human_bytes, human_time
from bmerge.cli.progress import bar_text


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
    with pytest.raises(click.BadParameter, match="is not a size; write 512M or 4G"):
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
