"""What gets into an error's message: never a password, whoever wrote it."""

from __future__ import annotations

import pytest

from bmerge import GeneratorError
from bmerge.errors import redacted
from bmerge.faults import in_one_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:s3cret@host:80/x", "http://***@host:80/x"),
        ("http://me:s3:c@ret@host/x", "http://***@host/x"),
        ("socks5://:s3cret@proxy", "socks5://***@proxy"),
        ("postgresql+pg8000://u:s3cret@db/study", "postgresql+pg8000://***@db/study"),
        ("url: /score?a=1&api_key=s3cret&b=2", "url: /score?a=1&api_key=***&b=2"),
        ("'https://x/y?Token=s3cret'", "'https://x/y?Token=***'"),
        ('{"address": "http://me:s3cret@h"}', '{"address": "http://***@h"}'),
        ("curl -s -u me:s3cret http://h {picture}", "curl -s -u me:*** http://h {picture}"),
        ("curl --user 'me:s3cret' h", "curl --user 'me:***' h"),
        (
            r'{"command": "curl -u \"me:s3cret\"", "a": 1}',
            r'{"command": "curl -u \"me:***\"", "a": 1}',
        ),
        ("judge.py --api-key s3cret --token=s3cret", "judge.py --api-key *** --token=***"),
        ("curl -H 'Authorization: Bearer s3cret' h", "curl -H 'Authorization: Bearer ***' h"),
        ("judge.py --user-agent x:y --tokens 3 -up", "judge.py --user-agent x:y --tokens 3 -up"),
        ("ssh://git@host/path and a: b@c", "ssh://git@host/path and a: b@c"),
        ("http://host:80/a@b?steps=20", "http://host:80/a@b?steps=20"),
    ],
)
def test_passwords_in_addresses_are_not_shown(text, shown):
    assert redacted(text) == shown


def test_no_message_and_no_hint_of_an_error_has_them():
    error = GeneratorError("no http://me:s3cret@host", hint="try http://me:s3cret@other?key=s3cret")
    assert (str(error), error.hint) == ("no http://***@host", "try http://***@other?key=***")
    assert "s3cret" not in repr(error)
    assert "s3cret" not in in_one_line(ValueError("Max retries: http://me:s3cret@host"))
