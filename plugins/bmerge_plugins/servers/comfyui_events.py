"""ComfyUI's websocket: tells at once when a picture is ready, and how far it is.

Only a help: what counts is in the server's history, which is asked anyway. So where there is no
websocket, because a proxy does not pass it or its library is not installed, nothing is lost but
some tenths of a second per picture.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from typing import Any

from bmerge_plugins.servers.http import HttpServer

__all__ = ["Events"]

_log = logging.getLogger(__name__)

_ENDS = ("execution_success", "execution_error", "execution_interrupted")
_SLICE = 0.25


class Events:
    """The events of one client of one server.

    Args:
        server: the client for its requests.
        client_id: under which prompts are sent, so that the server tells about them.
    """

    def __init__(self, server: HttpServer, client_id: str) -> None:
        self._http = server
        self._open = contextlib.ExitStack()
        self._socket: Any = None
        try:
            manager = server.websocket("/ws", {"clientId": client_id})
            self._socket = self._open.enter_context(manager)
        except Exception as error:  # noqa: BLE001  whatever it is, polling does instead
            _log.info("%s: no websocket (%s), polling instead", server.address, error)

    def wait(self, seconds: float) -> bool:
        """Wait until a prompt of ours seems to have ended, or so long.

        Returns:
            True if nobody wants the picture any more.
        """
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            if self._socket is None:
                return self._http.sleep(left)
            if self._http.stopped.is_set() or self._ended(min(left, _SLICE)):
                break
        return self._http.stopped.is_set()

    def close(self) -> None:
        """Close the socket."""
        self._socket = None
        with contextlib.suppress(Exception):
            self._open.close()

    def _ended(self, seconds: float) -> bool:
        """Take the next event; tell whether it may be the last of a prompt."""
        try:
            event = self._socket.receive(timeout=seconds)
            return self._is_end(getattr(event, "data", b""))
        except TimeoutError:
            return False
        except Exception as error:  # noqa: BLE001  a closed socket, in many forms
            _log.info("%s: the websocket is gone (%s)", self._http.address, error)
            self.close()
            return False

    def _is_end(self, message: Any) -> bool:
        if not isinstance(message, str):  # a preview picture
            return False
        content = json.loads(message)
        kind, data = content.get("type"), content.get("data") or {}
        if kind == "progress":
            _log.debug("%s: step %s of %s", self._http.address, data.get("value"), data.get("max"))
        return kind in _ENDS or (kind == "executing" and data.get("node") is None)
