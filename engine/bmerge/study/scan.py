"""What each block does: one model, and the same with one block after the other from another one.

The pictures are the study's own, so each exchange is compared with the model as it is, picture by
picture. They lie in ``scan/`` of the study's folder, and those that are there are not made again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from bmerge.errors import StudyError
from bmerge.records import dataclass
from bmerge.space.protocols import Parameter
from bmerge.study.events import Event
from bmerge.study.painting import Entry, key_of, paint
from bmerge.study.prove import LEAST, check_provable, spread_over_prompts
from bmerge.study.study import PreparedStudy
from bmerge.trials.baselines import model_name
from bmerge.trials.comparison import Comparison, comparison
from bmerge.trials.picture_record import PictureRecord
from bmerge.trials.proof import Contender, ProofStore
from bmerge.trials.race import in_random_order
from bmerge.trials.trial import Trial, best_of

__all__ = ["FOLDER", "Effect", "Scan", "Start", "scan"]

FOLDER = "scan"
Start = Literal["a", "b", "best"]
Point = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Effect:
    """What the exchange of one block, or of a group of blocks, does.

    Args:
        name: of the parameter, or of the simplex, that sets them; where the space does not hold
            the models, with the value that it has instead.
        comparison: with the start; above 0 the exchange is better.
        p: of all exchanges together (Holm): small where no chance among so many makes that.
        score: of the exchange.
        files: id of a picture → its file.
    """

    name: str
    comparison: Comparison
    p: float
    score: float
    files: Mapping[str, Path]


@dataclass(frozen=True, slots=True)
class Scan:
    """What every block does.

    Args:
        start: what the others are compared with: ``model a``, or the best trial.
        score: of the start.
        effects: the best exchange first.
        prompts: id of a picture → its prompt, in the order in which they were painted.
        files: the start's pictures.
        between_models: whether a block was taken from the other model; else a value was moved to
            the end of its range that it was further from.
    """

    start: str
    score: float
    effects: tuple[Effect, ...]
    prompts: Mapping[str, str]
    files: Mapping[str, Path]
    between_models: bool


def scan(
    study: PreparedStudy,
    trials: Mapping[int, Trial],
    start: Start | None,
    pictures: int | None,
    on_event: Callable[[Event], None],
) -> Scan:
    """Paint a merge with each block in turn taken from the other model, and rank what that does.

    Where the space does not hold two models as they are, as that of a merge of steps, each value
    in turn is moved to an end of its range instead.

    Args:
        study: whose models, space, generator, scorers and prompts are used.
        trials: of the study.
        start: model a or b as it is, whose blocks are taken from the other; or the best trial,
            whose blocks are taken from the model that they are further from. None is model a, or
            the best trial where the space does not hold the models.
        pictures: of each merge; None for all of the study's.
        on_event: told of each picture.

    Raises:
        StudyError: if the space does not hold the model to start from, or pictures cannot be
            compared.
    """
    check_provable(study.evaluator.scorers)
    ordered = spread_over_prompts(in_random_order(study.evaluator.payloads, study.seed))
    payloads = ordered[:pictures]
    if len(payloads) < LEAST:
        message = f"{len(payloads)} pictures of each merge tell nothing of a block"
        raise StudyError(message, hint=f"give {LEAST} or more")
    models = _models(study)
    name, point = _start(models, trials, start)
    points = _exchanges(study.search.space.parameters, point, [end for _, end in models])
    base = _entry(study, name, point)
    others = [_entry(study, each, changed) for each, changed in points.items()]
    store = ProofStore(study.folder, FOLDER)
    pairs = [(payload, payload.id) for payload in payloads]
    paint(study, store, [base, *others], pairs, on_event)
    scale = study.objectives.scale(trials)

    def column(entry: Entry) -> list[PictureRecord]:
        records = store.records(entry.contender)
        return [records[payload.id] for payload in payloads]

    def files(entry: Entry) -> dict[str, Path]:
        return {record["id"]: study.folder / record["file"] for record in column(entry)}

    def score(entry: Entry) -> float:
        return math.fsum(scale.shares(column(entry))) / len(payloads)

    found = [comparison(name, scale, column(entry), column(base)) for entry in others]
    effects = [
        Effect(entry.contender.name, each, p, score(entry), files(entry))
        for entry, each, p in zip(others, found, _holm(found), strict=True)
    ]
    effects.sort(key=lambda effect: -effect.comparison.difference)
    prompts = {payload.id: payload.prompt for payload in payloads}
    return Scan(name, score(base), tuple(effects), prompts, files(base), bool(models))


def _start(
    models: Sequence[tuple[str, Point]], trials: Mapping[int, Trial], start: Start | None
) -> tuple[str, Point]:
    """Return the start's name and point."""
    if start in ("a", "b") and not models:
        message = (
            f"the space does not hold model {start} as it is, so no block can be taken from it"
        )
        raise StudyError(message, hint="give --start best")
    if start == "best" or not models:
        own = {n: t for n, t in trials.items() if t.proposal.values}
        if (best := best_of(own)) is None:
            raise StudyError("no trial within the space is complete: there is no best one")
        return f"trial {best.number}", dict(best.proposal.values)
    return models[start == "b"]


def _exchanges(
    parameters: Sequence[Parameter], point: Point, models: Sequence[Point]
) -> dict[str, Point]:
    """Return name → point of each exchange.

    Args:
        parameters: of the space.
        point: of the start.
        models: the points of both; none where values are moved to the ends of their ranges.
    """
    found: dict[str, Point] = {}
    for group, several in _groups(parameters).items():
        names = [p.name for p in several]
        ends = [{n: model[n] for n in names} for model in models] or _ends(several)
        end = max(ends, key=lambda end: sum(abs(end[n] - point[n]) for n in names))
        if any(end[n] != point[n] for n in names):
            found[group if models else _told(group, end)] = {**point, **end}
    if not found:
        raise StudyError("the models differ in no block that is searched")
    return found


def _ends(parameters: Sequence[Parameter]) -> list[Point]:
    """Return the ends of a parameter's range; of a simplex, each of its corners."""
    if parameters[0].simplex is None:
        [p] = parameters
        return [{p.name: p.low}, {p.name: p.high}]
    return [{p.name: float(p is whole) for p in parameters} for whole in parameters]


def _told(group: str, end: Point) -> str:
    """Return what a group is called that has been moved to an end."""
    if len(end) == 1:
        return f"{group} = {end[group]:g}"
    return f"{next(name for name, value in end.items() if value)} = 1"


def _models(study: PreparedStudy) -> list[tuple[str, Point]]:
    """Return the names and points of the first two models as they are; none without both."""
    found: list[tuple[str, Point]] = [
        (f"model {model_name(proposal.model)}", dict(proposal.values))
        for proposal in study.queue
        if proposal.phase == "baseline" and proposal.model is not None and proposal.values
    ]
    return found[:2] if len(found) > 1 else []


def _groups(parameters: Sequence[Parameter]) -> dict[str, list[Parameter]]:
    """Return what is exchanged at a time: a parameter, or all of a simplex; no choices."""
    found: dict[str, list[Parameter]] = {}
    for p in parameters:
        if not p.choices:
            found.setdefault(p.simplex or p.name, []).append(p)
    return found


def _entry(study: PreparedStudy, name: str, point: Point) -> Entry:
    weights = study.search.weights(point)
    return Entry(Contender(key_of(study.merger.recipe(weights)), name), weights)


def _holm(found: Sequence[Comparison]) -> list[float]:
    """Return each p as one of so many (Holm, 1979)."""
    order = sorted(range(len(found)), key=lambda index: found[index].p)
    adjusted, most = [0.0] * len(found), 0.0
    for rank, index in enumerate(order):
        most = max(most, min(1.0, (len(found) - rank) * found[index].p))
        adjusted[index] = most
    return adjusted
