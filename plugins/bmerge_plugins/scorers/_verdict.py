"""Reads the score from what a language model answers, however much it says around it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from bmerge import ScorerError
from bmerge_plugins.scorers._outside import number
from bmerge_plugins.servers.faults import one_line

__all__ = ["answer_text", "verdict"]

_KEY = "score"
_SHOWN = 80


def verdict(text: str, low: float, high: float) -> float:
    """Return the score in the last JSON object that has one.

    Models think aloud, wrap the object in a fence, or repeat the question's example first.

    Args:
        text: the model's answer.
        low: the least score allowed.
        high: the greatest.

    Raises:
        ScorerError: if there is none, or it is not a number from ``low`` to ``high``.
    """
    scores = [found[_KEY] for found in _objects(text) if _KEY in found]
    if not scores:
        shown = " ".join(text.split())
        shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
        raise ScorerError(f"no JSON object with {_KEY!r} in the answer {shown!r}")
    try:
        score = number(scores[-1], "the model")
    except ScorerError as error:
        raise ScorerError(str(error)) from error  # said of this picture, in whatever words
    if not low <= score <= high:
        raise ScorerError(f"the model gave {score:g}, outside {low:g} … {high:g}")
    return score


def answer_text(answer: Any) -> str:
    """Return what the model says, from the body of a chat completion.

    Raises:
        ScorerError: if the body is none, or the model did not answer to the end.
    """
    try:
        choice = answer["choices"][0]
        message = choice["message"]
        content = message["content"]
    except (KeyError, IndexError, TypeError) as error:
        shown = json.dumps(answer)[:_SHOWN]
        # Some endpoints tell of an overload with 200.
        message = f"the answer is not a chat completion: {one_line(shown)}"
        raise ScorerError(message, blame="surroundings") from error
    if refusal := message.get("refusal"):
        raise ScorerError(f"the model refuses: {' '.join(str(refusal).split())[:_SHOWN]}")
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    if choice.get("finish_reason") == "length":
        hint = "set max_tokens higher"
        raise ScorerError("the answer was cut at max_tokens", blame="study", hint=hint)
    return content or ""


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield every JSON object in ``text`` that is not within another one."""
    decoder = json.JSONDecoder()
    position = text.find("{")
    while position >= 0:
        try:
            found, end = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            end = position + 1
        else:
            yield found
        position = text.find("{", end)
