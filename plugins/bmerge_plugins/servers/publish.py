"""Brings a trial's checkpoint to where a server looks for models, under a fresh name.

The name is what keeps an old model's pictures out: the web UIs and ComfyUI know a loaded model
by its file name, and keep the old weights when a file is replaced under the same one.

Three ways: a folder that both see, files that already lie where the server sees them by another
path, or a command of the user's. Which one it is, :mod:`.places` decides from the options.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bmerge import GeneratorError, fresh_name, remove_left_over
from bmerge_plugins.servers.process import check_program, run_to_end
from bmerge_plugins.servers.template import Template

__all__ = ["InPlace", "MappedPaths", "Place", "Published", "SharedFolder", "Upload"]


@dataclass(frozen=True, slots=True)
class Published:
    """A checkpoint that a server can see.

    Args:
        file: the merged model's own file, on this machine.
        name: the file name that the server sees, without folders.
        path: its whole path as the server sees it, or None if that is not known.
        withdraw: takes it away again; may be called more than once.
    """

    file: Path
    name: str
    path: str | None
    withdraw: Callable[[], None]


class Place(Protocol):
    """A way for checkpoints to get to a server. Equal places are used once for all servers."""

    def publish(self, file: Path) -> Published:
        """Make ``file`` visible to the server.

        Raises:
            GeneratorError: if that fails.
        """


@dataclass(frozen=True, slots=True)
class InPlace:
    """The server's process runs here and takes any path: nothing needs to be done."""

    def publish(self, file: Path) -> Published:
        """Return the file itself."""
        return Published(file, file.name, str(file), _nothing)


@dataclass(frozen=True, slots=True)
class SharedFolder:
    """A folder that the server scans for models; the file is linked or copied into it.

    Args:
        folder: on this machine.
        remote: the same folder as the server sees it, or None if that is the same or unknown.

    Raises:
        GeneratorError: if there is no such folder here.
    """

    folder: Path
    remote: str | None = None

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            message = f"models_dir: no such folder: {str(self.folder)!r}"
            raise GeneratorError(message, blame="surroundings")
        remove_left_over(self.folder)

    def publish(self, file: Path) -> Published:
        """Link ``file`` into the folder, or copy it where links are not possible."""
        name = fresh_name(file.suffix)
        target = self.folder / name
        try:
            _link_or_copy(file, target)
        except OSError as error:
            reason = error.strerror or str(error)
            message = f"cannot put the checkpoint into {str(self.folder)!r}: {reason}"
            hint = "models_dir must be writable, with room"
            raise GeneratorError(message, blame="surroundings", hint=hint) from error
        path = _joined(self.remote, name) if self.remote else None
        return Published(file, name, path, lambda: _remove(target))


@dataclass(frozen=True, slots=True)
class MappedPaths:
    """The run's own files already lie where the server sees them, by another path.

    Args:
        folders: pairs of a folder here and the same folder on the server.
    """

    folders: tuple[tuple[str, str], ...]

    def publish(self, file: Path) -> Published:
        """Return ``file`` as the server sees it."""
        real = file.resolve()
        for here, there in self.folders:
            root = Path(here).resolve()
            if real.is_relative_to(root):
                inside = real.relative_to(root).as_posix()
                return Published(file, file.name, _joined(there, inside), _nothing)
        known = ", ".join(repr(here) for here, _ in self.folders)
        raise GeneratorError(
            f"remote_models does not cover the checkpoint {str(real)!r}, only {known}",
            blame="study",
            hint="set models_dir to link it there, or put the run's scratch folder under one",
        )


@dataclass(frozen=True, slots=True)
class Upload:
    """Commands of the user's that carry the file over, and take it away.

    Args:
        upload: uses ``{checkpoint}`` (the file here), ``{name}`` (its name there), ``{host}``.
        remove: uses ``{name}`` and ``{host}``; None leaves the files there.
        host: the server's, where one of the commands asks for it.
    """

    upload: str
    remove: str | None = None
    host: str = ""

    def publish(self, file: Path) -> Published:
        """Run the upload."""
        name = fresh_name(file.suffix)
        values = {"checkpoint": str(file), "name": name, "host": self.host}
        run_to_end(self._command("upload", self.upload, ["checkpoint", "name"]).fill(values))
        return Published(file, name, None, lambda: self._take_away(values))

    def asks_for_host(self) -> bool:
        """Whether each server needs an upload of its own; also checks both commands."""
        templates = [self._command("upload", self.upload, ["checkpoint", "name"])]
        if self.remove:
            templates.append(self._command("remove", self.remove, ["name"]))
        return any("host" in template.names for template in templates)

    def check(self) -> None:
        """Look for the programs.

        Raises:
            GeneratorError: if one is not there.
        """
        check_program(self._command("upload", self.upload, ["checkpoint", "name"]).arguments)
        if self.remove:
            check_program(self._command("remove", self.remove, ["name"]).arguments)

    def _take_away(self, values: Mapping[str, str]) -> None:
        if self.remove:
            run_to_end(self._command("remove", self.remove, ["name"]).fill(values))

    def _command(self, option: str, text: str, needed: list[str]) -> Template:
        known = ["checkpoint", "name", "host"] if option == "upload" else ["name", "host"]
        return Template(text, known=known, needed=needed, option=option)


def _nothing() -> None:
    """Withdraw a file that is not ours to remove."""


def _link_or_copy(file: Path, target: Path) -> None:
    """Make ``target`` appear at once and whole."""
    try:
        os.link(file, target)
    except OSError:
        part = target.with_suffix(".part")  # no server lists files of this kind
        try:
            shutil.copyfile(file, part)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)


def _remove(target: Path) -> None:
    try:
        target.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        message = f"cannot remove {str(target)!r}: {reason}"
        raise GeneratorError(message, blame="surroundings") from error


def _joined(folder: str, name: str) -> str:
    """Join with the kind of slash that the server's own folder has."""
    slash = "\\" if "\\" in folder else "/"
    bare = folder.rstrip("/\\")
    return bare if name == "." else bare + slash + name.replace("/", slash)
