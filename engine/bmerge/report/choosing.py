"""Which pictures are shown of the many that there are, by rules that the page tells.

Prompts are chosen by their place in the study alone, so that no merge is flattered; the slider has
the pictures that differ most in score, either way, and the one in the middle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from bmerge.records import dataclass
from bmerge.report.data import Candidate, ReportData, Shot

__all__ = ["Group", "Slide", "Source", "common_pictures", "side_by_side", "slides", "top_five"]

Source = Callable[[Shot, int], str]
"""Picture and its longer side in pixels → address; empty for one that cannot be shown."""

_SIDE = 320
_SLIDE = 512


@dataclass(frozen=True, slots=True)
class Group:
    """One prompt and seed, painted by several merges.

    Args:
        prompt: of the pictures.
        seed: of their noise.
        row: merge, its picture and the picture's address.
    """

    prompt: str
    seed: int
    row: tuple[tuple[Candidate, Shot, str], ...]


@dataclass(frozen=True, slots=True)
class Slide:
    """A picture of the better parent and one of the best merge, to be laid over one another.

    Args:
        why: it was chosen.
        parent: the parent's picture.
        best: the best merge's.
        parent_address: of its picture.
        best_address: likewise.
    """

    why: str
    parent: Shot
    best: Shot
    parent_address: str
    best_address: str


def common_pictures(candidates: Sequence[Candidate]) -> list[str]:
    """Return the ids of the payloads that all candidates with pictures have, in their order."""
    shown = [candidate for candidate in candidates if candidate.shots]
    if not shown:
        return []
    return [id_ for id_ in shown[-1].shots if all(id_ in c.shots for c in shown)]


def side_by_side(candidates: Sequence[Candidate], source: Source, most: int) -> Iterator[Group]:
    """Yield up to ``most`` payloads, spread evenly over all, with each candidate's picture of it.

    Args:
        candidates: whose pictures are compared.
        source: of pictures; a payload is left out of which it has not all.
        most: payloads.
    """
    shown = [candidate for candidate in candidates if candidate.shots]
    common = common_pictures(candidates)
    count = min(most, len(common))
    wanted = [common[index * len(common) // count] for index in range(count)]
    found: dict[str, Group] = {}
    for payload in dict.fromkeys((*wanted, *common)):
        row = tuple((c, c.shots[payload], source(c.shots[payload], _SIDE)) for c in shown)
        if all(address for *_, address in row):
            shot = shown[-1].shots[payload]
            found[payload] = Group(shot.prompt, shot.seed, row)
        if len(found) == count:
            break
    yield from (found[payload] for payload in common if payload in found)


def top_five(data: ReportData) -> list[Candidate]:
    """Return the best trials as candidates, the best first."""
    return [
        Candidate(
            "best" if t is data.best else "trial", f"trial {t.number}", t.score or 0.0, t.shots
        )
        for t in data.top
    ]


def slides(data: ReportData, source: Source) -> Iterator[Slide]:
    """Yield the pictures where the best is furthest ahead of the better parent, and behind it."""
    parents = [candidate for candidate in data.candidates if candidate.role == "parent"]
    if not parents or data.candidates[-1].role != "best":
        return
    parent, best = max(parents, key=lambda each: each.score), data.candidates[-1]
    both = [
        (best.shots[i].score - shot.score, i) for i, shot in parent.shots.items() if i in best.shots
    ]
    ordered = [id_ for _, id_ in sorted(both, key=lambda each: -each[0])]
    last = len(ordered) - 1
    places = {last: "least gain", (last + 1) // 2: "in the middle", 0: "greatest gain"}
    for place, why in reversed(places.items()) if ordered else ():
        one, other = parent.shots[ordered[place]], best.shots[ordered[place]]
        addresses = source(one, _SLIDE), source(other, _SLIDE)
        if all(addresses):
            yield Slide(why, one, other, *addresses)
