"""How ``bmerge merge`` is parsed: the options depend on the method that is named.

The method is looked for first, then its hyperparameters join the options that every merge has.
So ``bmerge merge METHOD --help`` shows that method, and a plugin's hyperparameters are options
as much as anybody's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from bmerge.cli.completing import complete_value
from bmerge.cli.session import session_of
from bmerge.errors import MethodError
from bmerge.formats.folders import holds_model
from bmerge.formats.target import GGUF_SUFFIX, PICKLED_SUFFIXES, SAFETENSORS_SUFFIXES
from bmerge.method import Hyperparameter, MergeMethod, Option, option_text
from bmerge.options import meanings_of

__all__ = ["MergeCommand", "check_nothing_else", "is_recipe", "split_weight"]

_HELP = frozenset({"-h", "--help"})
_METHOD = "bmerge.cli.method"
_MOST_MODELS = 32
_CHECKPOINTS = (*SAFETENSORS_SUFFIXES, *PICKLED_SUFFIXES, GGUF_SUFFIX)


def is_recipe(word: str) -> bool:
    """Tell whether the first word of a merge names a recipe or a merged model, and no method."""
    known = (".yaml", ".yml", ".json", ".mecha", *_CHECKPOINTS)
    return word.lower().endswith(known) or holds_model(Path(word))


def check_nothing_else(
    file: str,
    models: Sequence[str],
    loras: Sequence[str],
    parts: Sequence[tuple[str, str]],
    places: Sequence[str],
) -> None:
    """Refuse what stands beside a file that says everything itself.

    Raises:
        UsageError: names the first of it.
    """
    from bmerge.foreign import is_merged_file  # all readers of recipes

    if places and not is_merged_file(file):
        raise click.UsageError(f"--search is for merged files; {file!r} is none")
    if models and is_merged_file(file):
        raise click.UsageError(f"{file!r} is not a merge method; 'bmerge methods' lists them")
    if models:
        raise click.UsageError(f"a recipe names its own models; leave {models[0]!r} out")
    if loras:
        raise click.UsageError(f"a recipe names its own LoRAs; leave {loras[0]!r} out")
    if parts:
        message = f"a recipe picks its own parts; leave {parts[0][1]!r} out"
        raise click.UsageError(f"{message}: a 'pick' step takes it")


def split_weight(word: str) -> tuple[str, str | None]:
    """Return the parts of FILE=WEIGHT; a file's name may have an equals sign itself."""
    path, equals, weight = word, "", ""
    while "=" in path and not Path(path).exists():
        path, equals, more = path.rpartition("=")
        weight = f"{more}={weight}" if weight else more
    if not Path(path).exists():  # the file is missing: the error is about what stands first
        path, equals, weight = word.partition("=")
    return path, weight if equals else None


class MergeCommand(click.Command):
    """A command whose options grow by the named method's hyperparameters."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Find the method, then parse with its options."""
        word = self._first_word(ctx, args)
        if word is not None and not is_recipe(word):
            method = session_of(ctx).registry().method(word)
            self._check_names(method)
            ctx.meta[_METHOD] = method
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise self._unknown(ctx, error) from error

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the options of every merge and those of the method."""
        method = _method(ctx)
        return [*super().get_params(ctx), *(_options(method) if method else [])]

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the usage line with the method's own models."""
        method = _method(ctx)
        if method is None:
            formatter.write_usage(ctx.command_path, "METHOD MODELS... -o FILE [OPTIONS]")
            formatter.write_usage(
                ctx.command_path, "RECIPE.yaml -o FILE [OPTIONS]", prefix="       "
            )
            return
        from bmerge.cli.methods import models_of  # merges list none

        words = f"{method.name} {models_of(method)} -o FILE [OPTIONS]"
        formatter.write_usage(ctx.command_path, words)

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the method's documentation, or the command's."""
        method = _method(ctx)
        if method is None:
            super().format_help_text(ctx, formatter)
            return
        formatter.write_paragraph()
        with formatter.indentation():
            for line in method.doc.splitlines():
                formatter.write(" " * formatter.current_indent + line if line else "")
                formatter.write("\n")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the hyperparameters first, then the options of every merge."""
        method = _method(ctx)
        if method and method.hyperparameters:
            with formatter.section("Hyperparameters"):
                formatter.write_dl([_help_line(h) for h in method.hyperparameters])
        if method and method.options:
            with formatter.section("Forms of the method"):
                meanings = meanings_of(method.function)
                formatter.write_dl([_option_line(each, meanings) for each in method.options])
        options = [p for p in super().get_params(ctx) if isinstance(p, click.Option)]
        common = [option.get_help_record(ctx) for option in options]
        with formatter.section("Options"):
            formatter.write_dl([record for record in common if record])

    def _first_word(self, ctx: click.Context, args: Sequence[str]) -> str | None:
        """Return the method or recipe that ``args`` names, wherever the options stand."""
        early = tuple(word for p in self.params if p.is_eager for word in p.opts)
        if args and not args[0].startswith("-") and not any(a.startswith(early) for a in args):
            return args[0]  # and no option counts before the method does
        common = [p for p in self.params if isinstance(p, click.Option)]
        probe = click.Command(
            self.name,
            params=[*common, click.Argument(["words"], nargs=-1, type=click.UNPROCESSED)],
            add_help_option=False,
            context_settings={"ignore_unknown_options": True},
        )
        rest = [word for word in args if word not in _HELP]
        parsed = probe.make_context("merge", rest, parent=ctx.parent, resilient_parsing=True)
        words = list(parsed.params["words"])
        while words and words[0].startswith("--"):  # a hyperparameter, always with a value
            del words[: 1 if "=" in words[0] else 2]
        return words[0] if words else None

    def _check_names(self, method: MergeMethod) -> None:
        taken = {word for p in self.params for word in (*p.opts, *p.secondary_opts)} | _HELP
        for name in _names(method):
            if taken & set(_spellings(name)):
                message = f"{method.name} has a hyperparameter {name!r}, which is an option too"
                raise MethodError(message, hint="give it in a recipe file")

    def _unknown(self, ctx: click.Context, error: click.NoSuchOption) -> click.UsageError:
        method = _method(ctx)
        if method is None:
            return error
        names = ", ".join(f"--{name}" for name in _names(method)) or "none"
        message = f"{method.name} has no option {error.option_name}; its hyperparameters: {names}"
        return click.UsageError(message, ctx)


def _method(ctx: click.Context) -> MergeMethod | None:
    method: MergeMethod | None = ctx.meta.get(_METHOD)
    return method


def _names(method: MergeMethod) -> list[str]:
    """Return what a method can be told: its hyperparameters and its own options."""
    return [*(h.name for h in method.hyperparameters), *(o.name for o in method.options)]


def _spellings(name: str) -> list[str]:
    """Return the options that set a hyperparameter: its own name, and that with dashes."""
    return list(dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}")))


def _options(method: MergeMethod) -> list[click.Option]:
    hyperparameters = [h for own in method.hyperparameters for h in (own, *_each(own))]
    return [
        *(
            click.Option(
                [*_spellings(h.name), h.name], metavar="VALUE", shell_complete=complete_value
            )
            for h in hyperparameters
        ),
        *(
            click.Option(
                [*_spellings(option.name), option.name],
                type=click.Choice([option_text(choice) for choice in option.choices]),
            )
            for option in method.options
        ),
    ]


def _each(h: Hyperparameter) -> tuple[Hyperparameter, ...]:
    """Return those of single models; how many models there are is not known yet."""
    return h.of_models(_MOST_MODELS) if h.per_model else ()


def _help_line(h: Hyperparameter) -> tuple[str, str]:
    text = f"searched from {h.low:g} to {h.high:g}  [default: {h.default:g}]"
    if h.per_model:
        text = f"{text}  for all models; --{h.name}_1, --{h.name}_2 … for one"
    return f"--{h.name} VALUE", text


def _option_line(option: Option, meanings: Mapping[str, str]) -> tuple[str, str]:
    choices = "|".join(option_text(choice) for choice in option.choices)
    default = f"[default: {option_text(option.default)}]"
    return f"--{option.name} {choices}", f"{meanings.get(option.name, '')}  {default}".strip()
