"""What one call of ``bmerge`` remembers across its commands: the shared options.

``--plugin``, ``-p`` and ``--debug`` may stand before or after the command's name; all places
add to one :class:`Session`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bmerge.cli.output import note
from bmerge.records import dataclass

if TYPE_CHECKING:
    from bmerge.host import Registry

__all__ = ["Session", "add_shared_options", "plugins_named_in", "session_of", "shared_options"]

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(slots=True)
class Session:
    """The shared options of one call.

    Args:
        debug: whether tracebacks are shown.
        plugins: files and folders given by ``--plugin``.
        blocked: names given by ``-p no:NAME``.
        foreign: whether a plugin has added the verb, so that it ends the process as it likes.
    """

    debug: bool = False
    plugins: list[str] = field(default_factory=list)
    blocked: list[str] = field(default_factory=list)
    foreign: bool = False
    _registry: Registry | None = None

    def registry(self) -> Registry:
        """Load the plugins, at the first call."""
        if self._registry is None:
            from bmerge.host import load_registry

            for folder in filter(Path.is_dir, map(Path, self.plugins)):
                _tell_of(folder)
            self._registry = load_registry(self.plugins, blocked=self.blocked)
        return self._registry

    def offer_formats(self) -> None:
        """Let plugins be asked about files that are opened before anything of theirs."""
        from bmerge.formats.registry import offer
        from bmerge.formats.unwrapped import recognise_by

        recognise_by(lambda tensors: self.registry().knows(tensors))
        offer(lambda: self.registry().formats.values())  # noqa: PLW0108  loaded when asked

    def plugin_at(self, file: str) -> str | None:
        """Return the name of the loaded plugin that a file is part of, if there is one."""
        return None if self._registry is None else self._registry.plugin_at(file)


def _tell_of(folder: Path) -> None:
    """Say which files of a folder are loaded as plugins, and which are not."""
    from bmerge.host.plugin_files import plugins_in

    loaded, others = plugins_in(folder)
    if loaded:
        names = ", ".join(file.name for file in loaded)
        left = f"; no plugins: {', '.join(file.name for file in others)}" if others else ""
        note(f"note: plugins of {folder}: {names}{left}")


def session_of(context: click.Context) -> Session:
    """Return the session that ``context`` belongs to."""
    session: Session = context.ensure_object(Session)
    return session


def _add_plugins(context: click.Context, _: click.Parameter, paths: Sequence[str]) -> None:
    known = session_of(context).plugins
    known += [path for path in paths if path not in known]


def _add_blocked(context: click.Context, _: click.Parameter, words: Sequence[str]) -> None:
    for word in words:
        name = word.removeprefix("no:")
        if name == word or not name:
            raise click.BadParameter(f"write no:NAME to leave a plugin out, not {word!r}")
        if name not in session_of(context).blocked:
            session_of(context).blocked.append(name)


def _set_debug(context: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001
    session_of(context).debug |= value


def shared_options(command: F) -> F:
    """Give a command the options ``--plugin``, ``-p`` and ``--debug``."""
    for option in (
        click.option(
            "--debug",
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_set_debug,
            help="Show the traceback of an error.",
        ),
        click.option(
            "-p",
            "block",
            multiple=True,
            metavar="no:NAME",
            expose_value=False,
            is_eager=True,
            callback=_add_blocked,
            help="Leave out an installed plugin; may be repeated.",
        ),
        click.option(
            "--plugin",
            multiple=True,
            metavar="PATH",
            expose_value=False,
            is_eager=True,
            callback=_add_plugins,
            help="Load a plugin file, or every plugin file of a folder; may be repeated.",
        ),
    ):
        command = option(command)
    return command


def add_shared_options(command: click.Command) -> None:
    """Give a plugin's command the shared options, and those in it; its own of that name stay."""
    taken = {name for parameter in command.params for name in parameter.opts}
    options: list[click.Option] = getattr(shared_options(lambda: None), "__click_params__")  # noqa: B009
    command.params += [option for option in options if taken.isdisjoint(option.opts)]
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            add_shared_options(inner)


def plugins_named_in(arguments: Sequence[str]) -> list[str]:
    """Return what ``--plugin`` is given in a command line whose command is not known yet."""
    options = list(arguments[: arguments.index("--")] if "--" in arguments else arguments)
    behind = [path for word, path in itertools.pairwise(options) if word == "--plugin"]
    within = [word.removeprefix("--plugin=") for word in options if word.startswith("--plugin=")]
    return [*behind, *within]
