"""truncate_rank, truncate_kronecker: a difference in few numbers, as a LoRA or LoKr holds it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Annotated

from bmerge import Alike, MergeMethod, Range, Weight, hookimpl, ops, tensor_method
from bmerge_plugins.methods._common import Share


@tensor_method
def truncate_rank(
    base: Alike,
    a: Alike,
    *,
    rank: Annotated[float, Range(1, 128, minimum=0)] = 8,
    alpha: Weight = 1.0,
) -> Alike:
    """Add the part of rank r of what a model has learned.

    Formula: base + alpha * the matrix of rank round(rank) that is nearest to a - base, as (dim 0,
        the rest); all of a - base for tensors of one dimension

    What a LoRA of that rank would hold at best: keeps the main directions of a fine-tune and
    drops noise.

    Args:
        base: what a was trained from.
        a: fine-tune of it.
        rank: number of singular values that are kept.
        alpha: how much of the difference.

    Source: truncate_rank of sd-mecha, which estimates the singular vectors; here they are exact.
    """
    delta = a - base
    if delta.ndim < 2:
        return base + alpha * delta
    kept = _truncated(delta.reshape(delta.shape[0], -1), round(rank))
    return base + alpha * kept.reshape(delta.shape)


@tensor_method
def truncate_kronecker(base: Alike, a: Alike, *, ratio: Share = 0.5, alpha: Weight = 1.0) -> Alike:
    """Add the nearest Kronecker product to what a model has learned.

    Formula: base + alpha * kron(x, y), the nearest to a - base for factors whose sizes are chosen
        by ratio; all of a - base for tensors of one dimension. x has m1 * n1 elements, with m1
        and n1 divisors of the sizes of dim 0 and 1; of all such pairs that is taken for which
        ln(m1 * n1) - ln(numel) / 2 is nearest to (2 * ratio - 1) * its greatest absolute value,
        and among equals the one with the most equal factors of dim 0 and 1

    What a LoKr would hold at best.

    Args:
        base: what a was trained from.
        a: fine-tune of it.
        ratio: size of the first factor, from least to greatest.
        alpha: how much of the difference.

    Source: Van Loan & Pitsianis, Approximation with Kronecker products, 1993; truncate_kronecker
    of sd-mecha.
    """
    import torch

    delta = a - base
    if delta.ndim < 2:
        return base + alpha * delta
    (m1, m2), (n1, n2) = _factors(delta.shape, ratio)
    inner = math.prod(delta.shape[2:])
    blocks = delta.reshape(m1, m2, n1, n2 * inner).permute(0, 2, 1, 3)
    nearest = _truncated(blocks.reshape(m1 * n1, m2 * n2 * inner), 1)
    back = nearest.reshape(m1, n1, m2, n2 * inner).permute(0, 2, 1, 3)
    return torch.add(base, back.reshape(delta.shape), alpha=alpha)


def _truncated(matrix: ops.Tensor, rank: int) -> ops.Tensor:
    """Return the nearest matrix of a rank."""
    import torch

    if rank >= min(matrix.shape):
        return matrix
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    return (u[:, :rank] * s[:rank]) @ v[:rank]


def _factors(shape: Sequence[int], ratio: float) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the sizes of both Kronecker factors along dim 0 and along dim 1."""
    half = math.log(math.prod(shape)) / 2
    pairs = [(m, n) for m in _divisions(shape[0]) for n in _divisions(shape[1])]
    sizes = [math.log(m[0] * n[0]) - half for m, n in pairs]
    wanted = (2 * ratio - 1) * max(map(abs, sizes))

    def distance(item: tuple[float, tuple[tuple[int, int], tuple[int, int]]]) -> object:
        size, pair = item
        balance = sum(abs(math.log(first / second)) for first, second in pair)
        return abs(size - wanted), balance

    return min(zip(sizes, pairs, strict=True), key=distance)[1]  # type: ignore[arg-type]


def _divisions(n: int) -> list[tuple[int, int]]:
    return [(d, n // d) for d in range(1, n + 1) if n % d == 0]


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer both methods."""
    return [truncate_rank, truncate_kronecker]
