"""What every request must pass: the right host, a page of ours as its origin, the token.

The page is for whoever has its address. A web site that somebody visits meanwhile must not reach
it, neither by a form or script of its own (the origin is checked, the cookie is strict) nor by a
name of its own that it lets point here (the host is checked).
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Guard"]

_YEAR = 365 * 24 * 3600
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; "
        "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_DOOR = (
    "<!doctype html><html lang='en'><meta charset='utf-8'><title>bmerge</title>"
    "<link rel='icon' href='/static/icon.svg'>"
    "<meta http-equiv='refresh' content='0;url=/'><p><a href='/'>bmerge</a></p></html>"
)
"""Answers the address with the token. The browser continues by itself, so that the strict cookie is
sent even if the link was followed from elsewhere, and the token leaves the address bar."""


class Guard:
    """Lets requests through to an application, or refuses them.

    Args:
        app: the application.
        token: that the first address has, and the cookie afterwards.
        names: host names that are this server.
        addresses: whether it is addressed by any IP address, as on a local network, and not by
            those of this machine alone. A name can be made to point anywhere, an address not.
    """

    def __init__(
        self, app: ASGIApp, *, token: str, names: Collection[str], addresses: bool
    ) -> None:
        self._app = app
        self._token = token
        self._names = {name.lower() for name in names}
        self._addresses = addresses
        # Browsers share cookies between ports, so each study has a name of its own.
        self._cookie = f"bmerge-{hashlib.sha256(token.encode()).hexdigest()[:8]}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        answer = self._answer(Request(scope)) if scope["type"] == "http" else _no("no such thing")
        await (answer or self._app)(scope, receive, guarded)

    def _answer(self, request: Request) -> Response | None:
        """Return an answer of the guard's own, or None for a request that may pass."""
        if not self._is_here(request.headers):
            return _no("this host name is not one of bmerge's")
        if not _is_ours(request.method, request.headers):
            return _no("this request comes from another site")
        first = request.method == "GET" and request.url.path == "/"
        if first and "token" in request.query_params:
            return self._open(request.query_params["token"])
        if not self._equals(request.cookies.get(self._cookie, "")):
            return _no("open the address that `bmerge rate` printed")
        return None

    def _open(self, token: str) -> Response:
        if not self._equals(token):
            return _no("this address is not right: open the one that `bmerge rate` printed")
        response = HTMLResponse(_DOOR)
        response.set_cookie(
            self._cookie, self._token, max_age=_YEAR, httponly=True, samesite="strict"
        )
        return response

    def _equals(self, token: str) -> bool:
        """Compare with the token, in the same time whatever is wrong."""
        return hmac.compare_digest(token.encode(), self._token.encode())

    def _is_here(self, headers: Headers) -> bool:
        """Tell whether a request is addressed to this server by a name that nobody else owns."""
        hosts = headers.getlist("host")
        if len(hosts) != 1:
            return False
        try:
            name = (urlsplit(f"//{hosts[0]}").hostname or "").rstrip(".")
        except ValueError:
            return False
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name in self._names
        return self._addresses or address.is_loopback


def _is_ours(method: str, headers: Mapping[str, str]) -> bool:
    """Tell whether a request that changes something comes from our own page."""
    if method in {"GET", "HEAD"}:
        return True
    if headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return False
    origin = headers.get("origin", "")
    return origin in {f"{scheme}://{headers['host']}" for scheme in ("http", "https")}


def _no(reason: str) -> Response:
    return PlainTextResponse(f"{reason}\n", status_code=403)
