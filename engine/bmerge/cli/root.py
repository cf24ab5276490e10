"""The ``bmerge`` command: which verbs there are, found without importing them.

A verb's module is imported when the verb is called, so that ``--version`` and ``--help`` are
quick. Verbs that plugins add are looked for only when the word is none of ours.
"""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Mapping

import click

from bmerge.cli.output import show
from bmerge.cli.session import (
    add_shared_options,
    plugins_named_in,
    session_of,
    shared_options,
)
from bmerge.cli.variables import name_variables
from bmerge.errors import nearest

__all__ = ["COMMANDS", "root"]

COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("bmerge.cli.init", "Write a first study file; asks what is not given."),
    "run": ("bmerge.cli.run", "Optimise a merge: the study that FILE describes."),
    "merge": ("bmerge.cli.merge", "Merge checkpoints once, by a method or from a recipe file."),
    "convert": (
        "bmerge.cli.convert",
        "Write a model in another layout, format or choice of parts.",
    ),
    "rebasin": ("bmerge.cli.rebasin", "Align MODEL to REFERENCE: the order of its channels."),
    "lora": ("bmerge.cli.lora", "Extract, resize or merge LoRA files."),
    "diff": ("bmerge.cli.diff", "Show how far two models are from each other, block by block."),
    "weights": (
        "bmerge.cli.weights",
        "Show block weights: presets, lists and patterns.",
    ),
    "recipe": ("bmerge.cli.recipe", "Read recipes of other tools, and of merged files."),
    "import-config": (
        "bmerge.cli.import_config",
        "Turn another optimiser's configuration into a study.",
    ),
    "inspect": ("bmerge.cli.inspect", "Show what is in a checkpoint or a LoRA."),
    "studies": (
        "bmerge.cli.studies",
        "List, show, fork, export and import studies.",
    ),
    "prove": (
        "bmerge.cli.prove",
        "Compare a study's winner with its rivals on fresh pictures.",
    ),
    "scan": ("bmerge.cli.scan", "Rank what each block does, in numbers and in pictures."),
    "report": ("bmerge.cli.report", "Write the report of a study again."),
    "bench": ("bmerge.cli.bench", "Compare merge methods, optimisers or executors."),
    "rate": ("bmerge.cli.rate", "Rate pictures in the browser, and watch a study."),
    "schema": ("bmerge.cli.schema", "Print the JSON schema of study or recipe files."),
    "completion": ("bmerge.cli.completion", "Let bash, zsh or fish complete words and names."),
    "clean": ("bmerge.cli.clean", "Remove the temporary files of commands that were killed."),
    "methods": ("bmerge.cli.methods", "List the merge methods."),
    "optimisers": ("bmerge.cli.optimisers", "List the optimisers."),
    "scorers": ("bmerge.cli.scorers", "List the scorers, or fetch the weights of one."),
    "generators": ("bmerge.cli.generators", "List the generators."),
    "architectures": ("bmerge.cli.architectures", "List the architectures and their blocks."),
    "plugins": ("bmerge.cli.plugins", "List the plugins, and those that do not work."),
    "new-plugin": ("bmerge.cli.new_plugin", "Write a working plugin project into a new folder."),
}
"""Verb → (module that defines it as ``command``, its first line of help)."""

_GROUPS = {
    "Studies": (
        "init",
        "run",
        "rate",
        "report",
        "studies",
        "prove",
        "scan",
        "bench",
        "import-config",
    ),
    "Merging": ("merge", "convert", "lora", "rebasin", "recipe", "weights"),
    "Looking": ("inspect", "diff"),
    "What there is": (
        *("methods", "optimisers", "scorers", "generators", "architectures", "plugins"),
        "new-plugin",
    ),
}
"""Heading → verbs, as the help lists them; all others come last."""

_FIRST_STEPS = """\
bmerge merges checkpoints of picture models, and looks for the best merge.

  bmerge init A B                  write a first study of two models
  bmerge run study.yaml            paint, score, propose; keep the best merge
  bmerge merge METHOD A B -o FILE  merge once; `bmerge methods` lists methods
  bmerge merge METHOD --help       what a method computes, and its numbers
  bmerge inspect FILE              what is in a checkpoint or a LoRA

`bmerge --help` lists all commands, `bmerge COMMAND --help` explains one."""

_PLUGINS = "bmerge.cli.plugins"


class Root(click.Group):
    """The group of all verbs: ours by name, plugins' on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return our verbs, in the order of the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one of our verbs, or ask the plugins for theirs."""
        if cmd_name in COMMANDS:
            command: click.Command | None = _command_of_ours(ctx, cmd_name)
        else:
            command = _commands_of_plugins(ctx).get(cmd_name)
        if not gc.isenabled():
            _look_for_garbage()
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb, or fail with the nearest one.

        One that a plugin adds may stand before the ``--plugin`` that names its file.
        """
        if args[0] not in COMMANDS:
            session_of(ctx).foreign = True
            known = session_of(ctx).plugins
            known += [path for path in plugins_named_in(args[1:]) if path not in known]
        if self.get_command(ctx, args[0]) is None and not ctx.resilient_parsing:
            hint = nearest(args[0], [*COMMANDS, *_commands_of_plugins(ctx)])
            ctx.fail(f"no such command {args[0]!r}; {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of verbs without importing them."""
        del ctx
        grouped = {word for words in _GROUPS.values() for word in words}
        others = tuple(name for name in COMMANDS if name not in grouped)
        longest = max(map(len, COMMANDS))
        for title, words in {**_GROUPS, "More": others}.items():
            with formatter.section(title):
                known = [
                    (word.ljust(longest), COMMANDS[word][1]) for word in words if word in COMMANDS
                ]
                formatter.write_dl(known)


def _command_of_ours(ctx: click.Context, name: str) -> click.Command:
    """Import one of our verbs."""
    module = importlib.import_module(COMMANDS[name][0])
    if "bmerge.formats" in sys.modules:  # the verb may open files
        session_of(ctx).offer_formats()
    command: click.Command = module.command
    name_variables(command, f"BMERGE_{name.replace('-', '_').upper()}")
    return command


def _look_for_garbage() -> None:
    """Look for it from now on, seldom, and not among what has been imported."""
    gc.freeze()
    gc.set_threshold(10_000)
    gc.enable()


def _commands_of_plugins(ctx: click.Context) -> Mapping[str, click.Command]:
    """Return the verbs that plugins add; they are asked once for each call of ``bmerge``."""
    if _PLUGINS not in ctx.meta:
        group = click.Group("bmerge")
        session_of(ctx).registry().add_commands(group)
        add_shared_options(group)
        name_variables(group, "BMERGE")
        ctx.meta[_PLUGINS] = group.commands
    commands: Mapping[str, click.Command] = ctx.meta[_PLUGINS]
    return commands


def _print_version(context: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001
    if not value or context.resilient_parsing:
        return
    from bmerge.version import __version__

    show(f"bmerge {__version__}")
    context.exit()


@click.command(
    cls=Root,
    name="bmerge",
    invoke_without_command=True,
    context_settings={"auto_envvar_prefix": "BMERGE", "help_option_names": ["-h", "--help"]},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
@shared_options
@click.pass_context
def root(context: click.Context) -> None:
    """Merge Stable Diffusion checkpoints block by block; let an optimiser find the best merge.

    Every option can also be set by an environment variable: BMERGE_, the command, the option, as
    in BMERGE_RUN_TRIALS=40. Plugins may add commands of their own.
    """
    if context.invoked_subcommand is None:
        show(_FIRST_STEPS)
