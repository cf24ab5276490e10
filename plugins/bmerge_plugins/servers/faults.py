"""Turns a server's answer that is not a success into one clear line.

A1111 and its forks, ComfyUI and stable-diffusion.cpp each wrap their messages differently; what
is read here is what they have in common: JSON with the reason under one of a few names.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any

from bmerge import Blame, GeneratorError

__all__ = ["StatusError", "blame_of", "one_line", "seconds", "status_error", "understood"]

_REASONS = ("detail", "error", "message", "errors", "msg", "exception_message")
_PASSING = frozenset({408, 425, 429})
_LONGEST = 300
_FOR_NOW = frozenset({302, 303, 307})
_NOT_BY_THE_REQUEST = frozenset({401, 403, 407, *_PASSING, *_FOR_NOW})
_NOTHING_SAID = ("", "not found", "404: not found")

_WORDS: Mapping[Blame, re.Pattern[str]] = {
    "surroundings": re.compile(
        r"out ?of ?memory|failed to allocate|CUDA error|HIP error|No space left|Errno|"
        r"Connection(Error|Reset|Refused)",
        re.IGNORECASE,
    ),
    "merge": re.compile(
        r"NansException|tensor with (all )?NaNs|in loading state_dict|size mismatch for|"
        r"SafetensorError|could not detect model type",
        re.IGNORECASE,
    ),
}
"""What a server's own words say about whose fault it is; the first that fits."""


class StatusError(GeneratorError):
    """An answer with a status that is not a success.

    Args:
        message: what is wrong.
        status: the answer's.
        body: the answer's, without secrets.
        pause: seconds that the server wants to be left alone.
        transient: as for any generator error.
        blame: as for any generator error.
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
        blame: Blame,
        hint: str | None,
    ) -> None:
        super().__init__(message, transient=transient, blame=blame, hint=hint)
        self.status = status
        self.body = body
        self.pause = pause


def status_error(
    what: str, status: int, phrase: str, body: bytes, *, pause: float = 0.0, location: str = ""
) -> StatusError:
    """Return the error for an answer with a status of 300 or more.

    Args:
        what: the request, for example ``POST http://host/path``.
        status: HTTP status.
        phrase: its name.
        body: the answer's.
        pause: seconds that the server wants to be left alone.
        location: where the server redirects to, without secrets.
    """
    reason = one_line("; ".join(dict.fromkeys(_reasons(body))))
    message = f"{what}: {status} {one_line(phrase)}".rstrip() + (f": {reason}" if reason else "")
    if pause:
        message += f" (it asks to be left alone for {pause:g} s)"
    blame = _blame_of_status(status, reason)
    return StatusError(
        message,
        status=status,
        body=body,
        pause=pause,
        transient=blame == "surroundings" and (status >= 500 or status in _PASSING),
        blame=blame,
        hint=_hint(status, location, reason),
    )


def blame_of(reason: str) -> Blame | None:
    """Return whom a server's own words blame; None if they tell nothing."""
    return next((blame for blame, words in _WORDS.items() if words.search(reason)), None)


@contextmanager
def understood(what: str) -> Iterator[None]:
    """Take an answer of another shape than a server of this kind gives for a fault of its.

    Raises:
        GeneratorError: transient, in place of what Python raises for such.
    """
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        message = f"{what}: the answer is not what this kind of server gives"
        raise GeneratorError(message, transient=True) from error


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
    except (ValueError, OverflowError):
        return 0.0


def one_line(text: str) -> str:
    """Return ``text`` on one line, cut where it gets long, with nothing that acts on a terminal."""
    line = " ".join(text[: 8 * _LONGEST].split())
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def _blame_of_status(status: int, reason: str) -> Blame:
    if status >= 500:
        return blame_of(reason) or "surroundings"
    # A route that is not there: another kind of server, or one that is still starting.
    missing = status == 404 and reason.lower() in _NOTHING_SAID
    return "surroundings" if missing or status in _NOT_BY_THE_REQUEST else "study"


def _hint(status: int, location: str, reason: str) -> str | None:
    if status in (401, 403):
        return "the server wants a name and a password: set user, and the password's variable"
    if status == 407:
        return "the proxy wants a name and a password: write them into its address"
    if status == 404 and reason.lower() in _NOTHING_SAID:
        return "is it the right kind of server, and was it started with its API (--api)?"
    if status < 400:
        told = f" ({one_line(location)})" if location else ""
        return f"write the address to which the server redirects{told}"
    if blame_of(reason) == "merge":
        return "the model overflowed or cannot be loaded: compute in fp32 or bf16, at least its VAE"
    return None


def _reasons(body: bytes) -> Iterator[str]:
    text = body.decode(errors="replace")
    try:
        yield from _strings(json.loads(text))
    except (ValueError, RecursionError):
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
