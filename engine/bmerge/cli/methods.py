"""``bmerge methods``: the merge methods, with their models and hyperparameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from bmerge.cli.completing import complete_method
from bmerge.cli.kinds import chosen, missing_data, summary_of
from bmerge.cli.output import json_option, print_json, print_table
from bmerge.cli.session import Session, shared_options
from bmerge.cli.table import terminal_width
from bmerge.method import Hyperparameter, MergeMethod, option_text
from bmerge.options import meanings_of

__all__ = ["command"]


@click.command("methods")
@click.argument("words", nargs=-1, shell_complete=complete_method)
@json_option()
@shared_options
@click.pass_obj
def command(session: Session, *, words: tuple[str, ...], as_json: bool) -> None:
    """List the merge methods.

    With WORDS, only those that have every one in their name or summary.

    \b
    Examples:
      bmerge methods
      bmerge methods ties
      bmerge merge weighted_sum --help    the parameters of one method
    """
    registry = session.registry()
    methods = registry.methods
    names = chosen(words, {n: (n, *m.aliases, m.summary) for n, m in methods.items()})
    if as_json:
        print_json([_as_data(methods[name], methods.plugin_of(name)) for name in names])
        return
    listed = [methods[name] for name in names]
    if terminal_width():  # where groups are shown
        listed.sort(key=lambda method: (_GROUPS.index(_group(method)), method.name))
    print_table(
        ("method", "models", "hyperparameters", "summary"),
        [(m.name, models_of(m), _hyperparameters(m), summary_of(m)) for m in listed],
        titles=[_group(method) for method in listed],
    )


_GROUPS = ("one model", "two models", "three models", "more models", "any number of models")


def _group(method: MergeMethod) -> str:
    """Return what a method is listed under."""
    return _GROUPS[-1] if method.variadic else _GROUPS[min(len(method.model_names), 4) - 1]


def models_of(method: MergeMethod) -> str:
    """Return a method's inputs as in a usage line: ``A B``, or ``[MODEL...]`` for any number."""
    names = [name.upper() for name in method.model_names]
    return " ".join([*names, "[MODEL...]"] if method.variadic else names)


def _hyperparameters(method: MergeMethod) -> str:
    numbers = [f"{h.name}={h.default:g}" for h in method.hyperparameters]
    options = [f"{option.name}={option_text(option.default)}" for option in method.options]
    return " ".join([*numbers, *options]) or "-"


def _as_data(method: MergeMethod, plugin: str) -> dict[str, Any]:
    meanings = meanings_of(method.function)
    return {
        "name": method.name,
        "aliases": list(method.aliases),
        "models": list(method.model_names),
        "variadic": method.variadic,
        "hyperparameters": [_hyperparameter(h, meanings) for h in method.hyperparameters],
        "options": [
            {
                "name": o.name,
                "default": o.default,
                "choices": list(o.choices),
                "meaning": meanings.get(o.name),
            }
            for o in method.options
        ],
        "statistics": [statistic.name for statistic in method.statistics],
        "executors": ["torch"] if method.opaque else ["native", "torch"],
        "summary": method.summary,
        "plugin": plugin,
        **missing_data(method),
    }


def _hyperparameter(h: Hyperparameter, meanings: Mapping[str, str]) -> dict[str, Any]:
    return {
        "name": h.name, "default": h.default, "low": h.low, "high": h.high,
        "per_model": h.per_model, "meaning": meanings.get(h.name),
    }  # fmt: skip
