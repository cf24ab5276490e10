"""Git re-basin: a model's channels put into the order of another's, by rule and by its weights."""

from __future__ import annotations

from bmerge.rebasin.match import Alignment, match_weights
from bmerge.rebasin.rule import ChannelRule, FamilyFacts, rule_of
from bmerge.rebasin.structure import Order, best_order
from bmerge.rebasin.write import write_in_order

__all__ = [
    "Alignment",
    "FamilyFacts",
    "Order",
    "ChannelRule",
    "best_order",
    "match_weights",
    "rule_of",
    "write_in_order",
]
