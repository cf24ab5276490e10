"""Between a :class:`~bmerge.study.trial.Trial` and a row of Optuna's storage."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bmerge.recipe.schema import BlockWeights
from bmerge.study.trial import Proposal, Trial, TrialState

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

__all__ = ["PARKED", "finish_attributes", "park_attributes", "start_attributes", "trial_of"]

PARKED = "parked"
"""Attribute of a running trial: its pictures, which wait to be judged."""


def start_attributes(proposal: Proposal) -> dict[str, Any]:
    """Return what is stored with a trial when it starts, beside its parameters."""
    return {
        "phase": proposal.phase,
        "source": proposal.source,
        "asked": proposal.asked,
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
    return attributes if trial.reason is None else {**attributes, "reason": trial.reason}


def park_attributes(trial: Trial) -> dict[str, Any]:
    """Return what is stored with a running trial whose pictures wait to be judged."""
    return {
        "means": dict(trial.means),
        "pictures": [dict(picture) for picture in trial.pictures],
        "seconds": dict(trial.seconds),
    }


def trial_of(row: FrozenTrial) -> Trial:
    """Return the trial that a row holds."""
    attributes: Mapping[str, Any] = row.user_attrs
    state = _state(row)
    proposal = Proposal(
        phase=attributes["phase"],
        source=attributes["source"],
        values=dict(row.params),
        weights={name: BlockWeights(**w) for name, w in attributes["weights"].items()},
        asked=attributes["asked"],
    )
    if state == "running":  # attributes of a finish that was cut short do not count
        parked = attributes.get(PARKED, {})
        parked = {**parked, "pictures": tuple(parked["pictures"])} if parked else {}
        return Trial(row.number, state, proposal, **parked)
    values: Sequence[float] = row.values if state == "complete" else ()
    return Trial(
        number=row.number,
        state=state,
        proposal=proposal,
        score=math.fsum(values) if values else None,
        scores=tuple(values) if len(values) > 1 else (),
        means=attributes["means"],
        pictures=tuple(attributes["pictures"]),
        seconds=attributes["seconds"],
        reason=attributes.get("reason"),
        sequence=attributes["sequence"],
        asks_before=attributes["asks_before"],
    )


def _state(row: FrozenTrial) -> TrialState:
    if not row.state.is_finished():
        return "running"
    return "complete" if row.state.name == "COMPLETE" else "failed"
