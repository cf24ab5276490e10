"""The generator over ComfyUI: its own workflow for each picture, with a merged checkpoint.

The workflow is one of bmerge's or one of the user's, exported in API format; where the prompt,
the seed and the rest go is found in it, or told by titles or by the option ``slots``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bmerge import GeneratorKind, hookimpl
from bmerge_plugins.needs import SERVER
from bmerge_plugins.servers import CONNECTION, PLACES, ServerPool, connect, make_places

_INCIDENTAL = ("addresses", "list_timeout", *PLACES, *CONNECTION)


def make_comfyui(
    *,
    addresses: str | Sequence[str] = "http://127.0.0.1:8188",
    workflow: str = "default",
    slots: Mapping[str, str | Sequence[str]] | None = None,
    inputs: Mapping[str, str | float | bool] | None = None,
    models_dir: str | Sequence[str] | None = None,
    remote_models: str | Mapping[str, str] | None = None,
    upload: str | None = None,
    remove: str | None = None,
    user: str | None = None,
    password: str | None = None,
    password_env: str | None = None,
    timeout: float = 600.0,
    list_timeout: float = 60.0,
    retries: int = 4,
    backoff: float = 0.5,
    verify: bool | str = True,
) -> ServerPool:
    """Make the generator; no server is asked yet. Raises GeneratorError for senseless options.

    Args:
        addresses: of one server or of several that share the work.
        workflow: the name of one of bmerge's, or the path of a JSON file.
        slots: slot → ``node.input`` or several, where titles and links do not tell.
        inputs: ``node.input`` → what stands there in every picture, such as the name of a VAE.
        models_dir: a folder here that all servers scan for checkpoints, or one for each.
        remote_models: folder here → the same folder on the server.
        upload: a command with {checkpoint}, {name} and {host}, instead of models_dir.
        remove: a command with {name} and {host} that takes an uploaded file away.
        user: where a proxy before the server asks for one.
        password: of the user; better in the environment.
        password_env: the variable that holds it, BMERGE_SERVER_PASSWORD if left out.
        timeout: seconds for one picture, loading included.
        list_timeout: seconds until the server must have found a new checkpoint.
        retries: further attempts of a request that failed for a passing reason.
        backoff: seconds before the first of them; doubled each time.
        verify: false, or the path of an authority's certificate.
    """
    from bmerge_plugins.servers.comfyui_session import ComfySession
    from bmerge_plugins.servers.comfyui_workflow import Workflow, read_workflow

    filled = Workflow(read_workflow(workflow), slots or {}, inputs)
    clients = connect(
        addresses,
        user=user,
        password=password,
        password_env=password_env,
        timeout=timeout,
        retries=retries,
        backoff=backoff,
        verify=verify,
    )
    places = make_places(
        [client.address for client in clients],
        models_dir=models_dir,
        remote_models=remote_models,
        upload=upload,
        remove=remove,
    )
    sessions = [ComfySession(client, filled, list_timeout=list_timeout) for client in clients]
    return ServerPool(list(zip(sessions, places, strict=True)))


@hookimpl
def bmerge_generators() -> Iterable[GeneratorKind]:
    """Offer the generator."""
    summary = "ComfyUI with a workflow of its own or yours"
    return [GeneratorKind("comfyui", make_comfyui, summary, incidental=_INCIDENTAL, needs=SERVER)]
