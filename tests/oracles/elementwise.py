"""Methods whose elements depend on the same element of the models alone."""

from __future__ import annotations

import numpy as np

from oracles.draws import normal


def sum_twice(a, b, c, alpha, beta):
    return (1 - beta) * (1 - alpha) * a + (1 - beta) * alpha * b + beta * c


def triple_sum(a, b, c, alpha, beta):
    return a + alpha * (b - a) + beta * (c - a)


def multiply_difference(a, b, c, alpha, beta):
    size = np.power(np.abs(a - c), 1 - alpha) * np.power(np.abs(b - c), alpha)
    direction = a + beta * (b - a) - c
    return np.where(np.signbit(direction), c - size, c + size)


def similarity_add_difference(a, b, c, alpha, beta):
    out = np.empty_like(a)
    for i in np.ndindex(a.shape):
        x, y, z = a[i], b[i], c[i]
        t = max(abs(x), abs(y))
        s = beta if t == 0 else beta * ((x * y / t**2) + 1) / 2
        out[i] = (1 - s) * (x + alpha * (y - z)) + s * ((1 - alpha / 2) * x + alpha / 2 * y)
    return out


def train_difference(a, b, c, alpha):
    out = a.copy()
    for i in np.ndindex(a.shape):
        near, far = abs(b[i] - c[i]), abs(b[i] - a[i])
        if near + far:
            out[i] += 1.8 * alpha * (b[i] - c[i]) * far / (near + far)
    return out


def add_opposite(a, b, c, alpha):
    apart = np.abs(a - b)
    whole = apart + np.abs(a + b - 2 * c)
    mask = 2 * alpha * np.divide(apart, whole, out=np.zeros_like(a), where=whole != 0)
    return a + (b - c) * mask


def add_strict_opposite(a, b, c, alpha):
    squared = np.maximum(np.abs(a - c), np.abs(b - c)) ** 2
    product = (c - a) * (b - c)
    mask = np.divide(product, squared, out=np.zeros_like(a), where=squared != 0)
    return a + (b - c) * 2 * alpha * np.clip(mask, 0, None)


def geometric_sum(a, b, alpha):
    if alpha in {0, 1}:
        return b if alpha else a
    product = a.astype(complex) ** (1 - alpha) * b.astype(complex) ** alpha
    return np.where((a == 0) | (b == 0), 0, product.real)


def multiply_quotient(a, b, c, alpha):
    out = a.copy()
    for i in np.ndindex(a.shape):
        if not a[i] * b[i] * c[i]:
            continue
        x, y = np.log(abs(a[i] / c[i])), np.log(abs(b[i] / c[i]))
        if x == y == 0:
            continue
        power = alpha * max(0.0, -x * y / max(abs(x), abs(y)) ** 2)
        out[i] = (a[i] * complex(b[i] / c[i]) ** power).real
    return out


def clamp(a, *bounds, stiffness):
    if not bounds:
        return a
    stack = np.stack(bounds)
    mean = sum(bounds) / len(bounds)
    high, low = stack.max(0), stack.min(0)
    near_high = np.where(stack >= mean, stack, np.inf).min(0)
    near_low = np.where(stack <= mean, stack, -np.inf).max(0)
    high, low = (
        (1 - stiffness) * far + stiffness * np.where(np.isfinite(near), near, far)
        for far, near in ((high, near_high), (low, near_low))
    )
    return np.minimum(np.maximum(a, low), high)


def maximum(*models):
    return np.max(models, axis=0)


def sigmoid_sum(a, b, alpha):
    outer, inner = np.exp(4 * alpha), np.exp(alpha)
    return outer / (1 + outer) * (a + b) - inner / (1 + inner) * a


def passthrough(a, scale):
    return a * scale


def add_noise(a, alpha, seed):
    return a + alpha * normal(a.shape, seed)


def nearswap(a, b, t):
    out = a.copy()
    for i in np.ndindex(a.shape):
        w = min(t / max(abs(a[i] - b[i]), 1e-6), 1.0)
        out[i] += w * (b[i] - a[i])
    return out


def linear(*models, weight, normalize=True):
    whole = sum(weight) if normalize and abs(sum(weight)) > 1e-8 else 1
    return np.einsum("i,i...->...", np.asarray(weight) / whole, np.stack(models))


def adjust(a, scale, first, second, third, fourth):
    shifted = scale * a
    for channel, shift in enumerate((first, second, third, fourth)):
        shifted[channel : channel + 1] += shift
    return shifted
