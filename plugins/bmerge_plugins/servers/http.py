"""Talks to one image server: authentication, time limits, retries, and one kind of error.

Every request of the servers' APIs that is used here can safely be made twice: at worst a picture
is made again with the same seed. So every request is retried when it fails for a passing reason:
a refused or cut connection, a time-out, a status of 5xx, an answer that is not what was promised.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from bmerge import GeneratorError
from bmerge_plugins.servers.address import Address, ApiKey, Login, strike_out
from bmerge_plugins.servers.bodies import decode_json, read_body
from bmerge_plugins.servers.faults import StatusError, one_line, seconds, status_error
from bmerge_plugins.servers.retry import Retry

if TYPE_CHECKING:
    import ssl

    import httpx2

__all__ = ["HttpServer", "HttpSettings"]

_CONNECT = 10.0
_QUICK = 5.0
_HOPS = 5
_REFUSING = (401, 403, 407)
_PREVIEW = 1 << 24  # ComfyUI sends its previews over the socket, as large as pictures are


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """What is the same for all servers of a pool.

    Args:
        login: for servers whose address brings none.
        timeout: seconds for one request, from start to the last byte, redirects included.
        retry: how passing faults are met.
        verify: whether certificates are checked; a path names the authority's certificate.
    """

    login: Login | ApiKey | None = None
    timeout: float = 600.0
    retry: Retry = field(default_factory=Retry)
    verify: bool | str = True

    def __post_init__(self) -> None:
        if self.timeout <= 0:
            message = f"timeout is {self.timeout}, must be above 0"
            raise GeneratorError(message, blame="study")


class HttpServer:
    """A client for one address; may be used from several threads.

    Args:
        address: of the server.
        settings: of the pool.
    """

    def __init__(self, address: Address, settings: HttpSettings) -> None:
        import httpx2

        from bmerge_plugins.servers.transport import Transport

        self.address = address
        self.stopped = Event()
        self._settings = settings
        login = address.login or settings.login
        transport = Transport(address, login, _tls(settings.verify))
        self._secrets = (*address.secrets, *(login.secrets if login else ()), *transport.secrets)
        self._client = httpx2.Client(
            transport=transport,
            headers={"Accept-Encoding": "gzip"},  # which can be unpacked with a limit
            trust_env=False,  # what is wanted of it, the transport sees to
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

    def get_once(self, path: str) -> Any:
        """GET ``path`` at once, without a second attempt; return the JSON that comes back.

        Raises:
            GeneratorError: if it fails.
        """
        content = self._once("GET", path, None, None, _QUICK)
        return decode_json(content, f"GET {self.address}{path}", self._redact)

    def post_once(self, path: str, body: Any = None, *, timeout: float = _QUICK) -> None:
        """POST without a second attempt, where failing does not matter.

        Raises:
            GeneratorError: if it fails.
        """
        self._once("POST", path, None, body, timeout)

    def check(self, path: str) -> None:
        """Complain if nothing answers, or the password is refused; any other answer will do.

        Raises:
            GeneratorError: which blames the surroundings.
        """
        try:
            self._retried("GET", path, None, None, self.timeout, as_json=False)
        except StatusError as error:
            if error.status in _REFUSING:
                raise

    def answers(self, path: str) -> bool:
        """Tell whether ``path`` can be had at once, without further attempts."""
        try:
            self._once("GET", path, None, None, _QUICK)
        except GeneratorError:
            return False
        return True

    @contextmanager
    def websocket(self, path: str, params: Mapping[str, str]) -> Iterator[Any]:
        """Open a websocket meanwhile; its faults are the library's own."""
        from bmerge_plugins.servers.transport import deadline

        url = f"{self.address}{path}".replace("http", "ws", 1)
        with ExitStack() as stack:
            with deadline(_CONNECT):
                manager = self._client.websocket(
                    url, params=params, max_message_size_bytes=_PREVIEW
                )
                session = stack.enter_context(manager)
            try:
                yield session
            finally:
                # The library's thread reads from it, and would do so for as long as the server says
                # nothing, though it is closed: the process would not end before.
                raw = session.stream.get_extra_info("socket")
                with suppress(OSError):
                    socket.socket.shutdown(raw, socket.SHUT_RD)

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
            if not as_json:
                return content
            return decode_json(content, f"{method} {self.address}{path}", self._redact)

        return self._settings.retry.run(attempt, self.sleep)

    def _once(
        self, method: str, path: str, params: Mapping[str, str] | None, body: Any, timeout: float
    ) -> bytes:
        import httpx2

        from bmerge_plugins.servers.transport import deadline

        what = f"{method} {self.address}{path}"
        try:
            with deadline(timeout):
                return self._exchange(method, path, params, body, timeout)
        except httpx2.RequestError as error:
            raise self._transport_error(what, error, timeout) from error
        except (httpx2.InvalidURL, UnicodeError) as error:
            message = f"{what}: this is not a valid address"
            raise GeneratorError(message, blame="study") from error

    def _exchange(
        self, method: str, path: str, params: Mapping[str, str] | None, body: Any, timeout: float
    ) -> bytes:
        """Send a request and read its answer, from where the server sends us if it does."""
        import httpx2

        what = f"{method} {self.address}{path}"
        limits = httpx2.Timeout(timeout, connect=min(timeout, _CONNECT))
        url = f"{self.address}{path}"
        for _ in range(_HOPS):
            with self._client.stream(
                method, url, params=params, json=body, timeout=limits
            ) as response:
                content = read_body(response, what)
            if response.status_code < 300:
                return content
            target = urljoin(url, response.headers.get("Location") or "")
            if method != "GET" or not 300 < response.status_code < 400 or not _may_go(url, target):
                raise status_error(
                    what,
                    response.status_code,
                    self._redact(response.reason_phrase),
                    self._redact(content.decode(errors="replace")).encode(),
                    pause=seconds(response.headers.get("Retry-After")),
                    location=_shown(response.headers.get("Location", "")).removesuffix(path),
                )
            url, params = target, None
        raise GeneratorError(f"{what}: it redirects in a circle", blame="surroundings")

    def _redact(self, text: str) -> str:
        return strike_out(self._secrets, text)

    def _transport_error(
        self, what: str, error: httpx2.RequestError, timeout: float
    ) -> GeneratorError:
        import httpx2

        text = one_line(self._redact(str(error))) or type(error).__name__
        if "CERTIFICATE_VERIFY_FAILED" in text or "certificate verify failed" in text:
            return GeneratorError(
                f"{what}: its certificate is not trusted",
                blame="study",
                hint="set verify to the path of the authority's certificate, or to false",
            )
        if isinstance(error, httpx2.ProxyError):
            return GeneratorError(
                f"{what}: the proxy refuses: {text}",
                transient=True,
                hint="the proxy is what HTTP_PROXY, HTTPS_PROXY or ALL_PROXY name",
            )
        connecting = isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout)
        if isinstance(error, httpx2.TimeoutException):
            text = f"no answer in time ({text})" if connecting else f"no end after {timeout:g} s"
        hint = "is the server running?" if connecting else None
        return GeneratorError(f"{what}: {text}", transient=True, hint=hint)


def _shown(location: str) -> str:
    """Return where a redirection leads without what may be secret in it."""
    return location.partition("?")[0].rpartition("@")[2]


def _may_go(url: str, target: str) -> bool:
    """Tell whether a redirection leads to the same server: only that may have the password."""
    try:
        here, there = urlsplit(url), urlsplit(target)
        ports = here.port, there.port or {"http": 80, "https": 443}.get(there.scheme)
    except ValueError:
        return False
    if here.hostname != there.hostname or target == url:
        return False
    upgraded = (here.scheme, there.scheme) == ("http", "https")
    return upgraded or (here.scheme == there.scheme and ports[0] == ports[1])


def _tls(verify: bool | str) -> ssl.SSLContext:  # noqa: FBT001  the client's own argument
    import httpx2

    if isinstance(verify, bool):
        return httpx2.create_ssl_context(verify=verify)
    import ssl

    try:
        return ssl.create_default_context(cafile=verify)
    except (OSError, ssl.SSLError) as error:
        message = f"verify: no certificate can be read from {verify!r}"
        raise GeneratorError(message, blame="study") from error
