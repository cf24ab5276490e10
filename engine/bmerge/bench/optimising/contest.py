"""Who takes part, and what is stored of each search.

Rows are lines of JSON in the benchmark's folder: what is there is not done again, and a search that
was interrupted leaves nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, field
from pathlib import Path
from typing import Any

from bmerge.bench.optimising.search import SearchOutcome
from bmerge.errors import StudyError
from bmerge.records import dataclass

__all__ = ["OLD_TOOL", "UNRACED", "ContestRow", "Contestant", "append", "read_rows", "row_of"]

_PARTS = 8  # of the pictures, after each of which the best merge is noted


@dataclass(frozen=True, slots=True)
class Contestant:
    """Who searches, and under which rules.

    Args:
        name: in tables.
        optimiser: its plugin.
        options: of the optimiser.
        racing: whether its trials race.
        pictures: that it paints, if not as many as the others.
    """

    name: str
    optimiser: str
    options: Mapping[str, Any] = field(default_factory=dict)
    racing: bool = True
    pictures: int | None = None

    def marks(self, pictures: int) -> list[int]:
        """Return the numbers of pictures at which the best merge is noted.

        They are eighths of what the others paint, and of what this one paints beyond that.

        Args:
            pictures: that the others paint.
        """
        shared = [pictures * part // _PARTS for part in range(1, _PARTS + 1)]
        more = (self.pictures or pictures) - pictures
        return shared + [pictures + more * part // _PARTS for part in range(1, _PARTS + 1) if more]


OLD_TOOL = Contestant(
    "sd-webui-bayesian-merger",
    "bayes",
    {"acquisition": "ucb", "kappa": 2.576, "noise": 1e-6},
    racing=False,
    pictures=1600,
)
"""The old tool's default: 10 random points and 90 of its process with upper bound, no racing.

The process is bmerge's, of the same kernel and the same acquisition; its 16 pictures a trial have
the same prompts and seeds in each, which is kind to it.
"""

UNRACED = Contestant("auto, no racing", "auto", racing=False)


@dataclass(frozen=True, slots=True)
class ContestRow:
    """One search that is done.

    Args:
        name: of the contestant.
        landscape: that was searched.
        seed: of the landscape, the pictures and the optimiser.
        found: what came of it.
    """

    name: str
    landscape: str
    seed: int
    found: SearchOutcome

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells it from others."""
        return self.name, self.landscape, self.seed


def append(row: ContestRow, file: Path) -> None:
    """Add a row to a file, in one write."""
    with file.open("a", encoding="utf-8") as opened:
        opened.write(json.dumps(asdict(row)) + "\n")


def read_rows(file: Path) -> list[ContestRow]:
    """Return the rows of a file; none where there is no file. A line that was cut is left out.

    Raises:
        StudyError: if it is something else.
    """
    if not file.exists():
        return []
    return [*_parsed(file.read_text(encoding="utf-8").split("\n"), file)]


def row_of(data: dict[str, Any]) -> ContestRow:
    """Return the row that JSON has kept."""
    found = dict(data["found"])
    quality = {int(mark): float(value) for mark, value in found.pop("quality").items()}
    start = tuple(found.pop("start"))
    return ContestRow(**{**data, "found": SearchOutcome(quality=quality, start=start, **found)})


def _parsed(lines: Iterable[str], file: Path) -> Iterable[ContestRow]:
    *whole, _ = lines  # what follows the last end of line was cut
    for number, line in enumerate(whole, start=1):
        try:
            yield row_of(json.loads(line))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            message = f"{file}:{number} is not a row of this benchmark"
            raise StudyError(message, hint="give another --out") from error
