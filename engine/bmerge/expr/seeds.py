"""Seeds as part of a graph, so that the steps of one merge can draw with seeds of their own.

A job's seed follows from its tensor's key. What the user calls a seed moves the streams that a
method draws from: equal graphs then mean equal numbers, whoever else draws beside them.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from bmerge.expr.graph import Graph, GraphNode

__all__ = ["STREAMS", "draws", "seed_of_key", "with_seed"]

STREAMS = 1 << 32
_DRAWING = frozenset({"random_uniform", "random_normal", "call"})
"""Operations whose last constant is a stream."""


@lru_cache(maxsize=1024)
def draws(graph: Graph) -> bool:
    """Tell whether a graph may draw random numbers; a whole-tensor function always may."""
    return not graph.ops.isdisjoint(_DRAWING)


def seed_of_key(key: str, seed: int) -> int:
    """Return a seed of 64 bits that differs from tensor to tensor, and from seed to seed."""
    import hashlib  # it brings OpenSSL, which most merges do not need

    digest = hashlib.blake2b(key.encode(), digest_size=8, key=seed.to_bytes(8, "little"))
    return int.from_bytes(digest.digest(), "little")


@lru_cache(maxsize=1024)
def with_seed(graph: Graph, seed: int) -> Graph:
    """Return a graph that draws its random numbers by another seed; 0 is the one it has."""
    if seed == 0 or not draws(graph):
        return graph
    import hashlib

    digest = hashlib.blake2b(seed.to_bytes(8, "little"), digest_size=4)
    shift = int.from_bytes(digest.digest(), "little")
    return replace(graph, nodes=tuple(_moved(node, shift) for node in graph.nodes))


def _moved(node: GraphNode, shift: int) -> GraphNode:
    if node.op not in _DRAWING:
        return node
    *others, stream = node.constants
    return node._replace(constants=(*others, float((int(stream) + shift) % STREAMS)))
