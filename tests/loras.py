"""LoRA files of every network type, and the changes that they mean, in numpy float64.

The formulas are written from the papers, element by element where that is readable, and not
from bmerge's own code.
"""

from __future__ import annotations

from itertools import product

import numpy as np

__all__ = ["NETWORKS", "low_rank"]


def _draw(rng, *shape):
    return rng.normal(size=shape).astype("f4")


def _wide(tensors):
    return {role: np.asarray(array, "f8") for role, array in tensors.items()}


def _tucker(a, core, b):
    """Return the sum over i, j of a[i, p] core[i, j, y, x] b[j, q]."""
    return np.einsum("ip,ijyx,jq->pqyx", a, core, b)


def low_rank(rng, shape, rank=3, alpha=None, names=("lora_up.weight", "lora_down.weight")):
    """Return a LoRA of a linear layer or a convolution: tensors by role, and its change."""
    rows, columns, *kernel = shape
    up, down = _draw(rng, rows, rank, *[1] * len(kernel)), _draw(rng, rank, columns, *kernel)
    tensors = dict(zip(names, (up, down), strict=True))
    scale = 1.0
    if alpha is not None:
        tensors["alpha"] = np.float32(alpha)
        scale = alpha / rank
    change = up.reshape(rows, rank).astype("f8") @ down.reshape(rank, -1).astype("f8")
    return tensors, scale * change.reshape(shape)


def _lora(rng, base):
    return low_rank(rng, base.shape, alpha=1.5)


def _lora_without_alpha(rng, base):
    return low_rank(rng, base.shape)


def _lora_tucker(rng, base):
    rows, columns, *kernel = base.shape
    tensors = {
        "lora_up.weight": _draw(rng, rows, 3, 1, 1),
        "lora_mid.weight": _draw(rng, 3, 2, *kernel),
        "lora_down.weight": _draw(rng, 2, columns, 1, 1),
        "alpha": np.float32(4),
    }
    t = _wide(tensors)
    change = _tucker(
        t["lora_up.weight"][..., 0, 0].T, t["lora_mid.weight"], t["lora_down.weight"][..., 0, 0]
    )
    return tensors, 4 / 2 * change


def _lora_scalar(rng, base):
    tensors, change = low_rank(rng, base.shape, alpha=2)
    return {**tensors, "scalar": np.float32(0.25)}, 0.25 * change


def _loha(rng, base):
    rows, columns = base.shape[0], int(np.prod(base.shape[1:]))
    tensors = {
        f"hada_w{n}_{side}": _draw(rng, *shape)
        for n in (1, 2)
        for side, shape in (("a", (rows, 2)), ("b", (2, columns)))
    }
    t = _wide(tensors)
    change = (t["hada_w1_a"] @ t["hada_w1_b"]) * (t["hada_w2_a"] @ t["hada_w2_b"])
    return {**tensors, "alpha": np.float32(0.5)}, 0.5 / 2 * change.reshape(base.shape)


def _loha_tucker(rng, base):
    rows, columns, *kernel = base.shape
    tensors = {}
    for n in (1, 2):
        tensors[f"hada_w{n}_a"] = _draw(rng, 2, rows)
        tensors[f"hada_w{n}_b"] = _draw(rng, 2, columns)
        tensors[f"hada_t{n}"] = _draw(rng, 2, 2, *kernel)
    t = _wide(tensors)
    first, second = (_tucker(t[f"hada_w{n}_a"], t[f"hada_t{n}"], t[f"hada_w{n}_b"]) for n in (1, 2))
    return {**tensors, "alpha": np.float32(3)}, 3 / 2 * first * second


def _kron(w1, w2, shape):
    """Return the Kronecker product, element by element: the kernel is in w2 alone."""
    a, b = w1.shape
    w2 = w2.reshape(shape[0] // a, shape[1] // b, *shape[2:])
    out = np.empty(shape)
    for i, j, k, m in product(range(a), range(b), range(w2.shape[0]), range(w2.shape[1])):
        out[i * w2.shape[0] + k, j * w2.shape[1] + m] = w1[i, j] * w2[k, m]
    return out


def _lokr(*, first, second):
    """Return a builder of LoKr with each factor whole, as a product, or with a core."""

    def build(rng, base):
        rows, columns, *kernel = base.shape
        tensors, rank = {"alpha": np.float32(5)}, None
        if first == "whole":
            tensors["lokr_w1"] = _draw(rng, 2, 2)
        else:
            tensors |= {"lokr_w1_a": _draw(rng, 2, 3), "lokr_w1_b": _draw(rng, 3, 2)}
            rank = 3
        inner = (rows // 2, columns // 2, *kernel)
        if second == "whole":
            tensors["lokr_w2"] = _draw(rng, *inner)
        elif second == "product":
            rank = 3
            flat = int(np.prod(inner[1:]))
            tensors |= {"lokr_w2_a": _draw(rng, inner[0], 3), "lokr_w2_b": _draw(rng, 3, flat)}
        else:
            rank = 3
            tensors |= {"lokr_w2_a": _draw(rng, 3, inner[0]), "lokr_w2_b": _draw(rng, 3, inner[1])}
            tensors["lokr_t2"] = _draw(rng, 3, 3, *kernel)
        t = _wide(tensors)
        w1 = t["lokr_w1"] if first == "whole" else t["lokr_w1_a"] @ t["lokr_w1_b"]
        if second == "whole":
            w2 = t["lokr_w2"]
        elif second == "product":
            w2 = t["lokr_w2_a"] @ t["lokr_w2_b"]
        else:
            w2 = _tucker(t["lokr_w2_a"], t["lokr_t2"], t["lokr_w2_b"])
        scale = 1.0 if rank is None else 5 / rank
        return tensors, scale * _kron(w1, w2, base.shape)

    return build


def _full(rng, base):
    change = _draw(rng, *base.shape)
    return {"diff": change}, change.astype("f8")


def _norm(rng, base):
    change = _draw(rng, *base.shape)
    return {"w_norm": change}, change.astype("f8")


def _dora(axis, role="dora_scale", names=("lora_up.weight", "lora_down.weight"), alpha=2.0):
    """Return a builder of DoRA whose lengths are those of rows (0) or of columns (1)."""

    def build(rng, base):
        tensors, change = low_rank(rng, base.shape, alpha=alpha, names=names)
        shape = [1] * base.ndim
        shape[axis] = base.shape[axis]
        lengths = np.abs(_draw(rng, *shape)) + 1
        after = base.astype("f8") + change
        others = tuple(i for i in range(base.ndim) if i != axis)
        norm = np.sqrt((after**2).sum(axis=others, keepdims=True))
        stored = lengths.reshape(-1) if role == "lora_magnitude_vector" else lengths
        return {**tensors, role: stored}, lengths.astype("f8") * after / norm - base

    return build


_PEFT = ("lora_B.weight", "lora_A.weight")

NETWORKS = {
    "lora": ("linear", _lora),
    "lora without alpha": ("linear", _lora_without_alpha),
    "lora with a scalar": ("linear", _lora_scalar),
    "locon": ("conv", _lora),
    "locon with a core": ("conv", _lora_tucker),
    "lora of a 1x1 convolution": ("point", _lora),
    "loha": ("linear", _loha),
    "loha of a convolution": ("conv", _loha),
    "loha with cores": ("conv", _loha_tucker),
    "lokr whole": ("linear", _lokr(first="whole", second="whole")),
    "lokr of a convolution": ("conv", _lokr(first="whole", second="whole")),
    "lokr with one product": ("linear", _lokr(first="whole", second="product")),
    "lokr with a product of a kernel": ("conv", _lokr(first="whole", second="product")),
    "lokr with two products": ("linear", _lokr(first="product", second="product")),
    "lokr with a core": ("conv", _lokr(first="product", second="core")),
    "full": ("conv", _full),
    "norm": ("norm", _norm),
    "dora of rows": ("linear", _dora(0)),
    "dora of columns": ("linear", _dora(1)),
    "dora of a square's columns": ("square", _dora(1)),
    "dora of a convolution": ("conv", _dora(1)),
    "dora of peft": ("square", _dora(0, "lora_magnitude_vector", _PEFT, None)),
}
"""Name → (kind of layer, builder of tensors by role and the change that they mean)."""
