"""The live view: a running study's newest pictures, convergence, block weights and ranking."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import jinja2
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse

from bmerge.rating import Ratings
from bmerge.rating.scores import Standing, standings
from bmerge.report.load import load_report_data
from bmerge.report.parts import parts
from bmerge.trials.folder import DATABASE
from bmerge.web.pictures import PageGallery

__all__ = ["LiveView"]

_PAUSE = 1.0  # seconds between looks at the study
_BLIND = 10.0  # seconds between updates where a study's storage cannot be looked at
_PING = 15.0  # seconds of silence after which a word keeps the connection open


class LiveView:
    """Shows how a study stands, and says when that changes.

    Args:
        folder: of the study.
        gallery: of its pictures.
        templates: ours and the report's.
    """

    def __init__(self, folder: Path, gallery: PageGallery, templates: jinja2.Environment) -> None:
        self._folder, self._gallery, self._templates = folder, gallery, templates
        self._ratings = Ratings(folder)

    async def parts(self, request: Request) -> Response:
        """Return the changing part of the page."""
        del request
        return HTMLResponse(await run_in_threadpool(self._render))

    async def events(self, request: Request) -> Response:
        """Send a server-sent event whenever something has changed."""
        del request
        return StreamingResponse(self._changes(), media_type="text/event-stream")

    async def _changes(self) -> AsyncIterator[str]:
        before, silent = None, time.monotonic()
        while True:
            now = await run_in_threadpool(lambda: tuple(self._marks()))
            if now != before:
                before, silent = now, time.monotonic()
                yield "event: change\ndata:\n\n"
            elif time.monotonic() - silent > _PING:
                silent = time.monotonic()
                yield ": still here\n\n"
            await asyncio.sleep(_PAUSE)

    def _marks(self) -> Iterator[object]:
        """Yield what is different whenever the study is."""
        database = self._folder / DATABASE
        if database.exists():
            stat = database.stat()
            yield stat.st_mtime_ns, stat.st_size
        else:
            yield time.monotonic() // _BLIND
        if self._ratings.exist:
            yield self._ratings.marks()
        yield [picture.id for picture in self._gallery.newest()]

    def _render(self) -> str:
        show = self._gallery.shows()
        data = load_report_data(self._folder)
        values = parts(data, lambda shot, _: show(shot.file), lambda shot: show(shot.file))
        template = self._templates.get_template("live_parts.html")
        newest, ranking = self._gallery.newest(), self._ranking()
        return template.render(values, newest=newest, ranking=ranking, lost=())

    def _ranking(self) -> list[tuple[int, Standing]]:
        """Return the trials that the person saw, the best first."""
        if not self._ratings.exist:
            return []
        found = [item for item in standings(self._ratings).items() if item[1].error is not None]
        return sorted(found, key=lambda item: -item[1].score)
