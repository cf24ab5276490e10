"""The generator over stable-diffusion.cpp, for machines without a GPU or with a small one.

By default it starts ``sd-server`` for each trial, which reads the checkpoint once; with
``server: false`` it runs the command line program for each picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bmerge import GeneratorError, GeneratorKind, hookimpl
from bmerge_plugins.needs import SERVER
from bmerge_plugins.servers import (
    Address,
    HttpServer,
    HttpSettings,
    InPlace,
    PooledSession,
    Retry,
    ServerPool,
    Template,
)
from bmerge_plugins.servers.connect import parse_addresses

_SERVER = "sd-server --model {checkpoint} --listen-ip {host} --listen-port {port}"
_CLI = "sd-cli --model {checkpoint}"


def make_sdcpp(
    *,
    server: bool = True,
    command: str | Sequence[str] | None = None,
    addresses: str | Sequence[str] = "127.0.0.1:1234",
    timeout: float = 1800.0,
    start_timeout: float = 300.0,
) -> ServerPool:
    """Make the generator; nothing is started yet.

    Args:
        server: whether an ``sd-server`` is started for each trial, or ``sd-cli`` for each picture.
        command: the program and its options, with {checkpoint}, and {host} and {port} for a
            server; the default looks for the program on the PATH.
        addresses: where servers are to listen, on this machine: one process for each. Without
            servers, only their number matters; {address} in the command is 0, 1, …
        timeout: seconds for one picture.
        start_timeout: seconds until a server must have read the checkpoint.

    Raises:
        GeneratorError: if an option makes no sense.
    """
    parsed = parse_addresses(addresses)
    sessions = (
        _servers(command or _SERVER, parsed, timeout, start_timeout)
        if server
        else _programs(command or _CLI, len(parsed), timeout)
    )
    return ServerPool([(session, InPlace()) for session in sessions], here=True)


@hookimpl
def bmerge_generators() -> Iterable[GeneratorKind]:
    """Offer the generator."""
    summary = "stable-diffusion.cpp: sd-server or sd-cli on this machine"
    incidental = ("addresses", "timeout", "start_timeout")
    return [GeneratorKind("sdcpp", make_sdcpp, summary, incidental=incidental, needs=SERVER)]


def _servers(
    command: str | Sequence[str],
    addresses: Sequence[Address],
    timeout: float,
    start_timeout: float,
) -> list[PooledSession]:
    from bmerge_plugins.servers.sdcpp_server import ServerSession

    places = ("checkpoint", "host", "port")
    template = Template(command, known=places, needed=places, option="command")
    for address in addresses:
        if not address.is_local:
            raise GeneratorError(
                f"{address} is not on this machine, where sdcpp starts its servers",
                blame="study",
                hint="to use one that runs elsewhere, let the command generator restart it",
            )
    # The process is ours and on this machine: what fails twice is dead, and is started again.
    settings = HttpSettings(timeout=timeout, retry=Retry(attempts=2, pause=0.2))
    return [
        ServerSession(template, HttpServer(address, settings), start_timeout=start_timeout)
        for address in addresses
    ]


def _programs(command: str | Sequence[str], count: int, timeout: float) -> list[PooledSession]:
    from bmerge_plugins.servers.sdcpp_cli import CliSession

    known = ("checkpoint", "address")
    template = Template(command, known=known, needed=known[:1], option="command")
    return [CliSession(template, number, timeout=timeout) for number in range(count)]
