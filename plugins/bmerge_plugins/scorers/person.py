"""The scorer that asks a person: `bmerge rate` shows the pictures in a browser."""

from __future__ import annotations

from collections.abc import Iterable

from bmerge import PersonScorer, ScorerKind, hookimpl


@hookimpl
def bmerge_scorers() -> Iterable[ScorerKind]:
    """Offer the scorer."""
    return [
        ScorerKind(
            "person",
            PersonScorer,
            "what you prefer, asked by `bmerge rate`",
            needs=("numpy", "starlette", "uvicorn"),
        )
    ]
