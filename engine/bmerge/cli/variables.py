"""Environment variables of options: named for the option that is typed, not for its parameter."""

from __future__ import annotations

import click

__all__ = ["Negation", "name_variables"]


class Negation(click.Option):
    """A flag such as ``--no-sync``, whose parameter says the contrary: so does its variable."""

    def value_from_envvar(self, ctx: click.Context) -> str | None:
        """Return what the parameter becomes, as text; None where the variable is not set."""
        value = self.resolve_envvar_value(ctx)
        return None if value is None else str(not click.BOOL.convert(value, self, ctx))


def name_variables(command: click.Command, prefix: str) -> None:
    """Name the variables of a command's options, and of its own commands'.

    ``bmerge init --address`` is ``BMERGE_INIT_ADDRESS``, whatever the parameter is called. Click
    itself goes by the parameter's name, which is right where the two are the same.

    Args:
        command: changed in place; doing it again changes nothing.
        prefix: of the variables, in capitals.
    """
    for option in command.params:
        if isinstance(option, click.Option) and option.envvar is None:
            word = _typed(option)
            if word is not None and word != option.name:
                option.envvar = f"{prefix}_{word.upper()}"
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            name_variables(below, f"{prefix}_{name.replace('-', '_').upper()}")


def _typed(option: click.Option) -> str | None:
    words = (o.removeprefix("--").replace("-", "_") for o in option.opts if o.startswith("--"))
    return next(words, None)
