"""A vision-language model as judge, behind any endpoint that speaks OpenAI's chat completions.

llama.cpp's server, vLLM, Ollama and others do. The model sees the picture and the prompt and
answers with JSON; whatever else it answers is a failed judgement and never a score.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from bmerge import GeneratorError, Picture, ScorerError, ScorerKind, StudyError, hookimpl, unfolded
from bmerge_plugins.needs import SERVER
from bmerge_plugins.sample import sample_picture
from bmerge_plugins.scorers._outside import as_scorer_errors, describe, png
from bmerge_plugins.scorers._verdict import answer_text, verdict
from bmerge_plugins.servers import (
    ApiKey,
    HttpServer,
    Requests,
    StatusError,
    parse_address,
)
from bmerge_plugins.servers.faults import understood

if TYPE_CHECKING:
    from PIL.Image import Image

_NAME = "vlm"
_INCIDENTAL = ("address", "api_key_env", "max_requests", "max_total_tokens")
_KEY_VARIABLE = "BMERGE_VLM_API_KEY"
_QUESTION = """\
You judge pictures that a text-to-image model made. This one was made for the prompt:

{prompt}

Rate it from {low} (worst) to {high} (best): does it show what the prompt asks for, are bodies, \
hands, faces and objects without faults, is it well composed and pleasant to look at? Use the \
whole range and fractions. Answer with a JSON object and nothing else: \
{"score": <number>, "reason": "<one short sentence>"}"""
_AGAIN = 'Answer with the JSON object only: {"score": <number from {low} to {high}>}'

_logger = logging.getLogger(__name__)


class VisionLanguageJudge:
    """Asks the model for a score of each picture.

    Args:
        address: of the endpoint, up to and with ``/v1``.
        model: the model's name there.
        question: what it is asked; ``{prompt}``, ``{negative_prompt}``, ``{low}`` and ``{high}``
            stand for what they say. None asks for agreement, faults and beauty.
        low: the least score that it may give.
        high: the greatest.
        max_side: pixels; larger pictures are reduced to this.
        max_tokens: that the model may use for one answer.
        max_requests: after how many requests the run stops, which is the limit of its cost.
        max_total_tokens: likewise for tokens, as the endpoint counts them; None for no limit.
        json_mode: whether the endpoint is asked to allow nothing but JSON.
        api_key_env: the environment variable with the key; ``BMERGE_VLM_API_KEY`` if None.
        requests: how long is waited for an answer, and how faults are met.

    Raises:
        ScorerError: if an option makes no sense, or the key is not there.
    """

    @unfolded
    def __init__(
        self,
        *,
        address: str,
        model: str,
        question: str | None = None,
        low: float = 0.0,
        high: float = 10.0,
        max_side: int = 768,
        max_tokens: int = 300,
        max_requests: int = 10_000,
        max_total_tokens: int | None = None,
        json_mode: bool = True,
        api_key_env: str | None = None,
        requests: Requests = Requests(timeout=120.0, backoff=1.0),
    ) -> None:
        if not low < high:
            raise ScorerError(
                f"{_NAME}: low is {low:g}, must be below high, {high:g}", blame="study"
            )
        for name, value in (("max_side", max_side), ("max_tokens", max_tokens)):
            if value < 1:
                raise ScorerError(f"{_NAME}: {name} is {value}, must be 1 or more", blame="study")
        self._low, self._high, self._max_side = low, high, max_side
        self._question = question or _QUESTION
        self._limits = {"max_requests": max_requests, "max_total_tokens": max_total_tokens}
        self._used = {"max_requests": 0, "max_total_tokens": 0}
        self._body: dict[str, Any] = {"model": model, "temperature": 0, "max_tokens": max_tokens}
        if json_mode:
            self._body["response_format"] = {"type": "json_object"}
        with as_scorer_errors():
            self._address = parse_address(address)
            self._settings = requests.settings(_key(api_key_env))
            HttpServer(self._address, self._settings).close()  # or complain of the options

    def check(self, *, paint: bool) -> None:
        """Ask whether the endpoint is there and takes the key, and have a picture judged.

        Raises:
            ScorerError: if not, or it gives no score.
        """
        server = HttpServer(self._address, self._settings)
        try:
            with as_scorer_errors():
                server.check("/models")
            if paint:
                self._judge(server, sample_picture())
        finally:
            server.close()

    def score(self, pictures: Sequence[Picture]) -> list[float]:
        """Return the model's score of each picture.

        Raises:
            ScorerError: if the endpoint fails too often, or the model gives no score.
            StudyError: if the limit of requests or tokens is reached; the run stops.
        """
        server = HttpServer(self._address, self._settings)
        try:
            return [self._judge(server, picture) for picture in pictures]
        finally:
            server.close()

    def _judge(self, server: HttpServer, picture: Picture) -> float:
        """Ask once, and once more if the answer is of no use."""
        parts = self._parts(picture)
        try:
            return verdict(self._ask(server, parts), self._low, self._high)
        except ScorerError as error:
            if isinstance(error.__cause__, GeneratorError):  # there was no answer at all
                raise
            _logger.info("%s: %s; asked once more", picture.payload.id, error)
        parts.append({"type": "text", "text": self._fill(_AGAIN, {})})
        try:
            return verdict(self._ask(server, parts), self._low, self._high)
        except ScorerError as error:
            text = f"{self._address}: {picture.payload.id}: {error}"
            raise ScorerError(text, blame=error.blame, hint=error.hint) from error

    def _parts(self, picture: Picture) -> list[dict[str, Any]]:
        url = f"data:image/png;base64,{png(_reduced(picture.image, self._max_side))}"
        question = self._fill(self._question, describe(picture))
        return [
            {"type": "text", "text": question},
            {"type": "image_url", "image_url": {"url": url}},
        ]

    def _fill(self, text: str, values: dict[str, Any]) -> str:
        """Put values in place, all at once: a prompt may have braces of its own."""
        values = {**values, "low": f"{self._low:g}", "high": f"{self._high:g}"}
        places = "|".join(values)
        return re.sub(rf"\{{({places})\}}", lambda place: str(values[place[1]]), text)

    def _ask(self, server: HttpServer, parts: list[dict[str, Any]]) -> str:
        self._spend()
        messages = [{"role": "user", "content": parts}]
        with as_scorer_errors():
            try:
                answer = server.post("/chat/completions", {**self._body, "messages": messages})
            except StatusError as error:
                error.hint = _hint(error.status)
                raise
        text = answer_text(answer)
        with as_scorer_errors(), understood(f"{self._address}: its count of tokens"):
            usage = answer.get("usage") or {}
            self._used["max_total_tokens"] += int(usage.get("total_tokens") or 0)
        return text

    def _spend(self) -> None:
        for name, limit in self._limits.items():
            if limit is not None and self._used[name] >= limit:
                raise StudyError(
                    f"{_NAME}: the limit {name} = {limit} is reached",
                    hint="run the same command again: it continues, and counts from 0",
                )
        self._used["max_requests"] += 1


def _key(variable: str | None) -> ApiKey | None:
    """Return the key; an endpoint on one's own machine needs none."""
    key = os.environ.get(variable or _KEY_VARIABLE, "").strip()
    if variable and not key:
        raise ScorerError(f"{_NAME}: the environment variable {variable} is not set", blame="study")
    if not (key.isascii() and key.isprintable()):
        message = (
            f"{_NAME}: the key in {variable or _KEY_VARIABLE} has characters that no key can have"
        )
        raise ScorerError(message, blame="study")
    return ApiKey(key) if key else None


def _hint(status: int) -> str | None:
    if status in (401, 403):
        return f"put the key into the environment variable {_KEY_VARIABLE}, or name api_key_env"
    if status == 404:
        return "address ends with /v1, and the endpoint must have the model"
    if status in (400, 422):
        return "can the model see pictures? some endpoints refuse JSON: json_mode: false"
    return None


def _reduced(image: Image, side: int) -> Image:
    if max(image.size) <= side:
        return image
    reduced = image.convert("RGB")
    reduced.thumbnail((side, side))
    return reduced


@hookimpl
def bmerge_scorers() -> Iterable[ScorerKind]:
    """Offer the scorer."""
    summary = "a vision-language model's rating, over an OpenAI-compatible endpoint"
    return [ScorerKind(_NAME, VisionLanguageJudge, summary, incidental=_INCIDENTAL, needs=SERVER)]
