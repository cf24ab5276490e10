"""Methods over differences to a base: sparsify, weigh, vote, add."""

from __future__ import annotations

import numpy as np

from oracles import reductions
from oracles.draws import uniform


def _mix(base, deltas, weight, normalize, scale, vote=None):
    stack = np.stack([w * d for w, d in zip(weight, deltas, strict=True)])
    take = np.ones_like(stack, dtype=bool)
    if vote == "sum":
        elected = np.where(stack.sum(0) >= 0, 1, -1)
        take = np.sign(stack) == elected
    elif vote == "count":
        elected = np.sign(np.sign(stack).sum(0))
        take = (np.sign(stack) == elected) & (stack != 0)
    merged = (stack * take).sum(0)
    if normalize:
        weights = np.einsum("i,i...->...", np.asarray(weight, dtype=float), take)
        merged = merged / np.where(np.abs(weights) < 1e-8, 1, weights)
    return base + scale * merged


def add(a, *differences, weight):
    return a + sum(w * x for w, x in zip(weight, differences, strict=True))


def task_arithmetic(base, *models, weight, scale, normalize=False):
    return _mix(base, [m - base for m in models], weight, normalize, scale)


def _trim(delta, density):
    keep = int(density * delta.size)
    if not keep:
        return np.zeros_like(delta)
    least = np.sort(np.abs(delta), axis=None)[delta.size - keep]
    return delta * (np.abs(delta) >= least)


def ties(base, *models, weight, density, scale, normalize=True, vote="sum"):
    deltas = [_trim(m - base, d) for m, d in zip(models, density, strict=True)]
    return _mix(base, deltas, weight, normalize, scale, vote)


def ties_add_difference(a, b, c, alpha, beta):
    deltas = []
    for delta in (a - c, b - c):
        if not delta.size:
            return c
        k = max(int((1 - beta) * delta.size), 1)
        kth = np.sort(np.abs(delta), axis=None)[k - 1]
        deltas.append(np.where(np.abs(delta) >= kth, delta, 0))
    return _mix(c, deltas, [1, 1], normalize=True, scale=alpha, vote="count")


def _rescale(delta, kept, probability, rescale):
    if rescale == "probability":
        return np.divide(kept, probability, out=np.zeros_like(kept), where=kept != 0)
    if rescale == "l1" and np.abs(kept).sum():
        return kept * (np.abs(delta).sum() / np.abs(kept).sum())
    return kept


def _dare(base, models, density, rescale, seed):
    for stream, (model, p) in enumerate(zip(models, density, strict=True)):
        delta = model - base
        kept = np.where(uniform(delta.shape, seed, stream) < p, delta, 0)
        yield _rescale(delta, kept, np.full_like(kept, p), rescale)


def dare_linear(base, *models, weight, density, scale, seed, normalize=False, rescale=None):
    deltas = list(_dare(base, models, density, rescale or "probability", seed))
    return _mix(base, deltas, weight, normalize, scale)


def dare_ties(
    base, *models, weight, density, scale, seed, normalize=False, rescale=None, vote="sum"
):
    deltas = list(_dare(base, models, density, rescale or "probability", seed))
    return _mix(base, deltas, weight, normalize, scale, vote)


def _breadcrumbs(delta, density, gamma):
    n = delta.size
    target, top = int(density * n), int(gamma * n)
    bottom = n - target - top
    if bottom < 0:
        top, bottom = top + bottom, 0
    if not target:
        return np.zeros_like(delta)
    ordered = np.sort(np.abs(delta), axis=None)[bottom : n - top]
    size = np.abs(delta)
    return delta * ((size >= ordered[0]) & (size <= ordered[-1]))


def breadcrumbs(base, *models, weight, density, gamma, scale, normalize=False, vote=None):
    triples = zip(models, density, gamma, strict=True)
    deltas = [_breadcrumbs(m - base, d, g) for m, d, g in triples]
    return _mix(base, deltas, weight, normalize, scale, vote)


def breadcrumbs_ties(base, *models, vote="sum", **parameters):
    return breadcrumbs(base, *models, vote=vote, **parameters)


def _della(base, models, density, epsilon, rescale, seed):
    for stream, (model, p, spread) in enumerate(zip(models, density, epsilon, strict=True)):
        delta = model - base
        rows = delta.reshape(len(delta) if delta.ndim > 1 else 1, -1)
        ranks = np.empty_like(rows)
        for row, values in enumerate(rows):
            order = np.argsort(np.abs(values), kind="stable")
            ranks[row, order] = (
                np.arange(len(values)) / (len(values) - 1) if order.size > 1 else 0.5
            )
        keep = np.clip(p + spread * (2 * ranks - 1), 0, 1).reshape(delta.shape)
        keep = np.ones_like(keep) if p >= 1 else keep
        kept = np.where(uniform(delta.shape, seed, stream) < keep, delta, 0)
        yield _rescale(delta, kept, keep, rescale)


def della_linear(
    base, *models, weight, density, epsilon, scale, seed, normalize=False, rescale=None, vote=None
):
    if not base.size:
        return base
    deltas = list(_della(base, models, density, epsilon, rescale or "probability", seed))
    return _mix(base, deltas, weight, normalize, scale, vote)


def della(base, *models, normalize=True, vote="sum", **parameters):
    return della_linear(base, *models, normalize=normalize, vote=vote, **parameters)


def dropout(base, *models, alpha, probability, rescale, seed, overlap="independent"):
    n, keep = len(models), 1 - probability
    total, count = np.zeros_like(base), np.zeros_like(base)
    shared = uniform(base.shape, seed)
    for i, model in enumerate(models):
        mask = {
            "independent": uniform(base.shape, seed, i) < keep,
            "shared": shared < keep,
            "disjoint": (shared >= keep * i / n) & (shared < keep * (i + 1) / n),
        }[overlap]
        total[mask] += (model - base)[mask]
        count += mask
    if probability == 1:
        return base
    return base + alpha * total / np.maximum(count, 1) / keep**rescale


def model_stock(base, *models, filter_wise=False):
    deltas = [m - base for m in models]
    n = len(deltas)
    axis = -1 if filter_wise else None
    cosines = []
    for i in range(n):
        for j in range(i):
            dot = (deltas[i] * deltas[j]).sum(axis=axis, keepdims=True)
            squares = [(d**2).sum(axis=axis, keepdims=True) for d in (deltas[i], deltas[j])]
            size = np.sqrt(squares[0] * squares[1])
            cosines.append(np.where(size > 0, dot / np.where(size > 0, size, 1), 0))
    c = np.clip(sum(cosines) / len(cosines), -1, 1)
    return base + n * c / (1 + (n - 1) * c) * sum(deltas) / n


def sce(base, *models, select_topk):
    deltas = np.stack([m - base for m in models])
    if not base.size:
        return base
    if select_topk < 1:
        variance = deltas.var(0)
        k = int(np.count_nonzero(variance) * select_topk)
        least = np.sort(variance, axis=None)[-k] if k else np.inf
        deltas = deltas * (variance >= least)
    sizes = [np.mean(d**2) for d in deltas]
    weight = np.array(sizes) / sum(sizes) if sum(sizes) else np.full(len(sizes), 1 / len(sizes))
    elected = np.where(deltas.sum(0) >= 0, 1, -1)
    erased = np.einsum("i,i...->i...", weight, np.sign(deltas) == elected)
    whole = erased.sum(0)
    return base + (deltas * erased).sum(0) / np.where(whole == 0, 1, whole)


def ram(base, *models, epsilon, r=0.0, alpha=0.0):
    deltas = [m - base for m in models]
    moved = [np.abs(d) > np.float32(epsilon) for d in deltas]
    count = sum(m.astype(int) for m in moved)
    out = base.copy()
    for delta, here in zip(deltas, moved, strict=True):
        shared, unique = (here & (count > 1)).sum(), (here & (count == 1)).sum()
        factor = 1 + r * min(shared / (max(unique, epsilon) or 1), alpha)
        out += np.where(here & (count == 1), factor * delta, 0)
        out += np.where(here & (count > 1), delta / np.maximum(count, 1), 0)
    return out


ramplus_tl = ram


def _means(deltas, density, mean, vote):
    deltas = np.stack([_trim(d, density) for d in deltas])
    signs = np.sign(deltas)
    elected = np.sign((signs if vote == "count" else deltas).sum(0))
    if vote == "sum":
        elected = np.where(deltas.sum(0) >= 0, 1, -1)
    take = (signs == elected) & (signs != 0)
    kept = deltas * take
    if mean == "median":
        return reductions.geometric_median(*kept, weight=[1] * len(kept))
    merged = kept.sum(0) / np.maximum(take.sum(0), 1)
    if mean == "plain":
        return merged
    zero = np.zeros_like(merged)
    stock = model_stock(zero, *kept, filter_wise=True)  # t times the mean over all of them
    return merged * np.divide(stock, kept.mean(0), out=zero, where=kept.mean(0) != 0)


def ties_extended(base, *models, density, scale, mean="stock", vote="count"):
    return base + scale * _means([m - base for m in models], density, mean, vote)


def ties_with_dropout(
    base, *models, probability, epsilon, density, scale, seed, rescale=True, mean="plain",
    vote="count",
):  # fmt: skip
    if probability == 1 or not base.size:
        return base
    left, n = [], base.size
    for i, model in enumerate(models):
        delta = model - base
        rank = 1 + np.argsort(np.argsort(np.abs(delta), axis=None, kind="stable"))
        spread = (rank / n - (n + 1) / (2 * n)).reshape(base.shape) * epsilon
        left.append(delta * (uniform(base.shape, seed, i) < 1 - probability + spread))
    factor = scale / (1 - probability) if rescale else scale
    return base + factor * _means(left, density, mean, vote)
