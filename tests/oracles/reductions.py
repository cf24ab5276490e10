"""Methods with norms, angles, means or extremes of whole tensors, rows or columns."""

from __future__ import annotations

import numpy as np

from oracles.draws import uniform


def _norm(x):
    return np.sqrt((x * x).sum())


def euclidean_add_difference(a, b, c, alpha):
    x, y = ((m - c) / (_norm(m - c) or 1) for m in (a, b))
    s = (1 - alpha) * a + alpha * b - c
    d = np.sqrt((1 - alpha) * x**2 + alpha * y**2) * np.where(np.signbit(s), -1, 1)
    return c + d / (_norm(d) or 1) * _norm(s)


def add_perpendicular(a, b, c, alpha):
    x, y = a - c, b - c
    if not _norm(x):
        return a
    unit = x / _norm(x)
    return a + alpha * (y - (unit * y).sum() * unit)


def _arc(x, y, t, limit):
    """Mix two vectors along an arc, in the plane that they span."""
    size = _norm(x) * _norm(y)
    cosine = np.clip((x * y).sum() / size, -1, 1) if size else 1.0
    if abs(cosine) > limit:
        return x + t * (y - x)
    angle = np.arctan2(np.sqrt(1 - cosine**2), cosine)
    return (np.sin(angle - t * angle) * x + np.sin(t * angle) * y) / np.sin(angle)


def slerp(a, b, alpha, norms="keep"):
    if norms == "keep":
        return _arc(a, b, alpha, 0.9995)
    size = _norm(a) * _norm(b)
    if not size or abs((a * b).sum() / size) > 0.9995:
        return a + alpha * (b - a)
    direction = _arc(a / _norm(a), b / _norm(b), alpha, 1)
    return direction * ((1 - alpha) * _norm(a) + alpha * _norm(b))


def nuslerp(a, b, alpha, along="tensor"):
    if along == "tensor":
        return _arc(a, b, alpha, 1 - 1e-7)
    axis = -1 if along == "vectors" else 0
    x, y = (np.moveaxis(m, axis, -1) for m in (a, b))
    out = np.empty_like(x)
    for i in np.ndindex(x.shape[:-1]):
        out[i] = _arc(x[i], y[i], alpha, 1 - 1e-7)
    return np.moveaxis(out, -1, axis)


def nuslerp_from_base(base, a, b, alpha, along="tensor"):
    return base + nuslerp(a - base, b - base, alpha, along)


def multislerp(*models, weight, normalize=True):
    """As it is published, with the step in the tangent space."""
    w = np.asarray(weight, dtype=float)
    w = w / w.sum() if normalize and w.sum() else w
    norms = np.array([_norm(m) for m in models])
    units = [m / (n or 1) for m, n in zip(models, norms, strict=True)]
    mean = sum(wi * u for wi, u in zip(w, units, strict=True))
    if _norm(mean) < 1e-8:
        return sum(wi * m for wi, m in zip(w, models, strict=True))
    mean = mean / _norm(mean)
    tangents = [u - (u * mean).sum() * mean for u in units]
    step = sum(wi * t for wi, t in zip(w, tangents, strict=True))
    size = _norm(step) + 1e-300
    return (mean * np.cos(size) + step * np.sin(size) / size) * (w * norms).sum()


def multislerp_from_base(base, *models, weight, normalize=True):
    return base + multislerp(*(m - base for m in models), weight=weight, normalize=normalize)


def karcher(*models, weight):
    """On the tensors themselves, to convergence."""
    w = np.asarray(weight, dtype=float) / sum(weight)
    norms = [_norm(m) for m in models]
    scale = sum(wi * n for wi, n in zip(w, norms, strict=True))
    points = [(wi, m / n) for wi, m, n in zip(w, models, norms, strict=True) if n > 1e-5]
    if not points or not sum(wi for wi, _ in points):
        return np.zeros_like(models[0])
    points = [(wi / sum(v for v, _ in points), u) for wi, u in points]
    mean = sum(wi * u for wi, u in points)
    mean = points[0][1] if _norm(mean) < 1e-5 else mean / _norm(mean)
    for _ in range(10):
        step = np.zeros_like(mean)
        for wi, u in points:
            angle = np.arccos(np.clip((u * mean).sum(), -1, 1))
            if np.sin(angle) >= 1e-5:
                step += wi * angle / np.sin(angle) * (u - np.cos(angle) * mean)
        size = _norm(step)
        if size < 1e-5:
            break
        mean = np.cos(size) * mean + np.sin(size) * step / size
        mean /= _norm(mean)
    return scale * mean


def geometric_median(*models, weight):
    """Weiszfeld's steps on the tensors themselves."""
    w = np.asarray(weight, dtype=float)
    point = sum(wi * m for wi, m in zip(w, models, strict=True)) / w.sum()
    for _ in range(40):
        v = [wi / max(_norm(m - point), 1e-6) for wi, m in zip(w, models, strict=True)]
        point = sum(vi * m for vi, m in zip(v, models, strict=True)) / sum(v)
    return point


def arcee_fusion(base, a):
    if not base.size:
        return base

    def softmax(x):
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True) + 1e-8

    p, q = softmax(a), softmax(base)
    divergence = np.maximum((p * (np.log(p) - np.log(q))).sum(-1, keepdims=True), 0)
    importance = np.abs(a - base) * divergence
    ordered = np.sort(importance, axis=None)
    first, median, third = (ordered[int(f * (ordered.size - 1))] for f in (0.25, 0.5, 0.75))
    return np.where(importance >= median + 1.5 * (third - first), a, base)


def _cosine(x, y, axis):
    dot = (x * y).sum(axis, keepdims=True)
    size = np.sqrt((x * x).sum(axis, keepdims=True) * (y * y).sum(axis, keepdims=True))
    return np.divide(dot, size, out=np.zeros_like(dot), where=size > 0).clip(-1, 1)


def extract(a, b, c, alpha, beta, gamma):
    x, y = b - a, c - a
    d = ((_cosine(x, y, -1) + 1) / 2) ** gamma
    return a + (x + alpha * (y - x)) * ((1 - beta) * d + beta * (1 - d))


def add_cosine_a(a, b, alpha):
    k = 1 - np.clip(_cosine(a, b, 0) - alpha, 0, 1)
    return a + k * (b - a)


def add_cosine_b(a, b, alpha):
    both = (_cosine(a, b, 0) + _cosine(a, b, None)) / 2
    return a + (1 - np.clip(both - alpha, 0, 1)) * (b - a)


def _weighed(a, b, c, alpha, least, greatest):
    span = greatest - least
    k = np.clip((c - least) / span - alpha if span else np.zeros_like(c) - alpha, 0, 1)
    return (1 - k) * b + k * a


def cosine_a(a, b, alpha, least, greatest):
    """As it is published: columns of length 1 first, then both cosines."""
    x, y = (
        np.divide(m, n, out=np.zeros_like(m), where=n > 0)
        for m in (a, b)
        for n in [np.sqrt((m * m).sum(0, keepdims=True))]
    )
    c = (_cosine(x, y, 0) + _cosine(x, y, None)) / 2
    return _weighed(a, b, c, abs(alpha), least, greatest)


def cosine_b(a, b, alpha, least, greatest):
    c = (_cosine(a, b, 0) + _cosine(a, b, None)) / 2
    return _weighed(a, b, c, alpha, least, greatest)


def comparative_interpolation(a, b, alpha, gamma, seed, prefer="near"):
    apart = np.abs(a - b)
    most = apart.max(initial=0)
    if not most:
        return a
    measure = (most - apart if prefer == "near" else apart) / most
    d = measure ** (1 / max(alpha, 0.001) - 1)
    mask = (1 - gamma) * (uniform(a.shape, seed) < d) + gamma * d
    return (1 - mask) * a + mask * b


def weight_sum_cutoff(a, b, alpha, beta, gamma):
    apart = np.abs(a - b)
    most = apart.max(initial=0)
    near = (most - apart) / most if most else np.zeros_like(a)
    n = near.mean(0, keepdims=True) if len(a) else near[:1]
    return np.where((gamma < n) & (n < beta), (1 - alpha) * a + alpha * b, a)
