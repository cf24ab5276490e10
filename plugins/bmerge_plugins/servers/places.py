"""Decides from a generator's options how checkpoints get to its servers; says so if none does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bmerge import GeneratorError
from bmerge_plugins.servers.address import Address
from bmerge_plugins.servers.publish import MappedPaths, Place, SharedFolder, Upload

__all__ = ["PLACES", "make_places"]

PLACES = ("models_dir", "remote_models", "upload", "remove")
"""The options of :func:`make_places`: no picture depends on them."""


def make_places(
    addresses: Sequence[Address],
    *,
    models_dir: str | Sequence[str] | None,
    remote_models: str | Mapping[str, str] | None,
    upload: str | None,
    remove: str | None,
) -> list[Place]:
    """Return a place for each address.

    Args:
        addresses: of the servers.
        models_dir: a folder that servers scan for models: one for all, or one for each.
        remote_models: folder here → the same folder there; or the two with ``=`` between them.
        upload: a command that carries a file over.
        remove: a command that takes it away.

    Raises:
        GeneratorError: if nothing is set, too much is, or something set makes no sense.
    """
    if upload is not None:
        if models_dir is not None or remote_models is not None:
            raise GeneratorError(
                "upload is instead of models_dir and remote_models: set one", blame="study"
            )
        return [_upload(address, upload, remove) for address in addresses]
    if remove is not None:
        raise GeneratorError("remove is set but not upload", blame="study")
    mapping = _mapping(remote_models)
    if models_dir is not None:
        return [_shared(folder, mapping) for folder in _each(models_dir, len(addresses))]
    if mapping:
        return [MappedPaths(mapping)] * len(addresses)
    raise GeneratorError(
        "nothing says how a merged checkpoint gets to the server",
        blame="study",
        hint="set models_dir (a folder here that the server scans for checkpoints), "
        "remote_models (folder here: folder there) or upload (a command)",
    )


def _upload(address: Address, upload: str, remove: str | None) -> Upload:
    place = Upload(upload, remove)
    return Upload(upload, remove, address.host) if place.asks_for_host() else place


def _each(models_dir: str | Sequence[str], count: int) -> list[str]:
    folders = [models_dir] if isinstance(models_dir, str) else list(models_dir)
    if len(folders) == 1:
        return folders * count
    if len(folders) != count:
        message = f"models_dir has {len(folders)} folders for {count} addresses"
        raise GeneratorError(
            message, blame="study", hint="give one for all, or one for each address"
        )
    return folders


def _shared(folder: str, mapping: tuple[tuple[str, str], ...]) -> SharedFolder:
    here = Path(folder).expanduser()
    if not mapping:
        return SharedFolder(here)
    # The folder itself is mapped like any path below a mapped one.
    return SharedFolder(here, MappedPaths(mapping).publish(here).path)


def _mapping(given: str | Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
    if isinstance(given, str):
        here, equals, there = given.partition("=")
        if not (here and equals and there):
            hint = "write it as FOLDER_HERE=FOLDER_THERE"
            raise GeneratorError(f"remote_models is {given!r}", blame="study", hint=hint)
        given = {here: there}
    return tuple((str(Path(here).expanduser()), there) for here, there in (given or {}).items())
