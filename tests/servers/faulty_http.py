"""A JSON server on 127.0.0.1 in a thread, with the faults of real ones on demand."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import queue
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from PIL import Image


class HttpError(Exception):
    """An answer with a status, and headers, of its own."""

    def __init__(self, status: int, body: object, **headers: str) -> None:
        super().__init__(status)
        self.status = status
        self.body = body
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class JsonServer:
    """Routes ``METHOD /path`` to a method of a subclass; ``with`` starts and stops it."""

    def __init__(
        self, *, port: int = 0, auth: str | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self.auth = auth
        self.requests: list[tuple[str, str, object]] = []
        self.faults: Iterator[str | None] = iter(())
        self.down = False
        self.sockets: dict[str, queue.Queue[object]] = {}
        self.stopping = threading.Event()
        self.connections: set[socket.socket] = set()
        self.lock = threading.Lock()
        self._http = _Server(("127.0.0.1", port), type("Handler", (_Handler,), {"owner": self}))
        if tls:
            self._http.socket = tls.wrap_socket(self._http.socket, server_side=True)
        self._scheme = "https" if tls else "http"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._http.shutdown()
        self._thread.join()
        for connection in list(self.connections):  # idle ones, kept open by clients
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._http.server_close()

    def made(self, path: str) -> list[object]:
        """The bodies that were sent to ``path``."""
        return [body for _, where, body in self.requests if where == path]

    def answer(self, method: str, path: str, query: dict[str, str], body: object) -> object:
        raise NotImplementedError


def rate(share: float, kinds: tuple[str, ...], seed: int = 0) -> Iterator[str | None]:
    """Faults at random: each request is hit with the probability ``share``."""
    draw = random.Random(seed)
    while True:
        yield draw.choice(kinds) if draw.random() < share else None


def only(path: str, *kinds: str) -> Callable[[str], str | None]:
    """The next requests to ``path`` meet these faults, one each."""
    left = list(kinds)
    return lambda where: left.pop(0) if where == path and left else None


def colour(weights: bytes, prompt: str, seed: int) -> tuple[int, int, int]:
    """The colour of a picture: it depends on all that a picture depends on."""
    digest = hashlib.sha256(weights + prompt.encode() + str(seed).encode()).digest()
    return digest[0], digest[1], digest[2]


def png(rgb: tuple[int, int, int], size: tuple[int, int] = (8, 8)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, rgb).save(out, "PNG")
    return out.getvalue()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is not news."""


class _Handler(BaseHTTPRequestHandler):
    owner: JsonServer
    protocol_version = "HTTP/1.1"
    timeout = 30
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.owner.connections.add(self.connection)

    def finish(self) -> None:
        self.owner.connections.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def log_message(self, *_: object) -> None:
        pass

    def _serve(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        body = json.loads(raw) if raw else None
        with self.owner.lock:
            self.owner.requests.append((self.command, parts.path, body))
            self.more: dict[str, str] = {}
            faults = self.owner.faults
            fault = faults(parts.path) if callable(faults) else next(faults, None)
        if not self._failed("cut" if self.owner.down else fault):
            if self.headers.get("Upgrade") == "websocket":
                self._upgrade(dict(parse_qsl(parts.query)))
                return
            status, answer = self._answer(parts, body)
            self._send(status, answer, half=fault == "half", slow=fault == "slow")

    def _failed(self, fault: str | None) -> bool:
        match fault:
            case "cut":
                self._cut()
            case "hang":
                self.owner.stopping.wait()
                self._cut()
            case "500":
                self._send(500, {"error": "RuntimeError", "errors": "CUDA error: busy"})
            case "echo":  # a debug page that repeats the request's headers
                self._send(500, {"detail": f"headers: {self.headers['Authorization']}"})
            case "deep":
                self._send_bytes(200, b"[" * 100_000, "application/json")
            case "drip":  # headers that never end
                with contextlib.suppress(OSError):
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                    while not self.owner.stopping.wait(0.05):
                        self.wfile.write(b"x")
                self._cut()
            case "html" | "empty":
                page = b"<html>one moment please</html>" if fault == "html" else b""
                self._send_bytes(200, page, "text/html")
            case "301" | "308" | "400" | "413":  # sent to where one has to agree to something
                self.more = {"Location": "/portal"} if fault.startswith("3") else {}
                self._send(int(fault), {"detail": "not like this"})
            case _:
                return False
        return True

    def _upgrade(self, query: dict[str, str]) -> None:
        """Open a websocket; what the owner puts into its queue is sent as text."""
        guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        key = self.headers["Sec-WebSocket-Key"] + guid
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", accept)
        self.end_headers()
        self.close_connection = True
        events = self.owner.sockets.setdefault(query["clientId"], queue.Queue())
        with contextlib.suppress(OSError):
            while not self.owner.stopping.is_set():
                with contextlib.suppress(queue.Empty):
                    text = json.dumps(events.get(timeout=0.02)).encode()
                    size = (
                        bytes([len(text)])
                        if len(text) < 126
                        else b"\x7e" + len(text).to_bytes(2, "big")
                    )
                    self.wfile.write(b"\x81" + size + text)

    def _answer(self, parts, body):
        if self.owner.auth is not None:
            basic = f"Basic {base64.b64encode(self.owner.auth.encode()).decode()}"
            if self.headers.get("Authorization") not in (basic, f"Bearer {self.owner.auth}"):
                return 401, {"detail": "Incorrect username or password"}
        try:
            query = dict(parse_qsl(parts.query))
            return 200, self.owner.answer(self.command, parts.path, query, body)
        except HttpError as error:
            self.more = error.headers
            return error.status, error.body

    def _send(self, status, answer, *, half=False, slow=False) -> None:
        raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        kind = "image/png" if isinstance(answer, bytes) else "application/json"
        self._send_bytes(status, raw, kind, half=half, slow=slow)

    def _send_bytes(self, status, raw, kind, *, half=False, slow=False) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(raw)))
        for name, value in getattr(self, "more", {}).items():
            self.send_header(name, value)
        self.end_headers()
        if half:
            self.wfile.write(raw[: len(raw) // 2])
            return self._cut()
        if slow:  # each piece comes well within a limit per piece, the whole does not
            for byte in raw:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                if self.owner.stopping.is_set():
                    return self._cut()
                time.sleep(0.05)
        self.wfile.write(raw if not slow else b"")
        return None

    def _cut(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
