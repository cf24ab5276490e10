"""The rating page's side of the wire: the question of the moment, answers, undo."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bmerge.errors import StudyError
from bmerge.rating import Ratings

__all__ = ["RatingDesk"]

_LARGEST = 4096  # bytes of a request's body


class RatingDesk:
    """Answers the page's requests; all it knows is in the study's ratings.

    Args:
        ratings: of the study.
    """

    def __init__(self, ratings: Ratings) -> None:
        self._ratings = ratings

    async def state(self, request: Request) -> Response:
        """Return what the page shows now."""
        del request
        return JSONResponse(await run_in_threadpool(self._state))

    async def answer(self, request: Request) -> Response:
        """Store an answer; the status is 409 if the question was answered elsewhere."""
        return await self._change(request, self._ratings.answer)

    async def undo(self, request: Request) -> Response:
        """Take the last answer back; the status is 409 if the page does not know the last."""
        return await self._change(request, self._ratings.undo)

    async def _change(self, request: Request, change: Callable[[str, str], bool]) -> Response:
        """Do something to the answer of a question, both of which the request names."""
        body = await _json(request)
        question, answer = body.get("question"), body.get("answer")
        if not (isinstance(question, str) and isinstance(answer, str)):
            raise HTTPException(400, "question and answer are needed, as texts")
        if not self._ratings.exist:
            raise HTTPException(404, "nothing is to be rated")
        try:
            done = await run_in_threadpool(change, question, answer)
        except StudyError as error:
            raise HTTPException(400, str(error)) from error
        state = await run_in_threadpool(self._state)
        return JSONResponse(state, status_code=200 if done else 409)

    def _state(self) -> dict[str, Any]:
        if not self._ratings.exist:
            return {"question": None, "trial": None, "answered": 0, "last": None}
        question = self._ratings.question()
        trial = self._ratings.open_trial()
        last = self._ratings.last_answer()
        progress = None if trial is None else self._ratings.progress(trial)
        return {
            "question": question
            and {
                "id": question.id,
                "mode": question.mode,
                "prompt": question.prompt,
                "seed": question.seed,
                "pictures": [f"/pictures/{p}" for p in (question.left, question.right) if p],
            },
            "trial": progress and {"answered": progress.answered, "wanted": progress.wanted},
            "answered": self._ratings.answered(),
            "last": last and {"question": last[0], "answer": last[1]},
        }


async def _json(request: Request) -> dict[str, Any]:
    """Return a small JSON object from a request's body, or refuse it."""
    if request.headers.get("content-type", "").split(";")[0].strip() != "application/json":
        raise HTTPException(415, "application/json is expected")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST:
            raise HTTPException(413, "too large")
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "no JSON") from error
    if not isinstance(data, dict):
        raise HTTPException(400, "an object is expected")
    return data
