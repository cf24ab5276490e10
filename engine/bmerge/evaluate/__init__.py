"""Evaluation of a merged model: payloads, pictures, scores.

Only the protocols are re-exported here, because plugins need them and they cost nothing to
import; the rest is imported from its own module.
"""

from bmerge.evaluate.protocols import Generator, MergedModel, Payload, Picture, Scorer

__all__ = ["Generator", "MergedModel", "Payload", "Picture", "Scorer"]
