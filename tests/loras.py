"""LoRA files of every network type, and the changes that they mean, in numpy float64.

The formulas are written from the papers, element by element where that is readable, and not
from bmerge's own code.
"""

from __future__ import annotations

from functools import partial
from itertools import product

import numpy as np

__all__ = [
    "NETWORKS",
    "SHAPES",
    "dora",
    "glora",
    "ia3",
    "low_rank",
    "oft",
    "oft_in_parts",
    "oft_of_inputs",
]


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


def _cayley(block, shrink=1.0):
    q = (block - block.T) * shrink
    one = np.eye(len(q))
    return (one + q) @ np.linalg.inv(one - q)


def _diagonal(blocks):
    """Return a matrix with blocks on its diagonal."""
    size = len(blocks[0])
    whole = np.zeros((len(blocks) * size,) * 2)
    for n, block in enumerate(blocks):
        whole[n * size : (n + 1) * size, n * size : (n + 1) * size] = block
    return whole


def _shrink(blocks, alpha):
    """Return what all Q are multiplied by, so that their norm is no more than alpha times rows."""
    rows = blocks.shape[-3] * blocks.shape[-1]
    norm = np.sqrt(sum(np.sum((b - b.T) ** 2) for b in blocks.reshape(-1, *blocks.shape[-2:])))
    return min(1.0, alpha * rows / norm) if alpha else 1.0


def oft(size, alpha=None, *, rescaled=False):
    """Return a builder of OFT with blocks of a size."""

    def build(rng, base):
        rows = len(base)
        tensors = {"oft_blocks": _draw(rng, rows // size, size, size) / 2}
        blocks = tensors["oft_blocks"].astype("f8")
        if alpha is not None:
            tensors["alpha"] = np.float32(alpha)
        shrink = _shrink(blocks, float(np.float32(alpha or 0)))
        weight = base.reshape(rows, -1).astype("f8")
        after = _diagonal([_cayley(block, shrink) for block in blocks]).T @ weight
        if rescaled:
            tensors["rescale"] = 1 + _draw(rng, rows, *[1] * (base.ndim - 1)) / 4
            after *= tensors["rescale"].reshape(-1, 1)
        return tensors, (after - weight).reshape(base.shape)

    return build


def oft_in_parts(rng, base):
    """Return OFT as kohya's trainer for Flux has it: some rows by blocks, others by others."""
    tensors, changes, alpha = {"alpha": np.float32(0.1)}, [], 0.1
    for number, (begin, end, size) in enumerate(((0, 2, 2), (2, len(base), 4))):
        part, change = oft(size, alpha)(rng, base[begin:end])
        tensors[f"oft_blocks.{number}"] = part["oft_blocks"]
        changes.append(change)
    return tensors, np.concatenate(changes)


def oft_of_inputs(count, size, *, terms=5, bound=0.0, name="oft_R.weight"):
    """Return a builder of PEFT's OFT: inputs turned by R, by its series or (0 terms) exactly."""

    def build(rng, base):
        above = _draw(rng, count, size * (size - 1) // 2) / 4
        weight = base.reshape(len(base), -1).astype("f8")
        turns = []
        for numbers in above.astype("f8"):
            q = np.zeros((size, size))
            q[np.triu_indices(size, 1)] = numbers
            q -= q.T
            if bound:
                q *= min(1, bound / count**0.5 / np.linalg.norm(q))
            one = np.eye(size)
            turn = (one - q) @ np.linalg.inv(one + q)
            if terms:
                powers = [np.linalg.matrix_power(q, n) for n in range(terms)]
                turn = one + 2 * sum(powers[1:-1]) + powers[-1] if terms > 2 else one + 2 * q
            turns.append(turn)
        turns *= weight.shape[1] // (count * size)
        return {name: above}, (weight @ _diagonal(turns).T - weight).reshape(base.shape)

    return build


def ia3(role, *, of_rows):
    """Return a builder of IA3, as PEFT (``ia3_l``) or LyCORIS stores it."""

    def build(rng, base):
        axis = 0 if of_rows else 1
        shape = [1] * base.ndim
        shape[axis] = base.shape[axis]
        numbers = _draw(rng, *shape)
        change = numbers.astype("f8") * base
        if role == "ia3_l":
            return {role: numbers}, change - base
        stored = numbers.reshape(1, -1, *shape[2:]) if base.ndim > 2 else numbers.reshape(-1)
        return {"weight": stored, "on_input": np.int64(not of_rows)}, change

    return build


def _boft(stages, size, alpha=0.0, *, rescaled=False):
    """Return a builder of BOFT: before each stage the rows of two runs are interleaved."""

    def build(rng, base):
        rows = len(base)
        blocks = _draw(rng, stages, rows // size, size, size) / 2
        tensors = {"oft_blocks": blocks, "alpha": np.float32(alpha)}
        shrink = _shrink(blocks.astype("f8"), float(np.float32(alpha)))
        weight = base.reshape(rows, -1).astype("f8")
        after = weight
        for stage in range(stages):
            run = 2**stage * size // 2
            mixed = np.zeros((rows, rows))
            for row in range(rows):
                pair, half, place = row // (2 * run), row // run % 2, row % run
                mixed[pair * 2 * run + 2 * place + half, row] = 1
            turns = [_cayley(block, shrink) for block in blocks[stage].astype("f8")]
            after = mixed.T @ _diagonal(turns) @ mixed @ after
        if rescaled:
            tensors["rescale"] = 1 + _draw(rng, rows, *[1] * (base.ndim - 1)) / 4
            after *= tensors["rescale"].reshape(-1, 1)
        return tensors, (after - weight).reshape(base.shape)

    return build


def glora(rng, base, *, old=False, core=False, rank=3):
    """Return a GLoRA: what is added to each position of a kernel is of all its input channels."""
    rows, columns, *kernel = base.shape
    ones = [1] * len(kernel)
    a1, a2 = _draw(rng, columns, rank, *ones), _draw(rng, rank, columns, *ones)
    b1, b2 = _draw(rng, rows, rank, *ones), _draw(rng, rank, columns, *(ones if core else kernel))
    flat = [each.astype("f8").reshape(len(each), -1) for each in (a1, a2, b1, b2)]
    change = np.einsum("oi...,ij->oj...", base.astype("f8"), flat[0] @ flat[1])
    tensors = {}
    if core:
        tensors["bm.weight"] = _draw(rng, rank, rank, *kernel)
        change += _tucker(flat[2].T, tensors["bm.weight"].astype("f8"), flat[3])
    else:
        change += (flat[2] @ flat[3]).reshape(base.shape)
    named = ("a2", "a1", "b2", "b1") if old else ("a1", "a2", "b1", "b2")
    for name, each in zip(named, (a1, a2, b1, b2), strict=True):
        tensors[f"{name}.weight"] = each
    return {**tensors, "alpha": np.float32(2)}, 2 / rank * change


def _norm(rng, base):
    change = _draw(rng, *base.shape)
    return {"w_norm": change}, change.astype("f8")


def dora(axis, role="dora_scale", names=("lora_up.weight", "lora_down.weight"), alpha=2.0, on=None):
    """Return a builder of DoRA whose lengths are those of rows (0) or of columns (1)."""

    def build(rng, base):
        if on is None:
            tensors, change = low_rank(rng, base.shape, alpha=alpha, names=names)
        else:
            tensors, change = on(rng, base)
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

SHAPES = {
    "linear": (6, 8), "square": (6, 6), "conv": (6, 4, 3, 3), "point": (6, 4, 1, 1), "norm": (6,),
    "eight": (8, 5), "eights": (8, 3, 3, 3),
}  # fmt: skip
"""Kind of layer → shape of its weight."""

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
    "oft": ("linear", oft(3)),
    "oft within its bound": ("linear", oft(2, 100.0)),
    "oft beyond its bound": ("conv", oft(3, 0.1)),
    "oft with a rescale": ("conv", oft(2, 0.0, rescaled=True)),
    "oft of a norm": ("norm", oft(2)),
    "oft in parts": ("linear", oft_in_parts),
    "oft of inputs": ("linear", oft_of_inputs(2, 4)),
    "oft of inputs of a convolution": ("conv", oft_of_inputs(9, 4)),
    "oft of inputs with one block": ("conv", oft_of_inputs(1, 6, name="oft_R.default.weight")),
    "ia3 of rows": ("linear", ia3("ia3_l", of_rows=True)),
    "ia3 of inputs": ("square", ia3("ia3_l", of_rows=False)),
    "ia3 of rows by lycoris": ("conv", ia3("weight", of_rows=True)),
    "ia3 of inputs by lycoris": ("conv", ia3("weight", of_rows=False)),
    "boft": ("eight", _boft(3, 2)),
    "boft of wider blocks": ("eight", _boft(2, 4, 0.05)),
    "boft of a convolution": ("eights", _boft(2, 2, rescaled=True)),
    "glora": ("linear", glora),
    "glora of a square": ("square", glora),
    "glora of a convolution": ("conv", glora),
    "glora with a core": ("conv", partial(glora, core=True)),
    "glora of old": ("linear", partial(glora, old=True)),
    "glora of old of a square": ("square", partial(glora, old=True)),
    "dora of rows": ("linear", dora(0)),
    "dora of columns": ("linear", dora(1)),
    "dora of a square's columns": ("square", dora(1)),
    "dora of a convolution": ("conv", dora(1)),
    "dora on glora": ("conv", dora(0, on=glora)),
    "dora on oft": ("linear", dora(1, on=oft(3))),
    "dora of peft": ("square", dora(0, "lora_magnitude_vector", _PEFT, None)),
}
"""Name → (kind of layer, builder of tensors by role and the change that they mean)."""
