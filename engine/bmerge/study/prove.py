"""Paints merges on fresh pictures, the same for each, so that they can be compared."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace

from bmerge.errors import StudyError
from bmerge.evaluate.payloads import Witnesses
from bmerge.evaluate.protocols import Payload, TrialScorer
from bmerge.evaluate.scoring import WeightedScorer
from bmerge.recipe.schema import Recipe
from bmerge.study.events import Event
from bmerge.study.painting import Entry, Fresh, key_of, paint
from bmerge.study.queue import baselines_of
from bmerge.study.study import PreparedStudy
from bmerge.trials.proof import Contender, Proof, ProofStore, compared
from bmerge.trials.race import in_random_order
from bmerge.trials.trial import Trial, best_of, front_of
from bmerge.trials.winner import winner_of

__all__ = [
    "LEAST",
    "Entry",
    "check_confirmable",
    "check_provable",
    "contenders_of",
    "entry_of",
    "fresh_payloads",
    "outside_entry",
    "prove",
    "share_of",
    "spread_over_prompts",
]

LEAST = 4  # pictures of each contender, for a comparison to mean something
_FEW = 3  # of the best trials
_FRONT = 6  # of a Pareto front
_MOST, _PART = 64, 8  # pictures of a confirmation that nobody has asked for, and of the search's


def contenders_of(
    study: PreparedStudy, trials: Mapping[int, Trial], more: Sequence[Entry]
) -> list[Entry]:
    """Return whom a study's winner is compared with, the winner first; each merge once.

    They are the next best trials, some of the Pareto front, the models as they are and the centre,
    and ``more``, such as a base model.

    Raises:
        StudyError: if no trial is complete.
    """
    rest = dict(trials)
    best: list[Trial] = []
    trial = winner_of(trials, study.objectives)
    while len(best) < _FEW and trial is not None:
        best.append(rest.pop(trial.number))
        trial = best_of(rest)
    if not best:
        raise StudyError("no trial is complete, so there is no winner to prove")
    best += _spread([t for t in front_of(trials) if t not in best])
    baselines = [t for t in rest.values() if t.proposal.phase == "baseline"]
    entries = [entry_of(study, trial) for trial in (*best, *baselines)]
    entries += [outside_entry(name, recipe) for name, recipe in study.rivals.items()]
    found: dict[str, Entry] = {}
    for entry in (*entries, *more):
        found.setdefault(entry.contender.key, entry)
    return list(found.values())


def _spread(front: Sequence[Trial]) -> list[Trial]:
    """Return a few points of a front, from one end of it to the other."""
    ordered = sorted(front, key=lambda trial: trial.scores)
    last = len(ordered) - 1
    places = {round(last * place / (_FRONT - 1)) for place in range(_FRONT)} if ordered else ()
    return [ordered[place] for place in sorted(places)]


def entry_of(study: PreparedStudy, trial: Trial) -> Entry:
    """Return a trial as a contender."""
    proposal = trial.proposal
    name = f"trial {trial.number}"
    if proposal.phase in ("baseline", "try"):
        name += f" ({proposal.source})"
    key = key_of(study.merger.recipe(proposal.merge))
    return Entry(Contender(key, name, proposal.source), proposal.merge)


def outside_entry(name: object, recipe: Recipe) -> Entry:
    """Return a merge that is not a trial as a contender."""
    return Entry(Contender(key_of(recipe), str(name)), recipe)


def share_of(pictures: int | None, painted: int, contenders: int) -> int:
    """Return how many pictures each contender gets.

    Args:
        pictures: for all of them; None for an eighth of those of the search, 64 at most.
        painted: pictures of the search.
        contenders: how many.
    """
    whole = min(_MOST, painted // _PART) if pictures is None else pictures
    return whole // contenders


def fresh_payloads(payloads: Sequence[Payload], count: int, seed: int) -> list[Fresh]:
    """Return fresh payloads, each with the id of the study's payload that it is made of.

    Each has the prompt and the settings of one of the study's and a seed that none of them has.
    The first ones are the same for any ``count``, and of as many prompts as there are: a second
    picture of a prompt says less of two merges than the first one of another.
    """
    ordered = spread_over_prompts(in_random_order(payloads, seed + 1))
    used = {payload.seed for payload in payloads}
    fresh: list[Fresh] = []
    for index in range(count):
        source, turn = ordered[index % len(ordered)], index // len(ordered)
        number = _seed(f"{seed}/{source.id}/{turn}")
        while number in used:
            number = (number + 1) % 2**32
        used.add(number)
        payload = replace(source, id=f"{source.id}-fresh-{turn}", seed=number)
        fresh.append((payload, source.id))
    return fresh


def spread_over_prompts(payloads: Sequence[Payload]) -> list[Payload]:
    """Return the payloads with one of each prompt first, then a second one of each."""
    witnesses = Witnesses.of(payloads)
    seen: Counter[Hashable] = Counter()
    turns = []
    for prompt in (witnesses.prompt(payload.id) for payload in payloads):
        turns.append(seen[prompt])
        seen[prompt] += 1
    return [payloads[place] for place in sorted(range(len(payloads)), key=turns.__getitem__)]


def prove(
    study: PreparedStudy,
    trials: Mapping[int, Trial],
    entries: Sequence[Entry],
    count: int,
    on_event: Callable[[Event], None],
    *,
    settle: bool = True,
) -> Proof:
    """Paint contenders on the same fresh pictures and compare the first with the others.

    Pictures that are there already are not made again.

    Args:
        study: whose generator, scorers and prompts are used.
        trials: of the study, by which scores are normalised.
        entries: two or more contenders.
        count: pictures of each.
        on_event: told of each picture.
        settle: whether the study's report shows this comparison from now on.

    Raises:
        StudyError: if there is one contender or too few pictures, or a scorer judges whole trials.
    """
    check_provable(study.evaluator.scorers)
    if len(entries) < 2:
        message = f"there is no merge to compare {entries[0].contender.name} with"
        raise StudyError(message, hint="name a model, or another trial that has all its pictures")
    if count < LEAST:
        message = f"{count} pictures for each of {len(entries)} merges prove nothing"
        raise StudyError(message, hint=f"give {LEAST * len(entries)} pictures or more")
    store = ProofStore(study.folder)
    fresh = fresh_payloads(study.evaluator.payloads, count, study.seed)
    paint(study, store, entries, fresh, on_event)
    contenders = [entry.contender for entry in entries]
    if settle:
        store.settle(contenders)
    return compared(store, contenders, study.objectives.scale(trials))


def check_provable(scorers: Sequence[WeightedScorer]) -> None:
    """Complain if the scorers of a study cannot compare merges on fresh pictures.

    Raises:
        StudyError: if one with a weight judges whole trials.
    """
    for entry in scorers:
        if entry.weight and isinstance(entry.scorer, TrialScorer):
            message = f"the scorer {entry.label!r} judges whole trials, so nothing can be confirmed"
            raise StudyError(message, hint="set the pictures of confirm to 0")


def check_confirmable(study: PreparedStudy) -> None:
    """Complain, before the first trial, of a confirmation that would prove nothing after the last.

    Raises:
        StudyError: if its pictures are too few for the merges that are known to be compared, or
            :func:`check_provable` complains.
    """
    if not study.confirm:
        return
    check_provable(study.evaluator.scorers)
    baselines = baselines_of(study.queue)
    known = {key_of(study.merger.recipe(proposal.merge)) for proposal in baselines}
    known |= {key_of(recipe) for recipe in study.rivals.values()}
    count = max(2, len(known))
    if study.confirm < LEAST * count:
        message = f"confirm: {study.confirm} pictures for {count} merges or more prove nothing"
        hint = f"give {LEAST * (count + _FEW)}, or 0 for no confirmation"
        raise StudyError(message, hint=hint)


def _seed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
