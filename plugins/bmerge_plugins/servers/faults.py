"""Turns a server's answer that is not a success into one clear line.

A1111 and its forks, ComfyUI and stable-diffusion.cpp each wrap their messages differently; what
is read here is what they have in common: JSON with the reason under one of a few names.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any

from bmerge import GeneratorError

__all__ = ["StatusError", "one_line", "seconds", "status_error"]

_REASONS = ("detail", "error", "message", "errors", "msg", "exception_message")
_PASSING = frozenset({408, 425, 429})
_LONGEST = 300


class StatusError(GeneratorError):
    """An answer with a status that is not a success.

    Args:
        message: what is wrong.
        status: the answer's.
        body: the answer's, without secrets.
        pause: seconds that the server wants to be left alone.
        transient: as for any generator error.
        hint: as for any error.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        body: bytes,
        pause: float,
        transient: bool,
        hint: str | None,
    ) -> None:
        super().__init__(message, transient=transient, hint=hint)
        self.status = status
        self.body = body
        self.pause = pause


def status_error(
    what: str, status: int, phrase: str, body: bytes, pause: float = 0.0
) -> StatusError:
    """Return the error for an answer with a status of 300 or more.

    Args:
        what: the request, for example ``POST http://host/path``.
        status: HTTP status.
        phrase: its name.
        body: the answer's.
        pause: seconds that the server wants to be left alone.
    """
    reason = one_line("; ".join(dict.fromkeys(_reasons(body))))
    message = f"{what}: {status} {phrase}".rstrip() + (f": {reason}" if reason else "")
    hint = None
    if status in (401, 403):
        hint = "the server wants a name and a password: set user, and the password's variable"
    elif status == 404:
        hint = "is it the right kind of server, and was it started with its API (--api)?"
    elif status < 400:
        hint = "write the address to which the server redirects"
    transient = status >= 500 or status in _PASSING
    return StatusError(
        message, status=status, body=body, pause=pause, transient=transient, hint=hint
    )


def seconds(retry_after: str | None) -> float:
    """Return how long ``Retry-After`` tells to wait: a number of seconds, or a date."""
    if retry_after is None:
        return 0.0
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return 0.0


def one_line(text: str) -> str:
    """Return ``text`` on one line, cut where it gets long."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def _reasons(body: bytes) -> Iterator[str]:
    text = body.decode(errors="replace")
    try:
        yield from _strings(json.loads(text))
    except ValueError:
        if not text.lstrip().startswith("<"):  # an HTML page says nothing in one line
            yield text


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value:
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, dict):
        for name in _REASONS:
            yield from _strings(value.get(name))
