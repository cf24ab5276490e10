"""A server on 127.0.0.1 that says, byte for byte, what a test lets it say."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Self

Reply = Callable[[socket.socket, bytes], None]


class RawServer:
    """Hands each connection's first request to ``reply``, and closes it afterwards."""

    def __init__(self, reply: Reply, *, host: str = "127.0.0.1", deaf: bool = False) -> None:
        self.reply = reply
        self.deaf = deaf
        self.requests: list[bytes] = []
        self.stopping = threading.Event()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family)
        self._threads = [threading.Thread(target=self._accept)]

    @property
    def port(self) -> int:
        return self._listener.getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while not self.stopping.is_set():
                connection, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=(connection,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            if self.deaf:
                self.stopping.wait()
            elif request := _request(connection):
                self.requests.append(request)
                self.reply(connection, request)


def answer(body: bytes, status: str = "200 OK", **headers: str) -> Reply:
    """Say ``body`` under a status and headers, whole and at once."""
    named = {"Content_Length": str(len(body)), "Connection": "close", **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in named.items())
    head = f"HTTP/1.1 {status}\r\n{lines}\r\n"
    return lambda connection, _request: connection.sendall(head.encode() + body)


def _request(connection: socket.socket) -> bytes:
    """Read a request's headers and its body."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(1 << 16)
        if not piece:
            return b""
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            while len(body) < int(line.partition(b":")[2]):
                body += connection.recv(1 << 16)
    return head + b"\r\n\r\n" + body
