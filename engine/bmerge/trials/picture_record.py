"""What is stored of one picture of a trial."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

__all__ = ["PictureRecord", "ProofRecord"]


class PictureRecord(TypedDict):
    """One picture, as a study stores and exports it: JSON holds nothing else.

    ``id`` of its payload; ``file``, within the study's folder; ``seed``; ``weight`` of the
    payload; ``scores``, label → number, of the scorers that judge it.
    """

    id: str
    file: str
    seed: int
    weight: float
    scores: Mapping[str, float]


class ProofRecord(PictureRecord):
    """One fresh picture of a proof; ``payload`` is the id of the study's payload it stands for."""

    payload: str
