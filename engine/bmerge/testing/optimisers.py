"""What every optimiser must do, as a suite that a plugin's tests call.

>>> from bmerge.testing.optimisers import check_optimiser      # doctest: +SKIP
>>> check_optimiser(MY_KIND)                                   # doctest: +SKIP

The built-in optimisers pass it too.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from bmerge.host.kinds import OptimiserKind
from bmerge.space.points import checked_point
from bmerge.space.protocols import Foreseeing, Optimiser, Parameter, Result, Space

__all__ = ["MIXED", "SPACE", "check_optimiser", "score"]

SPACE = Space(
    (
        Parameter("alpha.IN00", 0.0, 1.0),
        Parameter("alpha.M00", -0.5, 1.5),
        Parameter("beta", 0.2, 0.4),
        Parameter("alpha.OUT00", 0.0, 1.0),
    )
)
"""A small space with bounds of several kinds."""

MIXED = Space(
    (
        Parameter("rate", 0.001, 1.0, log=True),
        Parameter("steps", 1.0, 5.0, integer=True),
        Parameter("method", 0.0, 2.0, choices=("one", "two", "three")),
        Parameter("order", 0.0, 1.0, choices=("ab", "ba")),
        Parameter("share.a", 0.0, 1.0, simplex="share"),
        Parameter("share.b", 0.0, 1.0, simplex="share"),
        Parameter("share.c", 0.0, 1.0, simplex="share"),
    )
)
"""Every kind of parameter; an optimiser is held to those that it takes."""

_OPTIMUM = {"alpha.IN00": 0.8, "alpha.M00": 0.1, "beta": 0.25, "alpha.OUT00": 0.5}


def score(values: Mapping[str, float]) -> float:
    """Return the score of a point of :data:`SPACE`: smooth, greatest (1) within the bounds."""
    return 1.0 - sum((values[name] - best) ** 2 for name, best in _OPTIMUM.items())


def check_optimiser(
    kind: OptimiserKind,
    *,
    options: Mapping[str, Any] = {},
    asks: int = 12,
    exact_replay: bool = True,
) -> None:
    """Hold an optimiser to the protocol.

    It must propose points within their bounds, equal ones for equal seeds, after failed trials
    and after pruned ones too, with and without an initial design; and continue after ``replay``
    where it was. Where it takes several objectives, with two of them as well; and so with every
    kind of parameter that it says it takes.

    Args:
        kind: the optimiser.
        options: of the plugin.
        asks: how many proposals are asked for in each part.
        exact_replay: whether it promises the same proposals after an interruption.

    Raises:
        AssertionError: that says which promise was broken.
    """
    for design in (0, 3):
        whole = list(_run(_make(kind, options, asks), asks, design=design))
        _check_bounds(whole)
        again = list(_run(_make(kind, options, asks), asks, design=design))
        assert whole == again, f"{kind.name}: equal seeds gave other proposals"
        _check_replay(kind, options, whole, exact=exact_replay)
    failed = _run(_make(kind, options, asks), asks, design=3, failing={1, 4, 5})
    _check_bounds(list(failed))
    if kind.several_objectives:
        two = list(_run(_make(kind, options, asks), asks, design=3, failing={1, 5}, two=True))
        _check_bounds(two)
        _check_replay(kind, options, two, exact=exact_replay)
    _check_bounds(list(_run(_make(kind, options, asks), 3, design=0, failing={0, 1, 2})))
    _check_kinds(kind, options, asks, exact=exact_replay)


def _make(kind: OptimiserKind, options: Mapping[str, Any], budget: int) -> Optimiser:
    optimiser = kind.create(SPACE, 7, budget, options=options)
    assert isinstance(optimiser, Optimiser), f"{kind.name} lacks ask, tell or replay"
    told = isinstance(optimiser, Foreseeing)
    assert told or not kind.foresees, f"{kind.name} foresees, but lacks expected_gain"
    return optimiser


def _run(
    optimiser: Optimiser,
    asks: int,
    *,
    design: int,
    failing: Collection[int] = (),
    two: bool = False,
) -> Iterator[Result]:
    """Yield the results of ``design`` given points and ``asks`` proposals, told in turn.

    Every third of them is pruned. With ``two`` there is a second objective, the score of the
    point's mirror image; nothing is pruned then.
    """
    for number in range(design + asks):
        proposed = number >= design
        values = dict(optimiser.ask()) if proposed else _point((number + 0.5) / design)
        scores = (score(values), score(_mirrored(values))) if two else (score(values),)
        failed = number in failing
        pruned = number % 3 == 2 and not (failed or two)
        pictures = 5 if pruned else 16
        result = Result(
            number=number,
            values=values,
            score=None if failed else math.fsum(scores),
            scores=scores if two and not failed else (),
            proposed=proposed,
            sequence=number,
            asks_before=max(0, number - design + 1),
            variance=0.01 if pruned else 0.0,
            pictures=pictures,
            pruned=pruned,
            by_picture={} if failed or two else _by_picture(scores[0], pictures),
        )
        optimiser.tell(result)
        yield result


def _by_picture(score: float, pictures: int) -> dict[str, float]:
    """Return what each picture says: the score, and an offset of its own; the 16 sum up to 0."""
    return {f"p{place:02d}": score + (place - 7.5) / 10 for place in range(pictures)}


def _mirrored(values: Mapping[str, float]) -> dict[str, float]:
    return {p.name: p.low + p.high - values[p.name] for p in SPACE.parameters}


def _point(part: float) -> dict[str, float]:
    return {p.name: p.low + part * (p.high - p.low) for p in SPACE.parameters}


def _check_bounds(results: list[Result]) -> None:
    for result in results:
        assert set(result.values) == set(SPACE.names), f"wrong parameters: {result.values}"
        for p in SPACE.parameters:
            value = result.values[p.name]
            message = f"{p.name} = {value!r} is outside [{p.low}, {p.high}]"
            assert math.isfinite(value), message
            assert p.low - 1e-9 <= value <= p.high + 1e-9, message


def _check_replay(
    kind: OptimiserKind, options: Mapping[str, Any], whole: list[Result], *, exact: bool
) -> None:
    """Interrupt at a few places and compare the next proposal."""
    asks = sum(result.proposed for result in whole)
    for cut in range(1, len(whole), max(3, len(whole) // 3)):
        optimiser = _make(kind, options, asks)
        optimiser.replay(whole[:cut])
        if not whole[cut].proposed:
            continue
        proposal = dict(optimiser.ask())
        if exact:
            message = f"{kind.name}: another proposal after the replay of {cut} trials"
            assert proposal == whole[cut].values, message


def _check_kinds(
    kind: OptimiserKind, options: Mapping[str, Any], asks: int, *, exact: bool
) -> None:
    """Let it search a space of all kinds that it takes, and continue after half of that."""
    space = Space(tuple(p for p in MIXED.parameters if p.kind in kind.takes))
    if not space.parameters:
        return
    optimiser = kind.create(space, 7, asks + 1, options=options)
    results: list[Result] = []
    for number in range(asks + 1):
        values = dict(optimiser.ask())
        try:
            checked_point(space, values)
        except ValueError as error:
            raise AssertionError(f"{kind.name} proposed {error}") from error
        found = -math.fsum((values[p.name] - p.low) ** 2 for p in space.parameters)
        results.append(Result(number, values, found, sequence=number, asks_before=number + 1))
        optimiser.tell(results[-1])
    again = kind.create(space, 7, asks + 1, options=options)
    again.replay(results[: asks // 2])
    if exact:
        message = f"{kind.name}: another proposal after the replay of all kinds of parameters"
        assert dict(again.ask()) == results[asks // 2].values, message
