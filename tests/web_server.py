"""The pages of a study, served from a thread; and requests that no browser would send."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field

from bmerge.web.app import make_app
from bmerge.web.server import make_server
from bmerge.web.token import study_token


@dataclass
class Client:
    """Sends requests with a cookie, headers and paths as they are given."""

    port: int
    token: str
    cookie: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def send(self, method, path, body=None, headers=()):
        """Return status, headers and body; ``headers`` may hold a name more than once."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        given = list(headers.items() if isinstance(headers, dict) else headers)
        names = {name.lower() for name, _ in given}
        standard = {"Host": f"127.0.0.1:{self.port}", "Cookie": self.cookie, **self.headers}
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in [*((n, v) for n, v in standard.items() if n.lower() not in names), *given]:  # fmt: skip  # noqa: E501
            if value is not None:
                connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        response = connection.getresponse()
        data = response.read()
        connection.close()
        return response.status, response.headers, data

    def get(self, path, headers=()):
        return self.send("GET", path, headers=headers)

    def post(self, path, data, headers=()):
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        ours = {"Content-Type": "application/json", "Origin": f"http://127.0.0.1:{self.port}"}
        return self.send("POST", path, body, {**ours, **dict(headers)})

    def state(self):
        return json.loads(self.get("/api/state")[2])

    def log_in(self):
        """Open the address with the token, as a person does first."""
        status, headers, _ = self.get(f"/?token={self.token}")
        assert status == 200, status
        self.cookie = headers["Set-Cookie"].split(";")[0]
        return self


@contextmanager
def serving(folder, *, addresses=False):
    """Serve a study's folder; yield a client that has not logged in."""
    token = study_token(folder)
    app = make_app(folder, "study", token=token, names={"localhost"}, addresses=addresses)
    server = make_server(app)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield Client(listener.getsockname()[1], token)
        finally:
            server.should_exit = True
            thread.join()
