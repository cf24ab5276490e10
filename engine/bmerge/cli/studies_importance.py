"""``bmerge studies importance``: which values matter, what they do, and how well they are known."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from bmerge.cli.completing import complete_study
from bmerge.cli.output import json_option, note, print_json, print_table
from bmerge.cli.session import shared_options
from bmerge.errors import StudyError
from bmerge.findings.importance import FEWEST, Importance
from bmerge.findings.surface import Curve, Pair
from bmerge.findings.understanding import understand
from bmerge.storage.stored import read_study
from bmerge.trials.figures import figure, interval

__all__ = ["command"]


@click.command("importance")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path),
                shell_complete=complete_study)  # fmt: skip
@json_option()
@shared_options
def command(folder: Path, *, as_json: bool) -> None:
    """Show which values matter in the study in DIR, and how well they are known.

    For each value: its importance (PED-ANOVA), what chance alone gives, the best merge's value,
    where the best value lies with 80 % probability while all others stay, and by how much the
    score changes along its range. A value at its bound is marked: the range may be too narrow.
    Then the pairs of values of which one changes what the other does.

    With --json the curve of each value is told, too: `values` along its range, `effects` on the
    score and their standard `errors`.

    \b
    Examples:
      bmerge studies importance runs/demo
    """
    found = understand(read_study(folder))
    if not found.importances:
        message = f"the study in {folder} has too few trials to say what matters"
        hint = f"it takes {FEWEST} within its space, whose scores differ"
        raise StudyError(message, hint=hint)
    both = list(zip(found.importances, found.curves, strict=True))
    if as_json:
        values = [{**asdict(curve), **asdict(one)} for one, curve in both]
        print_json({"values": values, "pairs": [asdict(pair) for pair in found.pairs]})
        return
    print_table(
        ("value", "importance", "chance", "best", "likely within", "changes the score by", ""),
        [_row(one, curve) for one, curve in both],
    )
    for pair in found.pairs:
        note(_told(pair))


def _row(one: Importance, curve: Curve) -> tuple[object, ...]:
    mark = "" if one.bound is None else "at its bound"
    return (
        one.name,
        f"{100 * one.share:.0f} %",
        f"{100 * one.chance:.0f} %",
        figure(one.value),
        interval(*curve.likely),
        figure(max(curve.effects) - min(curve.effects)),
        mark,
    )


def _told(pair: Pair) -> str:
    which = "both high or both low" if pair.effect > 0 else "one high, the other low"
    first, second = pair.names
    size = f"{figure(abs(pair.effect))} ± {figure(pair.error)}"
    return f"{first} and {second} go together: better {which} ({size})"
