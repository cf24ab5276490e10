"""What one call of ``bmerge`` remembers across its commands: the shared options.

``--plugin``, ``-p`` and ``--debug`` may stand before or after the command's name; all places
add to one :class:`Session`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from bmerge.host import Registry

__all__ = ["Session", "session_of", "shared_options"]

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(slots=True)
class Session:
    """The shared options of one call.

    Args:
        debug: whether tracebacks are shown.
        plugins: files and folders given by ``--plugin``.
        blocked: names given by ``-p no:NAME``.
    """

    debug: bool = False
    plugins: list[str] = field(default_factory=list)
    blocked: list[str] = field(default_factory=list)
    _registry: Registry | None = None

    def registry(self) -> Registry:
        """Load the plugins, at the first call."""
        if self._registry is None:
            from bmerge.host import load_registry

            self._registry = load_registry(self.plugins, blocked=self.blocked)
        return self._registry


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
