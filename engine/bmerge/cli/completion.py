"""``bmerge completion``: what makes a shell complete bmerge's words."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from bmerge.cli.output import show
from bmerge.cli.session import shared_options

__all__ = ["command"]

_SHELLS = ("bash", "fish", "zsh")


@click.command("completion")
@click.argument("shell", type=click.Choice(_SHELLS))
@shared_options
@click.pass_context
def command(context: click.Context, *, shell: str) -> None:
    """Let bash, zsh or fish complete words and names.

    Prints the script that does. Completed are commands, options, methods with their
    hyperparameters, presets and the blocks of the first model as values, studies in runs/, and
    files; plugins that are installed, too.

    \b
    Examples:
      eval "$(bmerge completion bash)"                    in ~/.bashrc
      eval "$(bmerge completion zsh)"                     in ~/.zshrc
      bmerge completion fish > ~/.config/fish/completions/bmerge.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None
    show(kind(context.find_root().command, {}, "bmerge", "_BMERGE_COMPLETE").source())
