"""Decides from a generator's options how checkpoints get to its servers; says so if none does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bmerge import GeneratorError, OptionGroup, option
from bmerge_plugins.servers.address import Address
from bmerge_plugins.servers.publish import MappedPaths, Place, SharedFolder, Upload

__all__ = ["Delivery"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery(OptionGroup):
    """How checkpoints get to servers."""

    models_dir: str | Sequence[str] | None = option(
        None,
        "the folder here that the server scans for checkpoints; one for all servers, or one for "
        "each",
        incidental=True,
    )
    remote_models: str | Mapping[str, str] | None = option(
        None, "folder here → the same folder on the server", incidental=True
    )
    upload: str | None = option(
        None,
        "a command with {checkpoint}, {name} and {host}, instead of models_dir",
        incidental=True,
    )
    remove: str | None = option(
        None,
        "a command with {name} and {host} that takes an uploaded file away",
        incidental=True,
    )
    list_timeout: float = option(
        60.0, "seconds until the server must have found a new checkpoint", least=0, incidental=True
    )

    def is_here(self, addresses: Sequence[Address]) -> bool:
        """Tell whether servers run on this machine and read its files by their own paths."""
        mapped = self.upload is not None or self.remote_models is not None
        return not mapped and all(address.is_local for address in addresses)

    def places(self, addresses: Sequence[Address]) -> list[Place]:
        """Return a place for each address.

        Raises:
            GeneratorError: if nothing is set, too much is, or something set makes no sense.
        """
        if self.upload is not None:
            if self.models_dir is not None or self.remote_models is not None:
                raise GeneratorError(
                    "upload is instead of models_dir and remote_models: set one", blame="study"
                )
            return [_upload(address, self.upload, self.remove) for address in addresses]
        if self.remove is not None:
            raise GeneratorError("remove is set, but upload is not", blame="study")
        mapping = _mapping(self.remote_models)
        if self.models_dir is not None:
            folders = _each(self.models_dir, len(addresses))
            return [_shared(folder, mapping) for folder in folders]
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
