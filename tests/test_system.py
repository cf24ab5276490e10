"""What differs between operating systems, where it can be seen on any of them."""

from __future__ import annotations

import pytest

from bmerge import split_command


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (r"C:\sd\sd-cli.exe -m {checkpoint}", [r"C:\sd\sd-cli.exe", "-m", "{checkpoint}"]),
        (r'"C:\Program Files\sd.exe" -o D:\ #1', [r"C:\Program Files\sd.exe", "-o", "D:\\", "#1"]),
        (r"\\server\share\judge.exe 'a b'", [r"\\server\share\judge.exe", "a b"]),
    ],
    ids=["drive", "quoted", "share"],
)
def test_a_command_of_windows_keeps_its_backslashes(text, words):
    assert split_command(text, backslashes=True) == words


def test_a_command_of_unix_is_split_as_by_its_shell():
    assert split_command(r"a\ b 'c  d' # e", backslashes=False) == ["a b", "c  d", "#", "e"]
    with pytest.raises(ValueError, match="quotation"):
        split_command("'a", backslashes=False)
