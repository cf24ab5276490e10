"""Whose an error is: what generators and scorers raise is told with the plugin and the picture."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from bmerge.errors import GeneratorError, ScorerError
from bmerge.evaluate.protocols import Payload
from bmerge.faults import explained

__all__ = ["blamed", "pictures_in_words"]

_SHOWN = 3
_LONGEST = 40  # characters of a prompt


@contextmanager
def blamed(
    who: str,
    kind: type[GeneratorError | ScorerError],
    doing: str = "",
    pictures: str = "",
    *,
    known: bool = True,
) -> Iterator[None]:
    """Name the plugin in whatever it raises, and what it was at.

    Any exception but bmerge's own errors may be tried again, and blames the merge. Of an error that
    blames the surroundings no picture is named: none is the reason.

    Args:
        who: the plugin, as ``the scorer 'clip'``.
        kind: of the error that is made of others.
        doing: what it failed to do, as ``to take the model``; else it failed.
        pictures: that it was given, in words.
        known: whether ``who`` tells more than the error itself.
    """
    at = f" at {pictures}" if pictures else ""
    failed = f"{who} failed {doing}" if doing else f"{who} failed{at}"
    try:
        with explained(failed, partial(kind, transient=True, blame="merge")):
            yield
    except (GeneratorError, ScorerError) as error:
        if not known or str(error).startswith(who):
            raise
        message = f"{who}{'' if error.blame == 'surroundings' else at}: {error}"
        raise _saying(error, message) from error


def _saying(error: GeneratorError | ScorerError, message: str) -> GeneratorError | ScorerError:
    """Return an error of the same kind and with the same data, whatever it is made of."""
    told = type(error).__new__(type(error))
    told.__dict__.update(error.__dict__)
    told.args = (message,)
    return told


def pictures_in_words(payloads: Sequence[Payload]) -> str:
    """Return ids and prompts of some pictures, the first few of many."""
    some = ", ".join(map(_in_words, payloads[:_SHOWN]))
    return f"{some}, …" if len(payloads) > _SHOWN else some


def _in_words(payload: Payload) -> str:
    prompt = textwrap.shorten(payload.prompt, _LONGEST, placeholder=" …")
    return f"{payload.id!r} ({prompt})" if prompt else repr(payload.id)
