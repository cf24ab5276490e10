"""The change that a layer's factors mean, in float32: one function for each network type.

With s = alpha / rank (1 where there is no alpha):

- LoRA, LoCon: s * up @ down; with a core, s * sum of up[p, i] mid[i, j, …] down[j, q]
- LoHa: s * (w1_a @ w1_b) * (w2_a @ w2_b), elementwise
- LoKr: s * kron(w1, w2), each given whole or as a product; s is 1 where both are whole
- full, norm: the difference itself

Sources: Hu et al., 2021 (arXiv:2106.09685); Hyeon-Woo et al., 2021 (FedPara, arXiv:2108.06098);
Yeh et al., 2023 (LyCORIS, arXiv:2309.14859).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bmerge.lora.arrays import Array, flat, read_array
from bmerge.lora.modules import Module
from bmerge.lora.scale import SINGLE, scale_of

__all__ = ["change_of", "tucker"]

_ASIDE = ("diff_b", "b_norm", "up_bias", "dora_scale", "magnitude")
"""Roles that are not part of the change of a weight."""
_LINEAR = ("up", "embedding_up", "hada_w1_a", "lokr_w1", "lokr_w1_a", "diff", "w_norm")
"""The factor that takes the scale: a small one, where there is one."""


def change_of(module: Module, weight: float = 1.0) -> Array:
    """Read a layer's factors and return the change of its weight, as rows and columns.

    Args:
        module: the layer.
        weight: what the change is multiplied by.
    """
    arrays = {
        role: read_array(info)
        for role, info in module.tensors.items()
        if role not in {*SINGLE, *_ASIDE}
    }
    factor = next(role for role in _LINEAR if role in arrays)
    with np.errstate(over="ignore", invalid="ignore"):  # callers refuse what is not finite
        arrays[factor] *= np.float32(weight * scale_of(module))
        return _product(module.network, arrays)


def _product(network: str, arrays: Mapping[str, Array]) -> Array:
    if network == "LoHa":
        return _pair(arrays, "hada_w1", "hada_t1") * _pair(arrays, "hada_w2", "hada_t2")
    if network == "LoKr":
        # A kernel stays innermost, so that it may count as columns of the second factor.
        w1, w2 = _factor(arrays, "lokr_w1", ""), _factor(arrays, "lokr_w2", "lokr_t2")
        return np.kron(flat(w1), flat(w2))
    if "diff" in arrays or "w_norm" in arrays:
        return flat(arrays.get("diff", arrays.get("w_norm", np.empty(0, "f4"))))
    if "embedding_up" in arrays:
        return (flat(arrays["embedding_up"]) @ flat(arrays["embedding_down"])).T
    up, down = flat(arrays["up"]), arrays["down"]
    if "mid" in arrays:
        return tucker(up.T, arrays["mid"], flat(down))
    return up @ flat(down)


def _factor(arrays: Mapping[str, Array], name: str, core: str) -> Array:
    """Return one factor of a LoKr."""
    if name in arrays:
        return arrays[name]
    return _pair(arrays, name, core)


def _pair(arrays: Mapping[str, Array], name: str, core: str) -> Array:
    a, b = flat(arrays[f"{name}_a"]), flat(arrays[f"{name}_b"])
    return tucker(a, arrays[core], b) if core in arrays else a @ b


def tucker(a: Array, core: Array, b: Array) -> Array:
    """Return the sum over i and j of a[i, p] core[i, j, …] b[j, q], as p rows."""
    inner = np.tensordot(core, b, axes=(1, 0))  # i, …, q
    inner = np.moveaxis(inner, -1, 1)
    return a.T @ flat(inner)
