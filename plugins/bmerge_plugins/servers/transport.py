"""The way to a server: one deadline for a whole request, secrets that only the wire sees.

An HTTP library's time limits hold for each read, so a server that sends a byte a second can keep
a request alive for ever, in the headers as well as in the body. Here every read and write of a
request has only what is left until :func:`deadline`. Password and query go into a request at the
last moment, where no log and no message of the library comes by. Servers on this machine are
asked directly, others through the proxy that the environment names.
"""

from __future__ import annotations

import socket
import ssl
import time
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

import httpcore2
import httpx2

from bmerge import GeneratorError
from bmerge_plugins.servers.address import Address, ApiKey, Login

__all__ = ["Transport", "deadline"]

_ends: ContextVar[float | None] = ContextVar("ends", default=None)
_PIECE = 1 << 16


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Let the requests that this thread makes meanwhile end within so long."""
    token = _ends.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _ends.reset(token)


class Transport(httpx2.BaseTransport):
    """Carries the requests to one server.

    Args:
        address: of the server; its query is part of every request.
        login: what lets us in.
        verify: what certificates are checked against.

    Raises:
        GeneratorError: if the environment names a proxy that cannot be one.
    """

    def __init__(
        self, address: Address, login: Login | ApiKey | None, verify: ssl.SSLContext
    ) -> None:
        proxy = _proxy(address)
        self.secrets = tuple(str(part) for part in (proxy.auth or ()) if part) if proxy else ()
        self._query = address.query.encode()
        self._login = [(b"Authorization", login.header.encode())] if login else []
        self._pool = _pool(proxy, verify)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request and return its answer, of which the body is still to be read."""
        assert isinstance(request.stream, httpx2.SyncByteStream)
        path = request.url.raw_path
        if self._query:
            path += (b"&" if b"?" in path else b"?") + self._query
        wanted = httpcore2.Request(
            method=request.method,
            url=httpcore2.URL(
                scheme=request.url.raw_scheme,
                host=request.url.raw_host,
                port=request.url.port,
                target=path,
            ),
            headers=[*request.headers.raw, *self._login],
            content=request.stream,
            extensions=request.extensions,
        )
        with _library_errors():
            answer = self._pool.handle_request(wanted)
        return httpx2.Response(
            status_code=answer.status,
            headers=answer.headers,
            stream=_Body(answer),
            extensions=answer.extensions,
        )

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()


class _Body(httpx2.SyncByteStream):
    """The body of an answer, still on its way."""

    def __init__(self, answer: httpcore2.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        with _library_errors():
            yield from self._answer.iter_stream()

    def close(self) -> None:
        self._answer.close()


class _Backend(httpcore2.SyncBackend):
    """Opens connections that keep to the deadline."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        left = _left(timeout, httpcore2.ConnectTimeout)
        return _Stream(super().connect_tcp(host, port, left, local_address, socket_options))


class _Stream(httpcore2.NetworkStream):
    """A connection of which each operation has what is left of the request's time."""

    def __init__(self, stream: httpcore2.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout, httpcore2.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _PIECE):
            piece = buffer[start : start + _PIECE]
            self._stream.write(piece, _left(timeout, httpcore2.WriteTimeout))

    def close(self) -> None:
        # Closing alone does not wake a thread that reads, as a websocket's does.
        with suppress(OSError):
            self.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        left = _left(timeout, httpcore2.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(timeout: float | None, error: type[Exception]) -> float | None:
    """Return how long an operation may take; raise if the request's time is up."""
    ends = _ends.get()
    if ends is None:
        return timeout
    left = ends - time.monotonic()
    if left <= 0:
        raise error("the whole answer took too long")
    return left if timeout is None else min(timeout, left)


@contextmanager
def _library_errors() -> Iterator[None]:
    """Raise the client library's error of the same name."""
    try:
        yield
    except (httpcore2.NetworkError, httpcore2.TimeoutException, httpcore2.ProtocolError) as error:
        raise getattr(httpx2, type(error).__name__)(str(error)) from error
    except (httpcore2.ProxyError, httpcore2.UnsupportedProtocol) as error:
        raise getattr(httpx2, type(error).__name__)(str(error)) from error


def _pool(proxy: httpx2.Proxy | None, verify: ssl.SSLContext) -> httpcore2.ConnectionPool:
    if proxy is None:
        return httpcore2.ConnectionPool(ssl_context=verify, network_backend=_Backend())
    where = httpcore2.URL(
        scheme=proxy.url.raw_scheme, host=proxy.url.raw_host, port=proxy.url.port, target=b"/"
    )
    kind = httpcore2.HTTPProxy if proxy.url.scheme in ("http", "https") else httpcore2.SOCKSProxy
    return kind(where, proxy_auth=proxy.raw_auth, ssl_context=verify, network_backend=_Backend())


def _proxy(address: Address) -> httpx2.Proxy | None:
    """Return the proxy that the environment names for ``address``, if there is one."""
    # It is for the world, not for this machine.
    if address.is_local or urllib.request.proxy_bypass(f"{address.host}:{address.port}"):
        return None
    named = urllib.request.getproxies()
    text = named.get(address.url.partition(":")[0]) or named.get("all")
    if not text:
        return None
    try:
        return httpx2.Proxy(text if "://" in text else f"http://{text}")
    except (ValueError, httpx2.InvalidURL):
        # Not named: there may be a password in it.
        message = f"the proxy that the environment names for {address} is not an address"
        raise GeneratorError(message, blame="study", hint="set NO_PROXY to go without") from None
