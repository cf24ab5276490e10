"""rotate: one model turned towards another."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Annotated

from bmerge import MergeMethod, Range, Weight, hookimpl, ops, tensor_method
from bmerge_plugins.methods._common import Share, lerp


@tensor_method(needs=("scipy",))
def rotate(
    a: ops.Tensor,
    b: ops.Tensor,
    *,
    alignment: Annotated[float, Range(0, 1)] = 1.0,
    alpha: Weight = 0.0,
    centralization: Share = 1.0,
) -> ops.Tensor:
    """Turn a towards b by an orthogonal matrix, without changing anything else of it.

    Formula: lerp(x, y Q^T, alpha) Q^alignment + lerp(p, q, alignment), with x = a - p, y = b - q
        as matrices, p and q the means of their rows times centralization, and Q the orthogonal
        matrix that brings x nearest to y (Procrustes); matrices are (dim 0, the rest), and (dim 0
        * dim 1, the rest) for convolutions; lerp(a, b, alpha) for tensors of one dimension, and
        where a and b are equal in half precision

    Moves a's features to where b has them, so that what follows in b's style can be merged.
    alignment = alpha = 0 is a, alignment = alpha = 1 is b.

    Args:
        a: model that is turned.
        b: model that it is turned to.
        alignment: how far; 1 is all the way.
        alpha: how much of what turning cannot change comes from b.
        centralization: how much of the mean is taken off before.

    Source: Schönemann, Orthogonal Procrustes problem, 1966; rotate of sd-mecha, which where there
    are more columns than rows adds what of a is outside the span of b's rows, and so does not
    only turn.
    """
    import torch

    if (alignment, alpha) in {(0, 0), (1, 1)}:
        return a if alpha == 0 else b
    if a.ndim < 2 or torch.allclose(a.half(), b.half()):
        return lerp(a, b, alpha)
    is_convolution = a.ndim == 4 and math.prod(a.shape[2:]) > 1
    rows = math.prod(a.shape[:2]) if is_convolution else a.shape[0]
    x, y = (model.reshape(rows, -1) for model in (a, b))
    p, q = (matrix.mean(0) * centralization for matrix in (x, y))
    turned = _turned(x - p, y - q, alignment, alpha)
    return (turned + lerp(p, q, alignment)).reshape(a.shape)


def _turned(x: ops.Tensor, y: ops.Tensor, power: float, alpha: float) -> ops.Tensor:
    """Return lerp(x, y Q^T, alpha) Q^power."""
    basis = _basis(x, y)
    if basis is not None:
        return _turned(x @ basis, y @ basis, power, alpha) @ basis.mT
    turn = _procrustes(x, y, proper=power != round(power))
    return lerp(x, y @ turn.mT, alpha) @ _power(turn, power)


def _basis(x: ops.Tensor, y: ops.Tensor) -> ops.Tensor | None:
    """Return orthonormal columns that span the rows of both; None if that is no less."""
    import torch

    if 2 * x.shape[0] >= x.shape[1]:
        return None
    return torch.linalg.qr(torch.cat([x, y]).mT).Q


def _procrustes(x: ops.Tensor, y: ops.Tensor, *, proper: bool) -> ops.Tensor:
    """Return the orthogonal Q with the least ||x Q - y||; with determinant 1 if ``proper``."""
    import torch

    u, _, v = torch.linalg.svd(x.mT @ y)
    if proper and torch.linalg.slogdet(u @ v).sign < 0:
        u[:, -1] = -u[:, -1]
    return u @ v


def _power(turn: ops.Tensor, power: float) -> ops.Tensor:
    """Return a power of an orthogonal matrix: the same planes, turned by a part of the angles."""
    import torch
    from scipy import linalg  # type: ignore[import-untyped]

    if power == round(power):
        return torch.linalg.matrix_power(turn, round(power))
    # The Schur form of an orthogonal matrix has turns of planes on its diagonal, and 1 and -1.
    form, basis = linalg.schur(turn.double().cpu().numpy())
    form, basis = torch.from_numpy(form), torch.from_numpy(basis)
    parts = torch.eye(len(form), dtype=torch.float64)
    for i, j, angle in _planes(form):
        c, s = math.cos(power * angle), math.sin(power * angle)
        parts[i, i] = parts[j, j] = c
        parts[i, j], parts[j, i] = -s, s
    return (basis @ parts @ basis.mT).to(turn)


def _planes(form: ops.Tensor) -> Iterator[tuple[int, int, float]]:
    """Yield pairs of coordinates and the angle by which a Schur form turns them."""
    below = form.diagonal(-1).abs() > 1e-9
    paired = {k for i in below.nonzero().flatten().tolist() for k in (i, i + 1)}
    for i in below.nonzero().flatten().tolist():
        yield i, i + 1, math.atan2(form[i + 1, i], form[i, i])
    negative = [i for i in range(len(form)) if i not in paired and form[i, i] < 0]
    for i, j in zip(negative[::2], negative[1::2], strict=False):  # two mirrors are half a turn
        yield i, j, math.pi


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer the method."""
    return [rotate]
