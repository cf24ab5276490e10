"""Scores of one merge on given pictures; kept, so that a proof that was stopped goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from bmerge import BlockWeights, Payload
from bmerge.evaluate.evaluation import Evaluator, ScoredPicture
from bmerge.study.study import PreparedStudy

__all__ = ["score"]


def score(
    study: PreparedStudy,
    weights: Mapping[str, BlockWeights],
    payloads: Sequence[Payload],
    kept: Path,
) -> list[float]:
    """Return the judge's score of every payload, painted by one merge.

    Args:
        study: whose merger, generator and objective are used.
        weights: of the merge.
        payloads: the pictures.
        kept: JSON file that holds the scores; it is used if it is of this very merge, of these
            models and these payloads, and written otherwise.
    """
    made_of = {
        "models": study.definition["merge"]["models"],
        "weights": {
            n: {"default": w.default, "blocks": dict(w.blocks)} for n, w in weights.items()
        },
        "payloads": [asdict(payload) for payload in payloads],
    }
    if kept.is_file():
        stored = json.loads(kept.read_text(encoding="utf-8"))
        if stored["made_of"] == made_of:
            return [float(value) for value in stored["scores"]]
    scores = _evaluate(study, weights, payloads)
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps({"made_of": made_of, "scores": scores}), encoding="utf-8")
    return scores


def _evaluate(
    study: PreparedStudy, weights: Mapping[str, BlockWeights], payloads: Sequence[Payload]
) -> list[float]:
    """Merge into the live model, paint and judge."""
    scored: list[ScoredPicture] = []
    judges = tuple(scorer for scorer in study.evaluator.scorers if scorer.weight)
    evaluator = Evaluator(study.evaluator.generator, judges, tuple(payloads))
    model = study.merger.model(weights)
    try:
        evaluator.evaluate(model, scored.append)
    finally:
        model.close()
    return [one.score for one in scored]
