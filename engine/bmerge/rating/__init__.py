"""A person's answers: which questions are asked, where answers are kept, what scores they give.

Imports errors and evaluate only; a scorer plugin asks here, the web page answers.
"""

from __future__ import annotations

from bmerge.rating.person import PersonScorer
from bmerge.rating.ratings import Ratings

__all__ = ["PersonScorer", "Ratings"]
