"""Serving the application until somebody stops it."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bmerge.errors import StudyError
from bmerge.storage.stored import read_study
from bmerge.web.token import study_token

if TYPE_CHECKING:
    import uvicorn
    from starlette.types import ASGIApp

__all__ = ["make_server", "serve"]

_PORT = 7788
_EVERYWHERE = {"0.0.0.0", "::"}  # noqa: S104  compared with, not bound to


def serve(
    folder: Path, *, host: str, port: int | None, on_ready: Callable[[list[str]], None]
) -> None:
    """Serve a study's pages until Ctrl-C.

    Args:
        folder: of the study.
        host: name or address that is listened on; ``0.0.0.0`` for all of this machine's.
        port: to listen on, 0 for any; None for bmerge's usual one, or any if that is taken.
        on_ready: called once, when pages can be opened, with their addresses.

    Raises:
        StudyError: if the folder holds no study, or the address cannot be listened on.
    """
    from bmerge.web.app import make_app

    study = read_study(folder)
    token = study_token(folder)
    listener = _listen(host, port)
    app = make_app(
        folder, study.name, token=token, names=_names(host), addresses=not _is_loopback(host)
    )
    with listener:
        number = listener.getsockname()[1]
        addresses = [f"http://{place}:{number}/?token={token}" for place in _places(host)]
        try:
            on_ready(addresses)
            make_server(app).run(sockets=[listener])
        except KeyboardInterrupt:
            return


def make_server(app: ASGIApp) -> uvicorn.Server:
    """Return what serves an application; it says nothing on its own."""
    import uvicorn

    return uvicorn.Server(
        uvicorn.Config(
            app,
            access_log=False,  # it would hold the token
            log_level="critical",
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=1,
        )
    )


def _listen(host: str, port: int | None) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for number in (_PORT, 0) if port is None else (port,):
        try:
            return socket.create_server((host, number), family=family, backlog=128)
        except OSError as error:
            reason = error.strerror or error
    place = f"{host}:{_PORT if port is None else port}"
    raise StudyError(f"{place} cannot be listened on: {reason}", hint="give another --port")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _names(host: str) -> set[str]:
    """Return the host names by which the server may be addressed."""
    if _is_loopback(host):
        return {"localhost"}
    mine = socket.gethostname()
    return {"localhost", host, mine, f"{mine}.local"}


def _places(host: str) -> Iterator[str]:
    """Yield the hosts of the addresses that are told: this machine's own, or the given one."""
    if host not in _EVERYWHERE:
        yield f"[{host}]" if ":" in host else host
        return
    yield "127.0.0.1"
    if (address := _address_on_network()) is not None:
        yield address


def _address_on_network() -> str | None:
    """Return the address that other machines of the local network know this one by."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # chooses a route; nothing is sent
        except OSError:
            return None
        address: str = probe.getsockname()[0]
    return None if address.startswith("127.") else address
