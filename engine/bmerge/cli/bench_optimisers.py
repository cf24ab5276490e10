"""``bmerge bench optimisers``: what each optimiser finds, by pictures painted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bmerge.cli.output import json_option, note, print_json, print_table
from bmerge.cli.progress import LiveLine
from bmerge.cli.session import Session, shared_options
from bmerge.errors import StudyError
from bmerge.extras import require

if TYPE_CHECKING:
    from bmerge.bench.optimising.contest import Contestant
    from bmerge.bench.optimising.table import ContestLine
    from bmerge.host import Registry

__all__ = ["command"]

_LANDSCAPES = ("smooth", "basins", "ridge", "corners", "wide", "digits")


@click.command("optimisers")
@click.option(
    "--optimiser",
    "names",
    multiple=True,
    metavar="NAME",
    help="An optimiser to compare; may be repeated; default: all there are.",
)
@click.option(
    "--landscape",
    "landscapes",
    multiple=True,
    type=click.Choice(_LANDSCAPES),
    help="Where to search; may be repeated; default: all.",
)
@click.option(
    "--replay",
    "folders",
    multiple=True,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="A study whose scores are searched once more; may be repeated.",
)
@click.option(
    "--seeds",
    type=click.IntRange(1),
    default=10,
    metavar="N",
    help="Searches of each landscape by each optimiser; default: 10.",
)
@click.option(
    "--first-seed",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="The first of the seeds; default: 0.",
)
@click.option(
    "--pictures",
    type=click.IntRange(240),
    default=528,
    metavar="N",
    help="Pictures of each search; default: 528.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1),
    default=1,
    metavar="N",
    help="Searches at a time, each in a process with one thread; default: 1.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs") / "bench-optimisers",
    metavar="DIR",
    help="Where everything is kept; default: runs/bench-optimisers.",
)
@json_option()
@shared_options
@click.pass_obj
def command(
    session: Session,
    *,
    names: tuple[str, ...],
    landscapes: tuple[str, ...],
    folders: tuple[Path, ...],
    seeds: int,
    first_seed: int,
    pictures: int,
    jobs: int,
    out: Path,
    as_json: bool,
) -> None:
    """Compare optimisers: the true quality of the merge that each finds, by pictures painted.

    Each searches landscapes whose quality is known, through pictures that hide it as real ones do,
    under the rules of a study: parents, centre and an initial design first, trials that are behind
    are stopped. The default of the old tool takes part, with its 1,600 pictures. The same command
    continues where it was.

    With --replay the landscape is a smooth surface through the scores of a study of yours, which
    says what suits models like those; nothing is painted.

    \b
    Examples:
      bmerge bench optimisers
      bmerge bench optimisers --optimiser auto --optimiser mine --plugin mine.py
      bmerge bench optimisers --replay runs/demo
      bmerge bench optimisers --landscape corners --seeds 20 --first-seed 100 --jobs 4
    """
    require(("optuna", "scipy", "numpy"), "a comparison of optimisers")
    from bmerge.bench.optimising.contest import ContestRow
    from bmerge.bench.optimising.run import Contest, run_contest
    from bmerge.bench.optimising.table import lines_of
    from bmerge.bench.optimising.write import write_contest

    studies = _studies(folders)
    contest = Contest(
        contestants=_contestants(names, session.registry()),
        landscapes=(*(landscapes or (() if studies else _LANDSCAPES)), *studies),
        seeds=range(first_seed, first_seed + seeds),
        pictures=pictures,
        folder=out,
        plugins=tuple(session.plugins),
        blocked=tuple(session.blocked),
        studies=studies,
    )
    with LiveLine() as line:

        def show(row: ContestRow, left: int) -> None:
            line.draw(f"{left} searches left  {row.name} on {row.landscape}, seed {row.seed}")

        rows = run_contest(contest, jobs, show)
    lines = lines_of(rows)
    files = write_contest(lines, contest)
    _print(lines, contest.landscapes, pictures, as_json=as_json)
    note(f"written: {', '.join(map(str, files))}")


def _studies(folders: Sequence[Path]) -> dict[str, Path]:
    """Return name → folder of the studies that are replayed, all of which can be."""
    from bmerge.bench.optimising.replay import replay

    studies = {folder.resolve().name: folder for folder in folders}
    if len(studies) < len(folders) or studies.keys() & {*_LANDSCAPES}:
        message = "two landscapes have the same name: that of the folder of a study"
        raise StudyError(message, hint="rename one of the folders")
    for folder in folders:
        replay(folder)
    return studies


def _contestants(names: Sequence[str], registry: Registry) -> tuple[Contestant, ...]:
    """Return the optimisers that were named, or all that can be had, and the old tool."""
    from bmerge.bench.optimising.contest import OLD_TOOL, UNRACED, Contestant

    kinds = [registry.optimiser(name) for name in names] or [
        kind
        for kind in registry.optimisers.values()
        if kind.name != "grid" and not any(option.required for option in kind.options)
    ]
    others = (OLD_TOOL,) if names else (UNRACED, OLD_TOOL)
    return (*(Contestant(kind.name, kind.name) for kind in kinds), *others)


def _print(
    lines: Sequence[ContestLine], landscapes: Sequence[str], pictures: int, *, as_json: bool
) -> None:
    from bmerge.bench.optimising.table import flat

    if as_json:
        print_json([flat(line) for line in lines])
        return
    rows = []
    for line in lines:
        cells = [line.cells.get((place, pictures)) for place in landscapes]
        shown = ["-" if cell is None else str(cell) for cell in cells]
        rows.append((line.name, *shown, f"{line.trials:g}", f"{1000 * line.seconds:.1f}"))
    print_table(("optimiser", *landscapes, "trials", "ms/ask"), rows)
