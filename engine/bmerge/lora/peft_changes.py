"""Changes of networks that PEFT alone writes, some rows of a layer's weight W at a time.

- AdaLoRA: s * B (E * A); s is alpha (r, if that is not above 0) / (r + 1e-5)
- VeRA: (b * B) (d * A), A and B of all layers, as many rows and columns of them as the layer has
- DeLoRA: B diag(lambda / r / ||A_i|| / ||B_i||) A * n, of norms that are at least 1e-4
- MiSS, formerly Bone: row o gets the numbers of column o again and again; of blocks R, W R + R
- HRA: W H - W, where H is the product of reflections I - 2 u u' of unit vectors u, which are made
  orthogonal first if so configured
- BOFT: stages of rotations (I - S) (I + S)^-1 of each row, S = (R - R') / 2; stage i takes halves
  of blocks that are 2^i apart. Rows are then multiplied by s
- FourierFT: s times the real part of the inverse Fourier transform of some numbers, whose places
  are the first of all places that are drawn by the Mersenne Twister
- SHiRA: numbers at places that are stored
- C3A: circulant blocks over the number of columns: each row is the one above, one place further

Sources: Zhang et al., 2023 (AdaLoRA, arXiv:2303.10512); Kopiczko et al., 2023 (VeRA,
arXiv:2310.11454); Bini et al., 2025 (DeLoRA, arXiv:2503.18225); Kang and Yin, 2024 (MiSS,
arXiv:2409.15371); Yuan et al., 2024 (HRA, arXiv:2405.17484); Liu et al., 2023 (BOFT,
arXiv:2311.06243); Gao et al., 2024 (FourierFT, arXiv:2405.03003); Bhardwaj et al., 2024 (SHiRA,
arXiv:2406.13175); Chen et al., 2024 (C3A, arXiv:2407.19342).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bmerge.errors import FormatError
from bmerge.formats import read_bytes
from bmerge.lora.arrays import Array, read_array
from bmerge.lora.modules import Module
from bmerge.lora.peft_shapes import PRODUCTS

__all__ = ["ByRows", "factors_of", "peft_change"]

ByRows: TypeAlias = "Callable[[int, Array], NDArray[Any]]"
"""Gives the change of some rows: the first of them, and what is stored as rows and columns."""
_Wide: TypeAlias = "NDArray[np.float64]"


def peft_change(module: Module, rows: int, columns: int) -> ByRows:
    """Read a layer's tensors and return what changes its rows.

    Args:
        module: a layer of a network that PEFT alone writes.
        rows: of the layer's weight.
        columns: of it, a kernel's places among them.

    Raises:
        FormatError: if a file cannot be read, or its numbers are for no such weight.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return _NETWORKS[module.network](module, rows, columns)


def _wide(module: Module, role: str) -> _Wide:
    return read_array(module.tensors[role]).astype("f8")


def factors_of(module: Module, rows: int, columns: int) -> tuple[_Wide, _Wide]:
    """Return two matrices: their product is the change, or, of HRA, W times it.

    Args:
        module: a layer of a network of :data:`.peft_shapes.PRODUCTS`.
        rows: of the layer's weight.
        columns: of it, a kernel's places among them.

    Raises:
        FormatError: if a file cannot be read.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return _FACTORS[module.network](module, rows, columns)


def _product(module: Module, rows: int, columns: int) -> ByRows:
    left, right = (each.astype("f4") for each in factors_of(module, rows, columns))
    if module.network == "HRA":
        return lambda _, before: before @ left @ right
    return lambda first, before: left[first : first + len(before)] @ right


def _adalora(module: Module, *_: int) -> tuple[_Wide, _Wide]:
    up, down, strengths = (_wide(module, role) for role in ("up", "down", "lora_E"))
    rank, alpha = len(down), None if module.configured is None else module.configured.alpha
    scale = (alpha if alpha and alpha > 0 else rank) / (rank + 1e-5)
    return up * scale, down * strengths.reshape(-1, 1)


def _vera(module: Module, _: int, columns: int) -> tuple[_Wide, _Wide]:
    of_rows, of_ranks = _wide(module, "vera_lambda_b"), _wide(module, "vera_lambda_d")
    up = of_rows[:, None] * _wide(module, "vera_B")[: len(of_rows)]
    return up, of_ranks[:, None] * _wide(module, "vera_A")[:, :columns]


def _delora(module: Module, *_: int) -> tuple[_Wide, _Wide]:
    up, down = _wide(module, "delora_B"), _wide(module, "delora_A")
    norms = [np.maximum(np.linalg.norm(one, axis=axis), 1e-4) for one, axis in ((up, 0), (down, 1))]
    scale = _wide(module, "delora_lambda") / len(down) / (norms[0] * norms[1])
    return up * scale, down * _wide(module, "delora_w_norm")


def _miss(module: Module, _: int, columns: int) -> ByRows:
    block = read_array(module.tensors["miss_block"])
    if block.ndim == 3:
        return _in_blocks(block, columns)
    size, places = block.shape
    again = -(-columns // size)

    def change(first: int, before: Array) -> Array:
        own = block[:, np.arange(first, first + len(before)) % places]
        return np.tile(own.T, again)[:, :columns]

    return change


def _in_blocks(blocks: Array, columns: int) -> ByRows:
    size = blocks.shape[-1]

    def change(first: int, before: Array) -> Array:
        found, done = np.empty_like(before), 0
        while done < len(before):
            own, row = divmod(first + done, size)
            end = min(done + size - row, len(before))
            runs = before[done:end].reshape(-1, columns // size, size)
            added = blocks[own, row : row + end - done, None]
            found[done:end] = (runs @ blocks[own] + added).reshape(end - done, columns)
            done = end
        return found

    return change


def _hra(module: Module, *_: int) -> tuple[_Wide, _Wide]:
    vectors = _wide(module, "hra_u")
    configured = module.configured
    if configured is not None and configured.others.get("apply_GS"):
        left = -2 * (right := _orthonormal(vectors))
    else:
        right = vectors / np.linalg.norm(vectors, axis=0)
        left = -right @ _reflections(right)
    return left, right.T


def _orthonormal(vectors: _Wide) -> _Wide:
    """Return vectors of unit length, each orthogonal to those before it."""
    found = np.empty_like(vectors)
    for index, vector in enumerate(vectors.T):
        rest = vector.copy()
        for before in found[:, :index].T:
            rest -= (before @ rest) * before
        found[:, index] = rest / np.linalg.norm(rest)
    return found


def _reflections(units: _Wide) -> _Wide:
    """Return the triangle T for which the product of I - 2 u u' is I - U T U'."""
    found = np.zeros((units.shape[1],) * 2)
    for index, unit in enumerate(units.T):
        before = units[:, :index]
        found[:index, index] = -2 * found[:index, :index] @ (before.T @ unit)
        found[index, index] = 2
    return found


def _boft(module: Module, _: int, columns: int) -> ByRows:
    wide = _wide(module, "boft_R")
    stages, count, size, _ = wide.shape
    half = (wide - wide.swapaxes(2, 3)) / 2
    try:  # of R - I = -2 S (I + S)^-1 the transpose, since rows are turned
        turns = np.linalg.solve(np.eye(size) - half, 2 * half).astype("f4")
    except np.linalg.LinAlgError as error:
        info = module.tensors["boft_R"]
        message = f"{info.file}: {info.key!r} holds numbers too large for a rotation"
        raise FormatError(message, path=info.file, key=info.key) from error
    places = [_butterfly(columns, size, stage) if stages > 1 else None for stage in range(stages)]
    factors = read_array(module.tensors["boft_s"]).reshape(-1, 1)

    def change(first: int, before: Array) -> Array:
        found = np.zeros_like(before)
        for turn, order in zip(turns, places, strict=True):
            inner = np.empty_like(before)
            inner[:, slice(None) if order is None else order] = before + found
            runs = np.moveaxis(inner.reshape(-1, count, size), 1, 0) @ turn
            turned = np.moveaxis(runs, 0, 1).reshape(before.shape)
            found += turned if order is None else turned[:, order]
        own = factors[first : first + len(before)]
        return own * found + (own - 1) * before

    return change


def _butterfly(columns: int, size: int, stage: int) -> NDArray[np.int64]:
    """Return the place that each input has in a stage: even halves of blocks, then odd ones."""
    run = np.arange(columns).reshape(-1, 2 ** (stage + 1), size // 2)
    order = np.concatenate((run[:, 0::2], run[:, 1::2]), axis=1)
    return order.reshape(-1)


def _fourierft(module: Module, rows: int, columns: int) -> ByRows:
    numbers = _wide(module, "fourierft_spectrum")
    others = module.configured.others if module.configured is not None else {}
    places = _drawn(rows * columns, len(numbers), int(_number(others, "random_loc_seed", 777)))
    scale = _number(others, "scaling", 150.0) / rows
    down, across, numbers = _half(places // columns, places % columns, columns, numbers)
    across, firsts = np.unique(across, return_index=True)
    roots = np.exp(2j * np.pi / rows * np.arange(rows))

    def change(first: int, before: Array) -> Array:
        own = np.arange(first, first + len(before))
        waves = roots[own * down[:, None] % rows] * numbers[:, None]
        spectrum = np.zeros((columns // 2 + 1, len(own)), "c16")
        spectrum[across] = np.add.reduceat(waves, firsts, axis=0)
        return (np.fft.irfft(spectrum, n=columns, axis=0).T * scale).astype("f4")

    return change


def _half(
    down: NDArray[np.int64], across: NDArray[np.int64], columns: int, numbers: _Wide
) -> tuple[NDArray[np.int64], NDArray[np.int64], _Wide]:
    """Return places and numbers of a spectrum's first half that give the same real part.

    A number in the second half is its conjugate in the first. Those that a real transform counts
    twice are halved. They come sorted by their columns.
    """
    is_second = 2 * across > columns
    down, across = np.where(is_second, -down, down), np.where(is_second, columns - across, across)
    is_twice = (across > 0) & (2 * across < columns)
    numbers = np.where(is_twice, numbers / 2, numbers)
    order = np.argsort(across, kind="stable")
    return down[order], across[order], numbers[order]


def _drawn(total: int, count: int, seed: int) -> NDArray[np.int64]:
    """Return the first of all places in the order that torch shuffles them on a CPU."""
    twister = np.random.MT19937()
    twister._legacy_seeding(seed & 0xFFFF_FFFF)  # noqa: SLF001  as torch seeds it
    moved: dict[int, int] = {}
    found = np.empty(count, np.int64)
    for place, drawn in enumerate(twister.random_raw(count)):
        other = place + int(drawn) % (total - place)
        found[place] = moved.get(other, other)
        moved[other] = moved.get(place, place)
    return found


def _shira(module: Module, rows: int, columns: int) -> ByRows:
    info = module.tensors["shira_indices"]
    if info.dtype[0] in "IU":
        kind = f"<{info.dtype[0].lower()}{info.nbytes // info.numel}"
        places = np.frombuffer(read_bytes(info), kind).reshape(info.shape).astype("i8")
    else:  # as PEFT writes them on Windows
        places = read_array(info).astype("i8")
    down, across = places
    if (places < 0).any() or (down >= rows).any() or (across >= columns).any():
        message = f"{info.file}: {info.key!r} names places beyond {rows} x {columns}"
        raise FormatError(message, path=info.file, key=info.key, hint="is it for another model?")
    numbers = read_array(module.tensors["shira_weight"])

    def change(first: int, before: Array) -> Array:
        found = np.zeros_like(before)
        own = (down >= first) & (down < first + len(before))
        np.add.at(found, (down[own] - first, across[own]), numbers[own])
        return found

    return change


def _c3a(module: Module, _: int, columns: int) -> ByRows:
    kernel = read_array(module.tensors["c3a_kernel"]) / np.float32(columns)
    size = kernel.shape[-1]
    places = np.arange(size)

    def change(first: int, before: Array) -> Array:
        block, row = np.divmod(np.arange(first, first + len(before)), size)
        turned = (places - row[:, None]) % size
        return kernel[block[:, None], :, turned].swapaxes(1, 2).reshape(before.shape)

    return change


def _number(others: Mapping[str, Any], key: str, usual: float) -> float:
    number = others.get(key, usual)
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise FormatError(f"adapter_config.json: {key} must be a number, not {number!r}")
    return number


_FACTORS: Mapping[str, Callable[[Module, int, int], tuple[_Wide, _Wide]]] = {
    "AdaLoRA": _adalora,
    "VeRA": _vera,
    "DeLoRA": _delora,
    "HRA": _hra,
}
_NETWORKS: Mapping[str, Callable[[Module, int, int], ByRows]] = {
    **dict.fromkeys(PRODUCTS, _product),
    "MiSS": _miss,
    "BOFT of PEFT": _boft,
    "FourierFT": _fourierft,
    "SHiRA": _shira,
    "C3A": _c3a,
}
