"""``python -m bmerge.bench.optimising.worker``: does searches, one line of JSON after the other.

The first line names the plugins and the studies that are replayed; each further one is a search,
and is answered by a line with its row, or with what went wrong. See
:mod:`bmerge.bench.optimising.run`, its only caller.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bmerge.bench.optimising.contest import Contestant, ContestRow
from bmerge.bench.optimising.landscapes import Landscape, landscape
from bmerge.bench.optimising.replay import replay
from bmerge.bench.optimising.search import search
from bmerge.errors import BmergeError
from bmerge.host import Registry, load_registry

__all__ = ["main"]


def main() -> None:
    """Answer line by line until there is no more."""
    given = json.loads(sys.stdin.readline())
    registry = load_registry(given["plugins"], blocked=given["blocked"])
    replays: dict[str, Landscape] = {}
    for line in sys.stdin:
        try:
            job = json.loads(line)
            name = job["landscape"]
            if name in given["studies"] and name not in replays:
                replays[name] = replay(Path(given["studies"][name]))
            place = replays[name] if name in replays else landscape(name, job["seed"])
            answer = asdict(_row(job, place, registry))
        except BmergeError as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)  # noqa: T201 - the answer


def _row(job: dict[str, Any], place: Landscape, registry: Registry) -> ContestRow:
    contestant, seed = Contestant(**job["contestant"]), job["seed"]
    kind = registry.optimiser(contestant.optimiser)
    found = search(
        place,
        lambda *arguments: kind.create(*arguments, options=contestant.options),
        seed,
        contestant.marks(job["pictures"]),
        racing=contestant.racing,
    )
    return ContestRow(contestant.name, job["landscape"], seed, found)


if __name__ == "__main__":
    main()
