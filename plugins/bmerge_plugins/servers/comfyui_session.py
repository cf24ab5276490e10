"""One ComfyUI: loads a checkpoint by a fresh name, runs a workflow, fetches the picture.

ComfyUI keeps what a node made for as long as the node's inputs look the same, the weights of a
checkpoint for its file name too. A name that was never used is what makes it read the new file;
``/free`` before each checkpoint makes it let go of the old one, so that its memory does not grow.
"""

from __future__ import annotations

import contextlib
import logging
import time
import uuid
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from bmerge import Blame, GeneratorError, Payload, Picture
from bmerge_plugins.servers import pictures
from bmerge_plugins.servers.bodies import decode_json
from bmerge_plugins.servers.comfyui_answers import (
    choices,
    only_image,
    queue_ids,
    raise_if_failed,
    refusal,
)
from bmerge_plugins.servers.comfyui_check import check_nodes, node_route
from bmerge_plugins.servers.comfyui_events import Events
from bmerge_plugins.servers.comfyui_workflow import Workflow
from bmerge_plugins.servers.faults import StatusError, understood
from bmerge_plugins.servers.http import HttpServer
from bmerge_plugins.servers.names import is_ours
from bmerge_plugins.servers.publish import Published

__all__ = ["ComfySession"]

_log = logging.getLogger(__name__)

_LIST_POLL = 0.5
_SHORTEST, _LONGEST = 0.1, 1.0
_MISSES = 3
_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8, 0.8)
"""Seconds between requests to let a prompt go; a server may finish a step first."""


class ComfySession:
    """One server.

    Args:
        server: the client.
        workflow: what it runs.
        list_timeout: seconds to wait until a new file is in the server's list.
    """

    def __init__(self, server: HttpServer, workflow: Workflow, *, list_timeout: float) -> None:
        self._http = server
        self._workflow = workflow
        self._list_timeout = list_timeout
        self._client_id = uuid.uuid4().hex
        self._checkpoint = ""
        self._worked = False
        self._events: Events | None = None

    @property
    def name(self) -> str:
        """The server's address."""
        return str(self._http.address)

    def ready(self) -> None:
        """Forget an earlier interruption."""
        self._http.stopped.clear()

    def answers(self) -> bool:
        """Ask once, without patience."""
        return self._http.answers("/queue")

    def check(self, marker: Published | None, *, paint: bool) -> None:
        """Ask whether it has the workflow's nodes, look for the marker, and make a picture.

        Raises:
            GeneratorError: if something is wrong.
        """
        with understood(f"{self.name}: its queue"):
            queue_ids(self._http.get("/queue"))
        check_nodes(self._workflow, self._http.get, self.name)
        if marker is not None:
            self._wait_until_listed(marker)
        if paint:
            self._try_picture()

    def tidy(self) -> None:
        """It looks into its folders whenever it is asked."""

    def load(self, checkpoint: Published) -> None:
        """Make the server forget the last checkpoint and see this one.

        Raises:
            GeneratorError: if the server does not see it.
        """
        self._http.post("/free", {"unload_models": True, "free_memory": True})
        self._checkpoint = self._wait_until_listed(checkpoint)
        if self._events is not None:
            self._events.close()
        self._events = Events(self._http, self._client_id)

    def picture(self, payload: Payload) -> Picture:
        """Run the workflow for a payload.

        Raises:
            GeneratorError: if the server refuses it, or a node fails.
        """
        what = f"{self.name}: picture {payload.id!r}"
        graph = self._workflow.fill(payload, self._checkpoint)
        prompt_id = self._submit(graph, what)
        try:
            entry = self._wait_for(prompt_id, what)
        except GeneratorError:
            self._drop(prompt_id)
            raise
        content = self._http.get_bytes("/view", self._found(entry, what))
        self._forget(prompt_id)
        info = {"server": self.name, "model": self._checkpoint, "seed": payload.seed}
        image = pictures.from_bytes(content, what)
        self._worked = True
        pictures.check(image, what)
        return Picture(payload, image, info)

    def interrupt(self) -> None:
        """Let the thread that waits for a picture give its prompt up; only it knows which."""
        self._http.stopped.set()

    def close(self) -> None:
        """Let the server free the last checkpoint's memory."""
        try:
            if self._checkpoint:
                self._free()
        finally:
            if self._events is not None:
                self._events.close()
            self._http.close()

    def _found(self, entry: Mapping[str, Any], what: str) -> dict[str, str]:
        """Return the query for a prompt's picture, from its entry in the history."""
        loader, _ = self._workflow.checkpoint
        with understood(what):
            raise_if_failed(entry, what, loader=loader, worked=self._worked)
            self._check_model(entry, what)
            culprit: Blame = "surroundings" if self._worked else "study"
            return only_image(entry, self._workflow.output, what, culprit=culprit)

    def _try_picture(self) -> None:
        """Run the workflow with a checkpoint that the server has."""
        own = self._workflow.own_checkpoint
        listed = [name for name in self._listed() if not is_ours(name)]
        if not listed:
            return
        self._checkpoint = own if own in listed else listed[0]
        try:
            self.picture(self._workflow.tiny())
        except GeneratorError as error:
            # A checkpoint of another kind than the workflow is for says nothing against it.
            if self._checkpoint == own or error.blame == "surroundings":
                raise
            _log.warning("%s with %r, for want of a merge: %s", self.name, listed[0], error)
        finally:
            self._free()
            self._checkpoint = ""

    def _free(self) -> None:
        with contextlib.suppress(GeneratorError):
            self._http.post_once("/free", {"unload_models": True, "free_memory": True})

    def _listed(self) -> list[str]:
        """Return what the checkpoint can be, as this server spells it."""
        node, entry = self._workflow.checkpoint
        info = self._http.get(node_route(node))
        with understood(f"{self.name}: what it says of {node}"):
            return choices(info, node, entry)

    def _wait_until_listed(self, checkpoint: Published) -> str:
        """Return the checkpoint as this server spells it: with folders, in its own slashes."""
        node, _ = self._workflow.checkpoint
        ends = time.monotonic() + self._list_timeout
        while True:
            for listed in self._listed():
                if PurePosixPath(listed.replace("\\", "/")).name == checkpoint.name:
                    return listed
            if time.monotonic() > ends or self._http.sleep(_LIST_POLL):
                raise GeneratorError(
                    f"{self.name} does not list the checkpoint {checkpoint.name!r} for {node}",
                    blame="surroundings",
                    hint="is models_dir (or where upload puts files) a folder that this server "
                    "scans for checkpoints?",
                )

    def _submit(self, graph: Mapping[str, Any], what: str) -> str:
        wanted = str(uuid.uuid4())
        body = {"prompt": graph, "client_id": self._client_id, "prompt_id": wanted}
        try:
            answer = self._http.post("/prompt", body)
        except StatusError as error:
            raise self._refusal(error.body, what) or error from error
        except GeneratorError:
            self._drop(wanted)  # the answer alone may have been lost
            raise
        with understood(what):
            prompt_id = str(answer["prompt_id"])
        if refused := refusal(answer, self._checkpoint, what):
            self._drop(prompt_id)  # what was left of the workflow gives another picture
            raise refused
        return prompt_id

    def _refusal(self, body: bytes, what: str) -> GeneratorError | None:
        with contextlib.suppress(GeneratorError):
            return refusal(decode_json(body, what, str), self._checkpoint, what)
        return None

    def _wait_for(self, prompt_id: str, what: str) -> Mapping[str, Any]:
        """Return the history's entry of a prompt, when it has one."""
        ends = time.monotonic() + self._http.timeout
        pause, misses = _SHORTEST, 0
        while True:
            history = self._http.get(f"/history/{prompt_id}")
            with understood(what):
                entry = (history or {}).get(prompt_id)
                if entry is not None:
                    return dict(entry)
                running, pending = queue_ids(self._http.get("/queue"))
            # Between queue and history there is a moment in which it is in neither.
            misses = 0 if prompt_id in running | pending else misses + 1
            if misses > _MISSES:
                message = f"{what}: the server has lost the prompt; it may have been restarted"
                raise GeneratorError(message, transient=True)
            if time.monotonic() > ends:
                message = f"{what}: not ready after {self._http.timeout:g} s"
                raise GeneratorError(message, transient=True)
            if self._pause(pause):
                raise GeneratorError(f"{what}: interrupted", transient=True)
            pause = min(pause * 1.3, _LONGEST)

    def _pause(self, seconds: float) -> bool:
        return self._events.wait(seconds) if self._events else self._http.sleep(seconds)

    def _drop(self, prompt_id: str) -> None:
        """Take a prompt of ours out of the queue, or stop it if it runs; leave others alone.

        Again until it has gone: a request may fail, and the server forgets an interruption that
        comes between taking a prompt and beginning with it.
        """
        failures = 0
        for pause in _PAUSES:
            try:
                if self._is_gone(prompt_id):
                    return
            except GeneratorError:
                failures += 1
                if failures > 1:
                    return
            time.sleep(pause)

    def _is_gone(self, prompt_id: str) -> bool:
        """Tell whether a prompt is in the queue no more; if it is, do what lets it go."""
        self._http.post_once("/queue", {"delete": [prompt_id]})
        with understood(self.name):
            running, pending = queue_ids(self._http.get_once("/queue"))
        # Old versions stop whatever runs, so it has to be ours.
        if prompt_id in running:
            self._http.post_once("/interrupt", {"prompt_id": prompt_id})
        return prompt_id not in running | pending

    def _check_model(self, entry: Mapping[str, Any], what: str) -> None:
        """Look into the workflow that the server ran, which its extensions can change."""
        used = self._workflow.checkpoints(entry["prompt"][2])
        if used != {self._checkpoint}:
            message = f"{what} was made with the model {sorted(used)}, not {self._checkpoint!r}"
            raise GeneratorError(message, transient=True)

    def _forget(self, prompt_id: str) -> None:
        """Take a prompt out of the history, which would keep the last 10,000."""
        with contextlib.suppress(GeneratorError):
            self._http.post_once("/history", {"delete": [prompt_id]})
