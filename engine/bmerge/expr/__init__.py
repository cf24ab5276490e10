"""A merge method's body as a graph: nodes, tracing, kinds, and what can be known beforehand.

Layer: above dtypes, below :mod:`bmerge.ops`. :mod:`bmerge.expr.eager` and
:mod:`bmerge.expr.evaluate` import torch and are left out here.
"""

from bmerge.expr.clamp import clamped
from bmerge.expr.graph import Graph, Node, call
from bmerge.expr.reduce import reduces_to_input
from bmerge.expr.symbol import Symbol
from bmerge.expr.trace import trace

__all__ = ["Graph", "Node", "Symbol", "call", "clamped", "reduces_to_input", "trace"]
