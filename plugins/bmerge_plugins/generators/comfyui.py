"""The generator over ComfyUI: its own workflow for each picture, with a merged checkpoint.

The workflow is one of bmerge's or one of the user's, exported in API format; where the prompt,
the seed and the rest go is found in it, or told by titles or by the option ``slots``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bmerge import GeneratorKind, hookimpl, unfolded
from bmerge_plugins.needs import SERVER
from bmerge_plugins.servers import Connection, Delivery, ServerPool


@unfolded
def make_comfyui(
    *,
    addresses: str | Sequence[str] = "http://127.0.0.1:8188",
    workflow: str = "default",
    slots: Mapping[str, str | Sequence[str]] | None = None,
    inputs: Mapping[str, str | float | bool] | None = None,
    delivery: Delivery = Delivery(),
    connection: Connection = Connection(),
) -> ServerPool:
    """Make the generator; no server is asked yet. Raises GeneratorError for senseless options.

    Args:
        addresses: of one server or of several that share the work.
        workflow: the name of one of bmerge's, or the path of a JSON file.
        slots: slot → ``node.input`` or several, where titles and links do not tell.
        inputs: ``node.input`` → what stands there in every picture, such as the name of a VAE.
        delivery: how checkpoints get to the servers.
        connection: how they are reached.
    """
    from bmerge_plugins.servers.comfyui_session import ComfySession
    from bmerge_plugins.servers.comfyui_workflow import Workflow, read_workflow

    filled = Workflow(read_workflow(workflow), slots or {}, inputs)
    clients = connection.clients(addresses)
    known = [client.address for client in clients]
    places, here = delivery.places(known), delivery.is_here(known)
    sessions = [ComfySession(each, filled, list_timeout=delivery.list_timeout) for each in clients]
    return ServerPool(list(zip(sessions, places, strict=True)), here=here)


@hookimpl
def bmerge_generators() -> Iterable[GeneratorKind]:
    """Offer the generator."""
    summary = "ComfyUI with a workflow of its own or yours"
    where = ("addresses",)
    return [GeneratorKind("comfyui", make_comfyui, summary, incidental=where, needs=SERVER)]
