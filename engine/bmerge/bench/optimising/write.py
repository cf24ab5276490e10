"""The benchmark's results as files: a page of Markdown with the table, and the plot beside it."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from pathlib import Path

from bmerge.bench.optimising.landscapes import LANDSCAPES
from bmerge.bench.optimising.plot import plot
from bmerge.bench.optimising.run import Contest
from bmerge.bench.optimising.search import DESIGN, PICTURES
from bmerge.bench.optimising.table import ContestLine, markdown
from bmerge.errors import StudyError
from bmerge.version import __version__

__all__ = ["write_contest"]


def write_contest(lines: Sequence[ContestLine], contest: Contest) -> tuple[Path, Path]:
    """Write ``optimisers.md`` and ``optimisers.svg`` into the contest's folder; return them.

    Raises:
        StudyError: if they cannot be written.
    """
    page, picture = (contest.folder / f"optimisers{suffix}" for suffix in (".md", ".svg"))
    text = markdown(lines, contest.pictures, _facts(contest))
    files = ((page, f"{text}\n![quality by pictures]({picture.name})\n"), (picture, plot(lines)))
    for file, content in files:
        try:
            file.write_text(content, encoding="utf-8", newline="")
        except OSError as error:
            raise StudyError(f"{file} cannot be written: {error.strerror}") from error
    return page, picture


def _facts(contest: Contest) -> Iterator[str]:
    """Yield how it was made, a line each."""
    seeds = contest.seeds
    yield (
        f"True quality (optimum 1) of the merge that is returned after {contest.pictures // 2} and "
        f"{contest.pictures} pictures: medians over the seeds {seeds[0]} to {seeds[-1]} with their "
        "95 % intervals between order statistics. `bmerge bench optimisers` makes this table; "
        f"bmerge {__version__}, Python {platform.python_version()}, {platform.machine()}."
    )
    yield ""
    yield (
        f"Each trial has {PICTURES} pictures, the same in each; parents, centre and {DESIGN} Sobol "
        "points come first; trials race as in a study, unless it says otherwise. A picture's score "
        "is the quality, an offset of its own (sd .3), what its prompt likes there (sd .1, length "
        "scale 1.5) and noise (sd .04). Time is CPU time of the optimiser."
    )
    yield ""
    for name in contest.landscapes:
        if name in contest.studies:
            yield f"- **{name}**: a smooth surface through the trials of the study; its best has 1"
        else:
            kind = LANDSCAPES[name]
            yield f"- **{name}**: {kind.summary}; {kind.dimensions} dimensions"
