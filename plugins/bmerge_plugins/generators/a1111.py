"""The generator over the A1111 family: A1111, Forge, Forge Neo, reForge and SD.Next.

The server runs with ``--api``. Each trial's checkpoint is put where the server finds it under a
name that was never used, and every picture is checked to have been made with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bmerge import GeneratorKind, hookimpl, unfolded
from bmerge_plugins.needs import SERVER
from bmerge_plugins.servers import Connection, Delivery, ServerPool


@unfolded
def make_a1111(
    *,
    addresses: str | Sequence[str] = "http://127.0.0.1:7860",
    delivery: Delivery = Delivery(),
    connection: Connection = Connection(),
) -> ServerPool:
    """Make the generator; no server is asked yet.

    Args:
        addresses: of one server or of several that share the work.
        delivery: how checkpoints get to the servers.
        connection: how they are reached.

    Raises:
        GeneratorError: if an option makes no sense.
    """
    from bmerge_plugins.servers.a1111_session import A1111Session

    clients = connection.clients(addresses)
    known = [client.address for client in clients]
    places, here = delivery.places(known), delivery.is_here(known)
    sessions = [A1111Session(client, list_timeout=delivery.list_timeout) for client in clients]
    return ServerPool(list(zip(sessions, places, strict=True)), here=here)


@hookimpl
def bmerge_generators() -> Iterable[GeneratorKind]:
    """Offer the generator."""
    summary = "A1111, Forge, reForge or SD.Next over /sdapi/v1"
    where = ("addresses",)
    return [GeneratorKind("a1111", make_a1111, summary, incidental=where, needs=SERVER)]
