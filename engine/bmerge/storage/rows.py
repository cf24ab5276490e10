"""Between a :class:`~bmerge.trials.trial.Trial` and what a storage holds of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast, get_args

from bmerge.recipe import dump_recipe, parse_recipe
from bmerge.recipe.schema import BlockWeights
from bmerge.space.expected import expected, mapping, number, numbers, text
from bmerge.storage.protocol import StoredTrial
from bmerge.trials.picture_record import PictureRecord
from bmerge.trials.trial import Phase, Proposal, Trial

__all__ = [
    "ATTEMPT",
    "PARKED",
    "finish_attributes",
    "park_attributes",
    "start_attributes",
    "trial_of",
]

PARKED = "parked"
"""Attribute of a running trial: the pictures that it has so far."""

ATTEMPT = "attempt"
"""Attribute of a trial: of its present attempt."""


def start_attributes(proposal: Proposal, token: str) -> dict[str, Any]:
    """Return what is stored with a trial when it starts, beside its parameters."""
    return {
        ATTEMPT: token,
        "phase": proposal.phase,
        "source": proposal.source,
        "asked": proposal.asked,
        "model": proposal.model,
        **({} if proposal.recipe is None else {"recipe": dump_recipe(proposal.recipe)}),
        "weights": {
            name: {
                "default": weights.default,
                "blocks": dict(weights.blocks),
                "keys": dict(weights.keys),
            }
            for name, weights in proposal.weights.items()
        },
    }


def finish_attributes(trial: Trial) -> dict[str, Any]:
    """Return what is stored with a trial when it is finished, beside its score."""
    attributes: dict[str, Any] = {
        "sequence": trial.sequence,
        "asks_before": trial.asks_before,
        "means": dict(trial.means),
        "pictures": [dict(picture) for picture in trial.pictures],
        "seconds": dict(trial.seconds),
    }
    if trial.state == "pruned":
        attributes |= {"variance": trial.variance, "incumbent": trial.incumbent}
    return attributes if trial.reason is None else {**attributes, "reason": trial.reason}


def park_attributes(trial: Trial) -> dict[str, Any]:
    """Return what is stored with a running trial that has pictures."""
    return {
        "means": dict(trial.means),
        "pictures": [dict(picture) for picture in trial.pictures],
        "seconds": dict(trial.seconds),
    }


def trial_of(row: StoredTrial) -> Trial:
    """Return the trial that a storage holds.

    Raises:
        StudyError: if it is not what bmerge stores.
    """
    with expected(f"trial {row.number}"):
        attributes: Mapping[str, Any] = row.attributes
        proposal, state = _proposal(attributes, row.values), row.state
        if state == "failed" and "sequence" not in attributes:
            state = "running"  # another program has ended it
        if state == "running":  # attributes of a finish that was cut short do not count
            token = text(attributes.get(ATTEMPT, ""), ATTEMPT)
            parked = _parked(attributes.get(PARKED, {}))
            return Trial(row.number, state, proposal, token=token, **parked)
        values = [number(value, "score") for value in row.scores]
        reason = attributes.get("reason") if state == "failed" else None
        return Trial(
            number=row.number,
            state=state,
            proposal=proposal,
            score=math.fsum(values) if values else None,
            scores=tuple(values) if len(values) > 1 else (),
            reason=None if reason is None else text(reason, "reason"),
            sequence=number(attributes["sequence"], "sequence"),
            asks_before=number(attributes["asks_before"], "asks_before"),
            **_outcome(attributes),
            **(_pruned(attributes) if state == "pruned" else {}),
        )


def _proposal(attributes: Mapping[str, Any], values: Mapping[str, Any]) -> Proposal:
    phase = attributes["phase"]
    if phase not in get_args(Phase):
        raise ValueError(f"phase is {phase!r}")
    weights = mapping(attributes["weights"], "weights")
    model = attributes.get("model")  # earlier releases had none
    recipe = attributes.get("recipe")
    return Proposal(
        phase=phase,
        source=text(attributes["source"], "source"),
        values=numbers(values, "values"),
        weights={name: _weights(stored, f"weights.{name}") for name, stored in weights.items()},
        asked=bool(attributes["asked"]),
        model=None if model is None else int(number(model, "model")),
        recipe=None if recipe is None else parse_recipe(text(recipe, "recipe")),
    )


def _weights(stored: Any, name: str) -> BlockWeights:
    parts = dict(mapping(stored, name))
    default = number(parts.pop("default"), f"{name}.default")
    return BlockWeights(default, **{key: numbers(part, name) for key, part in parts.items()})


def _parked(stored: Any) -> dict[str, Any]:
    return _outcome(mapping(stored, PARKED)) if stored else {}


def _pruned(stored: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "variance": number(stored["variance"], "variance"),
        "incumbent": int(number(stored["incumbent"], "incumbent")),
    }


def _outcome(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return what came of a trial."""
    return {
        "means": numbers(stored["means"], "means"),
        "pictures": tuple(map(_picture, stored["pictures"])),
        "seconds": numbers(stored["seconds"], "seconds"),
    }


def _picture(stored: Any) -> PictureRecord:
    picture = mapping(stored, "picture")
    for key in ("id", "file"):
        text(picture[key], f"picture.{key}")
    for key in ("seed", "weight"):
        number(picture[key], f"picture.{key}")
    numbers(picture["scores"], "picture.scores")
    return cast("PictureRecord", picture)
