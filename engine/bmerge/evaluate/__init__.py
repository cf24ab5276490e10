"""Evaluation of a merged model: payloads, pictures, scores.

Only the protocols are re-exported here, because plugins need them and they cost nothing to
import; the rest is imported from its own module.
"""

from bmerge.evaluate.protocols import (
    Exhibit,
    Generator,
    MergedModel,
    Payload,
    Picture,
    Scorer,
    StoredPicture,
    TrialScorer,
)

__all__ = [
    "Exhibit",
    "Generator",
    "MergedModel",
    "Payload",
    "Picture",
    "Scorer",
    "StoredPicture",
    "TrialScorer",
]
