"""The application: which address leads where."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from bmerge.errors import StudyError
from bmerge.pages import SHARED, environment
from bmerge.rating import Ratings
from bmerge.report.page import TEMPLATES
from bmerge.web.guard import Guard
from bmerge.web.live import LiveView
from bmerge.web.pictures import PageGallery
from bmerge.web.rating import RatingDesk

__all__ = ["make_app"]

_HERE = Path(__file__).parent
_STATIC = {
    "common.css": ("text/css", SHARED / "style.css"),
    "rate.css": ("text/css", _HERE / "static" / "rate.css"),
    "live.css": ("text/css", _HERE / "static" / "live.css"),
    "rate.js": ("text/javascript", _HERE / "static" / "rate.js"),
    "live.js": ("text/javascript", _HERE / "static" / "live.js"),
    "icon.svg": ("image/svg+xml", _HERE / "static" / "icon.svg"),
}
_FOREVER = {"Cache-Control": "private, max-age=31536000, immutable"}


def make_app(
    folder: Path, name: str, *, token: str, names: Collection[str], addresses: bool
) -> Starlette:
    """Return the application that serves one study.

    Args:
        folder: of the study.
        name: of the study.
        token: see :class:`~bmerge.web.guard.Guard`, as for the others.
        names: as there.
        addresses: as there.
    """
    gallery = PageGallery(folder)
    templates = environment(_HERE / "templates", TEMPLATES)
    desk = RatingDesk(Ratings(folder))
    live = LiveView(folder, gallery, templates)

    def page(template: str) -> Route:
        text = templates.get_template(f"{template}.html").render(name=name, page=template)
        return Route(f"/{template}".replace("/rate", "/"), lambda _: HTMLResponse(text))

    def picture(request: Request) -> Response:
        path = gallery.find(request.path_params["id"])
        if path is None:
            return PlainTextResponse("no such picture\n", status_code=404)
        return FileResponse(path, media_type="image/png", headers=_FOREVER)

    return Starlette(
        routes=[
            page("rate"),
            page("live"),
            Route("/static/{name}", _static),
            Route("/pictures/{id}", picture),
            Route("/api/state", desk.state),
            Route("/api/answer", desk.answer, methods=["POST"]),
            Route("/api/undo", desk.undo, methods=["POST"]),
            Route("/live/parts", live.parts),
            Route("/events", live.events),
        ],
        middleware=[Middleware(Guard, token=token, names=names, addresses=addresses)],
        exception_handlers={StudyError: _study_error},
    )


def _static(request: Request) -> Response:
    if (entry := _STATIC.get(request.path_params["name"])) is None:
        return PlainTextResponse("no such file\n", status_code=404)
    media_type, path = entry
    return FileResponse(path, media_type=media_type)


def _study_error(request: Request, error: Exception) -> Response:
    del request
    return PlainTextResponse(f"{error}\n", status_code=500)
