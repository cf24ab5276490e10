"""One server of the A1111 family: loads a checkpoint, makes pictures, and checks the model.

The order of requests is the one that works with every fork: refresh the list, wait until the
file is in it, set it as an option, ask for pictures without any override of the model, and look
at what each picture says it was made with.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bmerge import GeneratorError, Payload, Picture
from bmerge_plugins.servers import pictures
from bmerge_plugins.servers.a1111_answers import (
    ModelUsed,
    find_model,
    first_image,
    model_used,
    read_info,
    stem,
)
from bmerge_plugins.servers.a1111_names import Samplers, ServerNames
from bmerge_plugins.servers.a1111_request import name_clip_skip, request_body
from bmerge_plugins.servers.a1111_whole import Interruptions
from bmerge_plugins.servers.faults import understood
from bmerge_plugins.servers.http import HttpServer
from bmerge_plugins.servers.names import is_ours
from bmerge_plugins.servers.publish import Published

__all__ = ["A1111Session"]

_log = logging.getLogger(__name__)

_API = "/sdapi/v1"
_POLL = 0.5
_TIDY = 60.0
_TRIED = Payload("check", "a cat", steps=1, width=64, height=64)


class A1111Session:
    """One server.

    Args:
        server: the client.
        list_timeout: seconds to wait until a new file is in the server's list.
    """

    def __init__(self, server: HttpServer, *, list_timeout: float) -> None:
        self._http = server
        self._names = ServerNames(server)
        self._samplers = Samplers()
        self._list_timeout = list_timeout
        self._wanted = ModelUsed(None, None)
        self._before: str | None = None
        self._tells_hashes = False
        self._interruptions = Interruptions(server)
        self._listed_ours = False

    @property
    def name(self) -> str:
        """The server's address."""
        return str(self._http.address)

    def ready(self) -> None:
        """Forget an earlier interruption."""
        self._http.stopped.clear()

    def answers(self) -> bool:
        """Ask once, without patience."""
        return self._http.answers(f"{_API}/options")

    def check(self, marker: Published | None, *, paint: bool) -> None:
        """Ask for its options, look for the marker, and make a picture with the model it has.

        Raises:
            GeneratorError: if something is wrong.
        """
        current = self._current()
        if marker is not None:
            self._wait_until_listed(marker)
        if paint and current:
            self._try_picture()

    def _try_picture(self) -> None:
        """Make a picture with whatever model the server has."""
        what = f"{self.name}: a picture to try it"
        try:
            answer = self._http.post(f"{_API}/txt2img", request_body(_TRIED))
            with understood(what):
                info = read_info(answer, what)
                pictures.from_base64(first_image(answer, info, what), what)
        except GeneratorError as error:
            if error.blame != "merge":  # that one's fault says nothing of others
                raise

    def tidy(self) -> None:
        """Let the server forget the marker's name."""
        if self._listed_ours:
            self._listed_ours = False
            self._http.post_once(f"{_API}/refresh-checkpoints", timeout=_TIDY)

    def load(self, checkpoint: Published) -> None:
        """Make the server load the checkpoint.

        Raises:
            GeneratorError: if the server does not find it, or reads another file of that name.
        """
        if self._before is None:
            self._before = self._current()
        title = self._wait_until_listed(checkpoint).get("title") or checkpoint.name
        with ThreadPoolExecutor(1, "bmerge-sha256") as aside:
            # Servers that tell the hash take it while they load; so do we, if this one tells it.
            own = aside.submit(_sha256, checkpoint.file) if self._tells_hashes else None
            self._http.post(f"{_API}/options", {"sd_model_checkpoint": title})
            self._wanted = ModelUsed(stem(checkpoint.name), self._checked_hash(checkpoint, own))

    def picture(self, payload: Payload) -> Picture:
        """Make one picture.

        Raises:
            GeneratorError: if that fails, or it was made with another model.
        """
        body = name_clip_skip(request_body(payload))
        route = "img2img" if body.get("init_images") else "txt2img"
        what = f"{self.name}: picture {payload.id!r}"
        self._names.check(body, what)
        make = lambda: self._made(payload, f"{_API}/{route}", body, what)  # noqa: E731
        return self._interruptions.whole(make, what)

    def _made(self, payload: Payload, path: str, body: Mapping[str, Any], what: str) -> Picture:
        answer = self._http.post(path, body)
        self._interruptions.look(what)
        with understood(what):
            info = read_info(answer, what)
            used = self._check_model(info, what)
            self._samplers.compare(payload.sampler, info, self.name)
            image = pictures.from_base64(first_image(answer, info, what), what)
            pictures.check(image, what)
            return Picture(payload, image, self._report(info, used))

    def interrupt(self) -> None:
        """Ask the server to stop, and stop asking for more."""
        self._http.stopped.set()
        self._http.post_once(f"{_API}/interrupt")

    def close(self) -> None:
        """Give the server back the model that it had, so that it does not keep a lost name."""
        try:
            # A run that was killed has left its own merge there, whose file is gone.
            lost = is_ours((self._before or "").partition(" [")[0])
            if self._before and self._wanted.name and not lost:
                self._http.post_once(
                    f"{_API}/options", {"sd_model_checkpoint": self._before}, timeout=60.0
                )
        finally:
            self._http.close()

    def _wait_until_listed(self, checkpoint: Published) -> Mapping[str, Any]:
        ends = time.monotonic() + self._list_timeout
        while True:
            self._http.post(f"{_API}/refresh-checkpoints")
            self._listed_ours = True
            entry = self._listed(checkpoint)
            if entry is not None:
                return entry
            if time.monotonic() > ends or self._http.sleep(_POLL):
                where = f" as {checkpoint.path!r}" if checkpoint.path else ""
                raise GeneratorError(
                    f"{self.name} does not list the checkpoint {checkpoint.name!r}{where}",
                    blame="surroundings",
                    hint="is models_dir (or where upload puts files) the folder that this server "
                    "scans for checkpoints?",
                )

    def _listed(self, checkpoint: Published) -> Mapping[str, Any] | None:
        listed = self._http.get(f"{_API}/sd-models")
        with understood(f"{self.name}: the list of models"):
            return find_model(listed, checkpoint.name, checkpoint.path)

    def _current(self) -> str:
        """Return what the server calls the model that it has."""
        options = self._http.get(f"{_API}/options") or {}
        with understood(f"{self.name}: its options"):
            return str(options.get("sd_model_checkpoint") or "")

    def _checked_hash(self, checkpoint: Published, own: Future[str] | None) -> str | None:
        """Return the short hash that pictures must show, None if the server does not hash.

        Args:
            checkpoint: that the server has loaded.
            own: the hash of its file, if it is being taken.
        """
        entry = self._listed(checkpoint) or {}
        digest = str(entry.get("sha256") or "").lower()
        self._tells_hashes = len(digest) == 64
        merged = digest
        if self._tells_hashes:
            merged = own.result() if own else _sha256(checkpoint.file)
        if digest != merged:
            raise GeneratorError(
                f"{self.name} read other bytes under the name {checkpoint.name!r} than were merged",
                transient=True,
                hint="the file did not arrive whole, or the server looks into another folder",
            )
        return str(entry["hash"]).lower() if entry.get("hash") else None

    def _check_model(self, info: Mapping[str, Any], what: str) -> ModelUsed:
        """Return the model that made a picture, if it is the right one."""
        used = model_used(info)
        if used.name is None:
            used = ModelUsed(stem(self._current()), used.hash)
        wanted = self._wanted
        wrong_hash = wanted.hash and used.hash and not _same_hash(wanted.hash, used.hash)
        if used.name != wanted.name or wrong_hash:
            raise GeneratorError(
                f"{what} was made with the model {used}, not with {wanted}",
                transient=True,
                hint="somebody else may be switching this server's model",
            )
        return used

    def _report(self, info: Mapping[str, Any], used: ModelUsed) -> dict[str, Any]:
        texts = info.get("infotexts") or [None]
        return {
            "server": self.name,
            "model": used.name,
            "model_hash": used.hash,
            "seed": info.get("seed"),
            "infotext": texts[0],
        }


def _same_hash(one: str, other: str) -> bool:
    """Compare as far as both go: 8, 10 or 64 digits, by the fork's age."""
    length = min(len(one), len(other))
    return one[:length] == other[:length]


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
