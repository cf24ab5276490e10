"""stable-diffusion.cpp's server: a process of our own for each checkpoint.

``sd-server`` holds one model for its whole life, so a process is started for each trial. What
must not happen is that an older process still sits on the port and answers with its old model:
the port has to be free before, the process that was started has to live after, and the model
that the server names has to be this trial's.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from typing import Any

from bmerge import GeneratorError, Payload, Picture
from bmerge_plugins.servers import pictures
from bmerge_plugins.servers.a1111_answers import first_image, model_used, read_info, stem
from bmerge_plugins.servers.a1111_names import Samplers
from bmerge_plugins.servers.a1111_request import request_body
from bmerge_plugins.servers.faults import understood
from bmerge_plugins.servers.http import HttpServer
from bmerge_plugins.servers.process import Program, check_program
from bmerge_plugins.servers.publish import Published
from bmerge_plugins.servers.template import Template

__all__ = ["ServerSession"]

_POLL = 0.1
_LAST_WORDS = 1.0


class ServerSession:
    """An ``sd-server`` of our own on one address.

    Args:
        command: uses {checkpoint}, {host} and {port}.
        server: a client for the address.
        start_timeout: seconds until it must answer.
    """

    def __init__(self, command: Template, server: HttpServer, *, start_timeout: float) -> None:
        self._command = command
        self._http = server
        self._start_timeout = start_timeout
        self._program: Program | None = None
        self._wanted = ""
        self._samplers = Samplers()
        self._worked = False

    @property
    def name(self) -> str:
        """The server's address."""
        return str(self._http.address)

    def ready(self) -> None:
        """Forget an earlier interruption."""
        self._http.stopped.clear()

    def answers(self) -> bool:
        """There is nothing to ask: the process is started for each checkpoint."""
        return True

    def check(self, marker: Published | None, *, paint: bool) -> None:  # noqa: ARG002
        """Look for the program and whether its port is free; a picture would need a model.

        Raises:
            GeneratorError: if something is wrong.
        """
        check_program(self._command.arguments)
        if self._program is None or self._program.status is not None:
            self._check_port()  # else it is our own that listens

    def tidy(self) -> None:
        """Nothing was put anywhere."""

    def load(self, checkpoint: Published) -> None:
        """End the process of the last checkpoint and start one for this.

        Raises:
            GeneratorError: if the port is taken, or the process does not come up.
        """
        self._end()
        self._check_port()
        address = self._http.address
        values = {"checkpoint": str(checkpoint.file), "host": address.host}
        program = self._program = Program(self._command.fill({**values, "port": str(address.port)}))
        self._wanted = stem(checkpoint.name)
        self._wait_until_up(program)

    def picture(self, payload: Payload) -> Picture:
        """Make one picture.

        Raises:
            GeneratorError: if that fails, or the process is gone.
        """
        body = request_body(payload)
        route = "img2img" if body.get("init_images") else "txt2img"
        answer = self._post(f"/sdapi/v1/{route}", body)
        what = f"{self.name}: picture {payload.id!r}"
        info = _read_info(answer, what)
        self._samplers.compare(payload.sampler, info, self.name)
        self._check(info, what)
        image = pictures.from_base64(first_image(answer, info, what), what)
        self._worked = True
        pictures.check(image, what)
        return Picture(payload, image, {"server": self.name, "model": self._wanted})

    def interrupt(self) -> None:
        """End the process: it holds nothing that is needed again."""
        self._http.stopped.set()
        if self._program is not None:
            self._program.end()

    def close(self) -> None:
        """End the process."""
        self._end()
        self._http.close()

    def _check_port(self) -> None:
        if _answers(self._http.address.host, self._http.address.port):
            raise GeneratorError(
                f"something else already listens on {self.name}",
                blame="surroundings",
                hint="end the other sd-server, or choose another port",
            )

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Ask the process; if it has ended, say how."""
        try:
            return self._http.post(path, body)
        except GeneratorError as error:
            if self._program is None or self._program.wait(_LAST_WORDS) is None:
                raise
            failed = self._program.error("surroundings", where=self.name)
            failed.transient = failed.blame == "surroundings"  # a process is started anew
            raise failed from error

    def _wait_until_up(self, program: Program) -> None:
        address = self._http.address
        ends = time.monotonic() + self._start_timeout
        while not _answers(address.host, address.port):
            if program.status is not None:
                # One that has read other checkpoints cannot read this one.
                raise program.error("merge" if self._worked else "study", where=self.name)
            if time.monotonic() > ends or self._http.sleep(_POLL):
                message = f"{self.name}: sd-server is not up after {self._start_timeout:g} s"
                raise GeneratorError(message, transient=True)
        listed = self._http.get("/sdapi/v1/sd-models")
        with understood(f"{self.name}: the list of models"):
            names = [stem(str(entry.get("model_name") or "")) for entry in listed or []]
        if self._wanted not in names or program.status is not None:
            message = f"{self.name} has the model {names}, not {self._wanted!r}"
            hint = "another sd-server listens on this port"
            raise GeneratorError(message, blame="surroundings", hint=hint)

    def _check(self, info: Mapping[str, Any], what: str) -> None:
        used = model_used(info).name
        if used is not None and used != self._wanted:
            message = f"{what} was made with the model {used!r}, not with {self._wanted!r}"
            raise GeneratorError(message, transient=True)

    def _end(self) -> None:
        if self._program is not None:
            self._program.close()
            self._program = None


def _read_info(answer: Any, what: str) -> Mapping[str, Any]:
    """Read ``info``, which older versions leave empty."""
    if isinstance(answer, dict) and answer.get("info") == "":
        return {}
    return read_info(answer, what)


def _answers(host: str, port: int) -> bool:
    """Whether anything listens there."""
    try:
        with socket.create_connection((host, port), timeout=2.0):
            return True
    except OSError:
        return False
