"""Names that a web UI would drop without a word where it does not know them.

A1111 itself refuses an unknown sampler, some of its kin do not; an unknown noise schedule or VAE
none of them does: the picture comes, made with another one.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from typing import Any

from bmerge import GeneratorError, nearest
from bmerge_plugins.servers.faults import StatusError, understood
from bmerge_plugins.servers.http import HttpServer

__all__ = ["Samplers", "ServerNames"]

_log = logging.getLogger(__name__)

_API = "/sdapi/v1"
_LISTS = {"scheduler": "schedulers", "sd_vae": "sd-vae"}
_WORDS = ("", "automatic", "none", "use same scheduler")


class ServerNames:
    """What a server has of each kind; asked when a name is met for the first time.

    Args:
        server: the client.
    """

    def __init__(self, server: HttpServer) -> None:
        self._http = server
        self._seen: set[tuple[str, str]] = set()

    def check(self, body: Mapping[str, Any], what: str) -> None:
        """Refuse a request with a name that the server does not have.

        Args:
            body: of the request.
            what: the picture, for messages.

        Raises:
            GeneratorError: which blames the study.
        """
        for kind, name in (
            ("scheduler", body.get("scheduler")),
            ("sd_vae", body["override_settings"].get("sd_vae")),
        ):
            if isinstance(name, str) and (kind, name) not in self._seen:
                known = self._known(kind)
                if known and name.lower() not in {*map(str.lower, known), *_WORDS}:
                    message = f"{what}: the server has no {kind} {name!r}"
                    raise GeneratorError(message, blame="study", hint=nearest(name, known))
                self._seen.add((kind, name))

    def _known(self, kind: str) -> list[str]:
        """Return all names of a kind; none where a fork has no such list."""
        try:
            listed = self._http.get(f"{_API}/{_LISTS[kind]}")
        except StatusError as error:
            if error.status not in (404, 405):
                raise
            return []
        with understood(f"{self._http.address}: its list of {_LISTS[kind]}"):
            return [name for entry in listed or [] for name in _names(entry)]


class Samplers:
    """Compares the samplers that pictures say they were made with to those that were asked for."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def compare(self, wanted: str | None, info: Mapping[str, Any], server: str) -> None:
        """Warn once of each sampler that another was taken for.

        Args:
            wanted: as the payload has it.
            info: what the server says of the picture.
            server: its name, for the message.
        """
        used = info.get("sampler_name")
        if not wanted or not isinstance(used, str) or wanted in self._told:
            return
        # Names are spelt in many ways, and may have the noise schedule behind them.
        one, other = _letters(wanted), _letters(used)
        if not (one.startswith(other) or other.startswith(one)):
            self._told.add(wanted)
            _log.warning("%s: sampled with %r where %r was wanted", server, used, wanted)


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9+]", "", name.lower().removeprefix("k_").removeprefix("sample_"))


def _names(entry: Mapping[str, Any]) -> Iterator[str]:
    for key in ("name", "label", "model_name"):
        if entry.get(key):
            yield str(entry[key])
    yield from map(str, entry.get("aliases") or [])
