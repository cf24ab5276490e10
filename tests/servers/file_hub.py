"""A hub of files on 127.0.0.1 that redirects to a store, as Hugging Face's does, with faults."""

from __future__ import annotations

import contextlib
import hashlib
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileHub:
    """Serves ``content`` at every ``/…/resolve/…``; ``with`` starts and stops it.

    Attributes that tests set: ``cuts``, after how many bytes the next answers are cut off;
    ``statuses``, of the next answers; ``ranges``, whether parts can be asked for; ``stated``, the
    checksum that the hub states, or None.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.stated: str | None = hashlib.sha256(content).hexdigest()
        self.cuts: list[int] = []
        self.statuses: list[int] = []
        self.ranges = True
        self.asked: list[str | None] = []
        handler = type("Handler", (_Handler,), {"hub": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    @property
    def tag(self) -> str:
        return f'"{hashlib.md5(self.content).hexdigest()}"'

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: FileHub
    timeout = 30

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        hub = self.hub
        if "/resolve/" in self.path:
            self.send_response(302)
            self.send_header("Location", "/store/file")
            if hub.stated:
                self.send_header("X-Linked-ETag", f'"{hub.stated}"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        wanted = self.headers.get("Range")
        hub.asked.append(wanted)
        if hub.statuses:
            self.send_response(hub.statuses.pop(0))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self._send(wanted)

    def _send(self, wanted: str | None) -> None:
        hub, start = self.hub, 0
        same = self.headers.get("If-Range") in (None, hub.tag)
        if wanted and hub.ranges and same:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            if start >= len(hub.content):
                self.send_response(416)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
        body = hub.content[start:]
        self.send_response(206 if start else 200)
        if start:
            end = len(hub.content)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{end}")
        self.send_header("ETag", hub.tag)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        cut = hub.cuts.pop(0) if hub.cuts else len(body)
        self.wfile.write(body[:cut])
        self.wfile.flush()
        if cut < len(body):
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
