"""The generator over the A1111 family: A1111, Forge, Forge Neo, reForge and SD.Next.

The server runs with ``--api``. Each trial's checkpoint is put where the server finds it under a
name that was never used, and every picture is checked to have been made with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bmerge import GeneratorKind, hookimpl
from bmerge_plugins.needs import SERVER
from bmerge_plugins.servers import CONNECTION, PLACES, ServerPool, connect, make_places

_INCIDENTAL = ("addresses", "list_timeout", *PLACES, *CONNECTION)


def make_a1111(
    *,
    addresses: str | Sequence[str] = "http://127.0.0.1:7860",
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
    """Make the generator; no server is asked yet.

    Args:
        addresses: of one server or of several that share the work.
        models_dir: the folder here that the server scans for checkpoints; one for all servers,
            or one for each.
        remote_models: folder here → the same folder on the server.
        upload: a command with {checkpoint}, {name} and {host}, instead of models_dir.
        remove: a command with {name} and {host} that takes an uploaded file away.
        user: for servers that were started with --api-auth.
        password: of the user; better in the environment.
        password_env: the variable that holds it, BMERGE_SERVER_PASSWORD if left out.
        timeout: seconds for one picture, or for loading a checkpoint.
        list_timeout: seconds until the server must have found a new checkpoint.
        retries: further attempts of a request that failed for a passing reason.
        backoff: seconds before the first of them; doubled each time.
        verify: false for self-signed certificates, or the path of an authority's certificate.

    Raises:
        GeneratorError: if an option makes no sense.
    """
    from bmerge_plugins.servers.a1111_session import A1111Session

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
    sessions = [A1111Session(client, list_timeout=list_timeout) for client in clients]
    return ServerPool(list(zip(sessions, places, strict=True)))


@hookimpl
def bmerge_generators() -> Iterable[GeneratorKind]:
    """Offer the generator."""
    summary = "A1111, Forge, reForge or SD.Next over /sdapi/v1"
    return [GeneratorKind("a1111", make_a1111, summary, incidental=_INCIDENTAL, needs=SERVER)]
