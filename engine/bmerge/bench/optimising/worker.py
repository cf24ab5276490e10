"""``python -m bmerge.bench.optimising.worker``: does searches, one line of JSON after the other.

The first line names the plugins; each further one is a search, and is answered by a line with its
row, or with what went wrong. See :mod:`bmerge.bench.optimising.run`, its only caller.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

from bmerge.bench.optimising.contest import Contestant, ContestRow
from bmerge.bench.optimising.landscapes import landscape
from bmerge.bench.optimising.search import search
from bmerge.errors import BmergeError
from bmerge.host import Registry, load_registry

__all__ = ["main"]


def main() -> None:
    """Answer line by line until there is no more."""
    given = json.loads(sys.stdin.readline())
    registry = load_registry(given["plugins"], blocked=given["blocked"])
    for line in sys.stdin:
        try:
            answer = asdict(_row(json.loads(line), registry))
        except BmergeError as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)  # noqa: T201 - the answer


def _row(job: dict[str, Any], registry: Registry) -> ContestRow:
    contestant, name, seed = Contestant(**job["contestant"]), job["landscape"], job["seed"]
    kind = registry.optimiser(contestant.optimiser)
    found = search(
        landscape(name, seed),
        lambda *arguments: kind.create(*arguments, options=contestant.options),
        seed,
        contestant.marks(job["pictures"]),
        racing=contestant.racing,
    )
    return ContestRow(contestant.name, name, seed, found)


if __name__ == "__main__":
    main()
