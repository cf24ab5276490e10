"""A merge method's body as a graph: nodes, tracing, kinds, and what can be known beforehand.

Layer: above dtypes, below :mod:`bmerge.ops`. :mod:`bmerge.expr.eager` and
:mod:`bmerge.expr.evaluate` import torch and are left out here.
"""

from bmerge.expr.clamp import clamped
from bmerge.expr.compose import Composition
from bmerge.expr.graph import IDENTITY, Graph, GraphNode, call
from bmerge.expr.kinds import Extent, extent_of
from bmerge.expr.linear import is_linear
from bmerge.expr.reduce import reduces_to_input
from bmerge.expr.seeds import draws, seed_of_key, with_seed
from bmerge.expr.symbol import Symbol
from bmerge.expr.trace import trace

__all__ = [
    "IDENTITY",
    "Composition",
    "Extent",
    "Graph",
    "GraphNode",
    "Symbol",
    "call",
    "clamped",
    "draws",
    "extent_of",
    "is_linear",
    "reduces_to_input",
    "seed_of_key",
    "trace",
    "with_seed",
]
