"""Whether a picture of a web UI is whole: half denoised, it comes as any other.

A server remembers that its last job was interrupted until its next one begins. Where that one is
somebody else's and has begun already, nothing is known; the picture is then made twice and
compared: two that were cut off at different steps are far apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bmerge import GeneratorError, Picture
from bmerge_plugins.servers.faults import StatusError
from bmerge_plugins.servers.http import HttpServer

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Interruptions"]

_PROGRESS = "/sdapi/v1/progress"
_TIMES = 4
_ALIKE = 4.0  # levels of 255 in the mean: what inexact attention may change, and no step


class Interruptions:
    """Asks one server after each picture. Old versions and some forks cannot tell.

    Args:
        server: the client.
    """

    def __init__(self, server: HttpServer) -> None:
        self._http = server
        self._tells = True
        self._doubt = False

    def whole(self, make: Callable[[], Picture], what: str) -> Picture:
        """Return a picture that nobody has interrupted.

        Args:
            make: makes it, and calls :meth:`look` right after the server's answer.
            what: the picture, for messages.

        Raises:
            GeneratorError: transient, if it was interrupted, or no two are alike.
        """
        doubtful: list[Image] = []
        for _ in range(_TIMES):
            self._doubt = False
            picture = make()
            if not self._doubt or any(_alike(picture.image, other) for other in doubtful):
                return picture
            doubtful.append(picture.image)
        message = f"{what}: others use this server, and no two pictures were alike"
        raise GeneratorError(message, transient=True)

    def look(self, what: str) -> None:
        """Ask for the state of the job that has just ended.

        Raises:
            GeneratorError: transient, if it was interrupted.
        """
        if not self._tells:
            return
        try:
            progress = self._http.get(_PROGRESS, {"skip_current_image": "true"})
        except StatusError as error:
            if error.status not in (404, 405, 422):
                raise
            self._tells = False
            return
        state = progress.get("state") if isinstance(progress, dict) else None
        if not isinstance(state, dict):
            return
        if state.get("interrupted") or state.get("skipped"):
            raise GeneratorError(f"{what}: interrupted on the server", transient=True)
        self._doubt = bool(state.get("job"))


def _alike(one: Image, other: Image) -> bool:
    from PIL import ImageChops, ImageStat

    if one.size != other.size:
        return False
    means = ImageStat.Stat(ImageChops.difference(one, other)).mean
    return sum(means) / len(means) < _ALIKE
