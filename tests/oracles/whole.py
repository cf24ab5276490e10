"""Methods that sort, transform or factorise a whole tensor."""

from __future__ import annotations

import math

import numpy as np
import scipy.ndimage


def top_k_tensor_sum(a, b, alpha, beta):
    n = a.size
    if not n:
        return a
    offset = beta + alpha if alpha < 0 else beta
    width, offset = min(abs(alpha), 1), math.fmod(offset + 1, 1) if offset < 0 else offset % 1
    inverted = width + offset > 1
    start, stop = offset, width + offset
    if inverted:
        start, stop = width + offset - 1, offset
    values = np.sort(a, axis=None)
    sizes = np.sort(np.abs(a), axis=None)
    low, high = (-1 if k <= 0 else sizes[k - 1] for k in (round(start * n), round(stop * n)))
    out = a.flatten()
    for rank, place in enumerate(np.argsort(b, axis=None, kind="stable")):
        if (low < abs(values[rank]) <= high) != inverted:
            out[place] = values[rank]
    return out.reshape(a.shape)


def distribution_crossover(a, b, c, alpha, beta):
    if a.size <= 1:
        return alpha * a + (1 - alpha) * b
    order = np.argsort(c, axis=None, kind="stable")
    one, other = (np.fft.rfft(x.ravel()[order]) for x in (a, b))
    f = np.arange(one.size) / one.size
    g = np.clip((f - alpha) / beta + 0.5, 0, 1) if beta else (f >= alpha).astype(float)
    out = np.empty(a.size)
    out[order] = np.fft.irfft((1 - g) * one + g * other, a.size)
    return out.reshape(a.shape)


def crossover(a, b, alpha, tilt):
    if not a.size:
        return a
    if a.size == 1 or tilt == 1:
        return (1 - alpha) * a + alpha * b
    one, other = np.fft.rfftn(a), np.fft.rfftn(b)
    lines = []
    for dim, n in enumerate(one.shape):
        if dim == one.ndim - 1 or n == 1:
            lines.append(np.linspace(0, 1, n))
        else:
            half = n // 2
            up, down = np.linspace(0, (n - 1) // 2, n - half), np.linspace(half, 1, half)
            lines.append(np.concatenate([up, down]) / half)
    mesh = np.sqrt(sum(g**2 for g in np.meshgrid(*lines, indexing="ij")) / len(lines))
    inverted = tilt > 2
    alpha, tilt = (1 - alpha, tilt - 2) if inverted else (alpha, tilt)
    if tilt == 0:
        share = (mesh > 1 - alpha).astype(float)
    elif tilt == 2:
        share = (mesh < 1 - alpha).astype(float)
    else:
        cot = 1 / math.tan(math.pi * tilt / 2)
        line = mesh * cot + alpha * cot + alpha - cot if tilt < 1 else (mesh - alpha) * cot + alpha
        share = np.clip(line, 0, 1)
    share = 1 - share if inverted else share
    return np.fft.irfftn((1 - share) * one + share * other, s=a.shape, axes=range(a.ndim))


def smooth_add(a, b, c, alpha):
    if not a.size:
        return a
    median = scipy.ndimage.median_filter(b - c, size=3)
    return a + alpha * scipy.ndimage.gaussian_filter(median, sigma=1)


def tensor_columns(a, b, alpha, beta):
    dim = min(1, a.ndim - 1)
    n = a.shape[dim]
    column = np.arange(n).reshape([-1 if d == dim else 1 for d in range(a.ndim)])
    if alpha == 1:
        return b
    if alpha + beta <= 1:
        return np.where((column >= int(n * beta)) & (column < int(n * (alpha + beta))), b, a)
    return np.where((column >= int(n * (alpha + beta - 1))) & (column < int(n * beta)), a, b)


def truncate_rank(base, a, rank, alpha):
    delta = a - base
    if delta.ndim < 2 or not delta.size:
        return base + alpha * delta
    u, s, v = np.linalg.svd(delta.reshape(len(delta), -1), full_matrices=False)
    s[round(rank) :] = 0
    return base + alpha * (u * s @ v).reshape(delta.shape)


def truncate_kronecker(base, a, ratio, alpha):
    delta = a - base
    if delta.ndim < 2 or not delta.size:
        return base + alpha * delta
    rows, columns, inner = *delta.shape[:2], math.prod(delta.shape[2:])
    half = math.log(delta.size) / 2
    candidates = [
        (m, n) for m in range(1, rows + 1) if rows % m == 0
        for n in range(1, columns + 1) if columns % n == 0
    ]  # fmt: skip
    span = max(abs(math.log(m * n) - half) for m, n in candidates)
    goal = (2 * ratio - 1) * span

    def key(pair):
        m, n = pair
        balance = abs(math.log(m / (rows / m))) + abs(math.log(n / (columns / n)))
        return abs(math.log(m * n) - half - goal), balance

    m, n = min(candidates, key=key)
    p, q = rows // m, columns // n
    blocks = delta.reshape(m, p, n, q, inner)
    table = np.stack([blocks[i, :, j].ravel() for i in range(m) for j in range(n)])
    u, s, v = np.linalg.svd(table, full_matrices=False)
    x, y = (u[:, 0] * s[0]).reshape(m, n), v[0].reshape(p, q, inner)
    return base + alpha * np.einsum("ij,klm->ikjlm", x, y).reshape(delta.shape)


def rotate(a, b, alignment, alpha, centralization):
    """For whole turns, by which neither model leaves the span of its rows."""
    if (alignment, alpha) == (0, 0):
        return a
    if a.ndim < 2 or not a.size:
        return (1 - alpha) * a + alpha * b
    rows = a.shape[0] * a.shape[1] if a.ndim == 4 and a.shape[2] * a.shape[3] > 1 else a.shape[0]
    x, y = a.reshape(rows, -1), b.reshape(rows, -1)
    p, q = x.mean(0) * centralization, y.mean(0) * centralization
    x, y = x - p, y - q
    (to_x, x_part), (to_y, y_part) = (np.linalg.qr(m.T) for m in (x, y))
    u, _, v = np.linalg.svd(x_part @ y_part.T)
    turn = to_x @ u @ v @ to_y.T
    moved = (1 - alpha) * x + alpha * y @ turn.T
    moved = moved @ turn if alignment == 1 else moved
    return (moved + (1 - alignment) * p + alignment * q).reshape(a.shape)
