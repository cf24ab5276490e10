"""Talks to one image server: authentication, time limits, retries, and one kind of error.

Every request of the servers' APIs that is used here can safely be made twice: at worst a picture
is made again with the same seed. So every request is retried when it fails for a passing reason:
a refused or cut connection, a time-out, a status of 5xx, an answer that is not what was promised.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING, Any

from bmerge import GeneratorError
from bmerge_plugins.servers.address import Address, ApiKey, Login
from bmerge_plugins.servers.faults import one_line, seconds, status_error
from bmerge_plugins.servers.retry import Retry

if TYPE_CHECKING:
    import httpx2

__all__ = ["HttpServer", "HttpSettings"]

_CONNECT = 10.0
_QUICK = 5.0
_PREVIEW = 1 << 24  # ComfyUI sends its previews over the socket, as large as pictures are


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """What is the same for all servers of a pool.

    Args:
        login: for servers whose address brings none.
        timeout: seconds for one request, from start to the last byte.
        retry: how passing faults are met.
        verify: whether certificates are checked; a path names the authority's certificate.
    """

    login: Login | ApiKey | None = None
    timeout: float = 600.0
    retry: Retry = field(default_factory=Retry)
    verify: bool | str = True

    def __post_init__(self) -> None:
        if self.timeout <= 0:
            raise GeneratorError(f"timeout is {self.timeout}, must be above 0")


class HttpServer:
    """A client for one address; may be used from several threads.

    Args:
        address: of the server.
        settings: of the pool.
    """

    def __init__(self, address: Address, settings: HttpSettings) -> None:
        import httpx2

        self.address = address
        self.stopped = Event()
        self._settings = settings
        self._login = address.login or settings.login
        self._client = httpx2.Client(
            headers={"Authorization": self._login.header} if self._login else None,
            verify=_tls(settings.verify),
            # A proxy that the environment sets is for the world, not for this machine.
            trust_env=not address.is_local,
        )

    @property
    def timeout(self) -> float:
        """Seconds that one request may take."""
        return self._settings.timeout

    def get(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        """GET ``path``; return the JSON that comes back.

        Raises:
            GeneratorError: if it fails for good, or for a passing reason too often.
        """
        return self._retried("GET", path, params, None, self.timeout, as_json=True)

    def get_bytes(self, path: str, params: Mapping[str, str] | None = None) -> bytes:
        """GET ``path``; return the body.

        Raises:
            GeneratorError: as for :meth:`get`.
        """
        body: bytes = self._retried("GET", path, params, None, self.timeout, as_json=False)
        return body

    def post(self, path: str, body: Any = None) -> Any:
        """POST ``body`` as JSON; return the JSON that comes back, None if nothing does.

        Raises:
            GeneratorError: as for :meth:`get`.
        """
        return self._retried("POST", path, None, body, self.timeout, as_json=True)

    def post_once(self, path: str, body: Any = None, *, timeout: float = _QUICK) -> None:
        """POST without a second attempt, where failing does not matter.

        Raises:
            GeneratorError: if it fails.
        """
        self._once("POST", path, None, body, timeout)

    def answers(self, path: str) -> bool:
        """Tell whether ``path`` can be had at once, without further attempts."""
        try:
            self._once("GET", path, None, None, _QUICK)
        except GeneratorError:
            return False
        return True

    def websocket(self, path: str, params: Mapping[str, str]) -> Any:
        """Return a context manager that opens a websocket; its faults are the library's own."""
        url = f"{self.address}{path}".replace("http", "ws", 1)
        return self._client.websocket(url, params=params, max_message_size_bytes=_PREVIEW)

    def sleep(self, seconds: float) -> bool:
        """Wait; return True at once when :attr:`stopped` is set."""
        return self.stopped.wait(seconds)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _retried(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: Any,
        timeout: float,
        *,
        as_json: bool,
    ) -> Any:
        def attempt() -> Any:
            content = self._once(method, path, params, body, timeout)
            return self._decoded(f"{method} {self.address}{path}", content) if as_json else content

        return self._settings.retry.run(attempt, self.sleep)

    def _once(
        self, method: str, path: str, params: Mapping[str, str] | None, body: Any, timeout: float
    ) -> bytes:
        import httpx2

        what = f"{method} {self.address}{path}"
        limits = httpx2.Timeout(timeout, connect=min(timeout, _CONNECT))
        url = f"{self.address}{path}"
        try:
            with self._client.stream(
                method, url, params=params, json=body, timeout=limits
            ) as response:
                content = self._read(response, what, timeout)
                status, phrase = response.status_code, response.reason_phrase
                pause = seconds(response.headers.get("Retry-After"))
        except httpx2.RequestError as error:
            raise self._transport_error(what, error) from error
        if status >= 300:
            body_text = self._redact(content.decode(errors="replace"))
            raise status_error(what, status, phrase, body_text.encode(), pause)
        return content

    def _read(self, response: httpx2.Response, what: str, timeout: float) -> bytes:
        """Return the whole body; the client's own limit is for each piece of it only."""
        ends = time.monotonic() + timeout
        pieces = []
        for piece in response.iter_bytes():
            pieces.append(piece)
            if time.monotonic() > ends:
                raise GeneratorError(f"{what}: no end after {timeout:g} s", transient=True)
        return b"".join(pieces)

    def _decoded(self, what: str, content: bytes) -> Any:
        if not content.strip():
            return None
        try:
            return json.loads(content)
        except ValueError:
            text = one_line(self._redact(content[:80].decode(errors="replace")))
            # What a proxy says while its server starts, or the first half of an answer.
            message = f"{what}: the answer is not JSON: {text}"
            raise GeneratorError(message, transient=True) from None

    def _redact(self, text: str) -> str:
        return self._login.redact(text) if self._login else text

    def _transport_error(self, what: str, error: httpx2.RequestError) -> GeneratorError:
        import httpx2

        text = one_line(self._redact(str(error))) or type(error).__name__
        if "CERTIFICATE_VERIFY_FAILED" in text or "certificate verify failed" in text:
            return GeneratorError(
                f"{what}: its certificate is not trusted",
                hint="set verify to the path of the authority's certificate, or to false",
            )
        if isinstance(error, httpx2.TimeoutException):
            text = f"no answer in time ({text})"
        connecting = isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout)
        hint = "is the server running?" if connecting else None
        return GeneratorError(f"{what}: {text}", transient=True, hint=hint)


def _tls(verify: bool | str) -> Any:  # noqa: FBT001  the client's own argument
    """Return what the client takes as its ``verify``."""
    if isinstance(verify, bool):
        return verify
    import ssl

    try:
        return ssl.create_default_context(cafile=verify)
    except (OSError, ssl.SSLError) as error:
        raise GeneratorError(f"verify: no certificate can be read from {verify!r}") from error
