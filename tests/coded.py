"""Layers of quantised models with values of sense, and what their weights are in float32.

Every decoder here is written for itself, with numpy and torch, from the formats' descriptions.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field

import numpy as np
import torch

X = "blocks.0.attn.proj"
E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)


@dataclass
class Layer:
    """Tensors of a layer: role → (dtype, shape, bytes), and the values of its weight."""

    tensors: dict
    values: np.ndarray
    metadata: dict = field(default_factory=dict)

    def layout(self, name=X):
        return [
            (_key(name, role), dtype, shape) for role, (dtype, shape, _) in self.tensors.items()
        ]

    def contents(self, name=X):
        return {_key(name, role): data for role, (_, _, data) in self.tensors.items()}


def _key(name, role):
    return role.removeprefix("/") if role.startswith("/") else f"{name}.{role}"


def f32(values):
    array = np.asarray(values, "<f4")
    return "F32", array.shape, array.tobytes()


def said(**entries):
    text = json.dumps(entries).encode()
    return "U8", (len(text),), text


def float8(codes, dtype="F8_E4M3"):
    kind = {"F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2}[dtype]
    return torch.from_numpy(codes).view(kind).float().numpy()


def eights(rng, shape, dtype="F8_E4M3"):
    """Return codes of finite 8-bit floats, subnormals and zeros of both signs among them."""
    largest = 0x7F if dtype == "F8_E4M3" else 0x7C
    magnitude = rng.integers(0, largest, shape)
    return (magnitude | rng.integers(0, 2, shape) << 7).astype(np.uint8)


def scales(rng, shape):
    return (0.001 + rng.random(shape)).astype(np.float32)


def tiled(grid):
    """Return a grid of scales in the tiles that cuBLAS takes, padded to whole ones."""
    rows, columns = -(-grid.shape[0] // 128) * 128, -(-grid.shape[1] // 4) * 4
    padded = np.zeros((rows, columns), np.uint8)
    padded[: grid.shape[0], : grid.shape[1]] = grid
    tiles = padded.reshape(rows // 128, 128, columns // 4, 4).transpose(0, 2, 1, 3)
    return tiles.reshape(-1, 4, 32, 4).transpose(0, 2, 1, 3).reshape(rows, columns)


def untiled(tiles):
    """Return the padded grid of tiled scales."""
    rows, columns = tiles.shape
    apart = tiles.reshape(-1, 32, 4, 4).transpose(0, 2, 1, 3)
    return (
        apart.reshape(rows // 128, columns // 4, 128, 4)
        .transpose(0, 2, 1, 3)
        .reshape(rows, columns)
    )


def hadamard(size):
    base = np.array([[1, 1, 1, -1], [1, 1, -1, 1], [1, -1, 1, 1], [-1, 1, 1, 1]]) / 2
    whole = np.ones((1, 1))
    while len(whole) < size:
        whole = np.kron(whole, base)
    return whole


def rotated(values, size):
    """Return rows whose groups of columns are multiplied by the matrix, in float64."""
    groups = values.astype(np.float64).reshape(-1, size) @ hadamard(size)
    return groups.reshape(values.shape)


def packed(low, high):
    return (low | high << 4).astype(np.uint8)


def scaled_fp8(
    rng, shape=(33, 40), dtype="F8_E4M3", scale=(), role="weight_scale", *, marked=False
):
    codes, scale = eights(rng, shape, dtype), scales(rng, scale)
    spread = scale.reshape(scale.shape + (1,) * (codes.ndim - scale.ndim))
    tensors = {"weight": (dtype, shape, codes.tobytes()), role: f32(scale)}
    if marked:
        tensors["/scaled_fp8"] = (dtype, (2,), b"\0\0")
    return Layer(tensors, float8(codes, dtype) * spread)


def by_blocks(rng, shape=(200, 300), role="weight_scale_inv", block=128):
    codes = eights(rng, shape)
    grid = scales(rng, (-(-shape[0] // block), -(-shape[1] // block)))
    spread = np.kron(grid, np.ones((block, block), np.float32))[: shape[0], : shape[1]]
    tensors = {"weight": ("F8_E4M3", shape, codes.tobytes()), role: f32(grid)}
    return Layer(tensors, float8(codes) * spread)


def int8(rng, shape=(33, 48), scale=(33, 1), group=None):
    codes = rng.integers(-127, 128, shape).astype(np.int8)
    scale = scales(rng, scale)
    values = codes.astype(np.float32) * scale
    tensors = {"weight": ("I8", shape, codes.tobytes()), "weight_scale": f32(scale)}
    if group:
        tensors["comfy_quant"] = said(
            format="int8_tensorwise", convrot=True, convrot_groupsize=group
        )
        values = rotated(values, group)
    return Layer(tensors, values)


def w4a4(rng, shape=(17, 64), group=16):
    codes = rng.integers(-7, 8, shape)
    scale = scales(rng, shape[0])
    data = packed(codes[:, 0::2] & 15, codes[:, 1::2] & 15)
    tensors = {
        "weight": ("I8", data.shape, data.tobytes()), "weight_scale": f32(scale),
        "comfy_quant": said(format="convrot_w4a4", params={"convrot_groupsize": group}),
    }  # fmt: skip
    return Layer(tensors, rotated(codes.astype(np.float32) * scale[:, None], group))


def padded(array, multiple):
    """Return a matrix with zeros up to whole tiles."""
    return np.pad(array, [(0, -size % multiple) for size in array.shape])


def mxfp8(rng, shape=(40, 160), *, told=True):
    """Return a layer that is padded to multiples of 32, of whose rows its bias tells."""
    codes = padded(eights(rng, shape), 32)
    powers = rng.integers(100, 130, (codes.shape[0], codes.shape[1] // 32)).astype(np.uint8)
    powers[0, 0] = 0
    factors = np.where(powers > 0, 2.0 ** (powers.astype(np.float64) - 127), 0)
    values = float8(codes) * np.repeat(factors.astype(np.float32), 32, 1)
    grid = tiled(powers)
    tensors = {
        "weight": ("F8_E4M3", codes.shape, codes.tobytes()),
        "weight_scale": ("U8", grid.shape, grid.tobytes()),
    }  # fmt: skip
    if told:
        tensors["bias"] = f32(np.zeros(shape[0]))
    return Layer(tensors, crop(values, shape))


def nvfp4(rng, shape=(144, 96), *, factors=False):
    """Return a layer that is padded to multiples of 16."""
    codes = padded(rng.integers(0, 16, shape), 16)
    numbers = np.where(codes > 7, -1, 1).astype(np.float32) * E2M1[codes & 7]
    grid = eights(rng, (codes.shape[0], codes.shape[1] // 16)) & 0x7F
    of_all = np.float32(0.0123)
    values = crop(numbers * np.repeat(of_all * float8(grid), 16, 1), shape)
    data, grid = packed(codes[:, 1::2], codes[:, 0::2]), tiled(grid)
    tensors = {
        "weight": ("U8", data.shape, data.tobytes()), "weight_scale_2": f32(of_all),
        "weight_scale": ("F8_E4M3", grid.shape, grid.tobytes()),
    }  # fmt: skip
    if factors:
        columns = scales(rng, shape[1])
        tensors["pre_quant_scale"] = f32(columns)
        values = values * columns
    return Layer(tensors, values)


def llm_int8(rng, shape=(33, 40)):
    codes = rng.integers(-127, 128, shape).astype(np.int8)
    greatest = scales(rng, shape[0])
    values = codes.astype(np.float32) * greatest[:, None] * np.float32(1 / 127)
    tensors = {
        "weight": ("I8", shape, codes.tobytes()), "SCB": f32(greatest),
        "weight_format": ("U8", (), b"\0"),
    }  # fmt: skip
    return Layer(tensors, values)


def four_bits(rng, shape=(17, 43), kind="nf4", *, nested=False):
    count = math.prod(shape)
    codes = rng.integers(0, 16, count + count % 2)
    levels = np.sort(rng.standard_normal(16)).astype(np.float32)
    blocks = -(-count // 64)
    data = packed(codes[1::2], codes[0::2])
    state = {"quant_type": kind, "blocksize": 64, "dtype": "float16", "shape": list(shape)}
    tensors = {
        "weight": ("U8", (len(data), 1), data.tobytes()), "weight.quant_map": f32(levels),
    }  # fmt: skip
    if nested:
        bytes_, of_bytes = rng.integers(0, 256, blocks), scales(rng, 256)
        of_blocks = scales(rng, -(-blocks // 4))
        state |= {"nested_blocksize": 4, "nested_dtype": "float32", "nested_offset": 0.25}
        absmax = of_bytes[bytes_] * np.repeat(of_blocks, 4)[:blocks] + np.float32(0.25)
        tensors |= {
            "weight.absmax": ("U8", (blocks,), bytes_.astype(np.uint8).tobytes()),
            "weight.nested_absmax": f32(of_blocks), "weight.nested_quant_map": f32(of_bytes),
        }  # fmt: skip
    else:
        absmax = scales(rng, blocks)
        tensors["weight.absmax"] = f32(absmax)
    tensors[f"weight.quant_state.bitsandbytes__{kind}"] = said(**state)
    values = levels[codes[:count]] * np.repeat(absmax, 64)[:count]
    return Layer(tensors, values.reshape(shape))


def words(numbers, bits, order=None):
    """Pack the columns of a matrix of whole numbers, in an order within each word."""
    each = 32 // bits
    apart = numbers.reshape(len(numbers), -1, each)[:, :, order or range(each)].astype(np.uint32)
    data = np.bitwise_or.reduce(apart << np.arange(0, 32, bits, np.uint32), axis=2)
    return "I32", data.shape, np.ascontiguousarray(data).tobytes()


def gptq(rng, shape=(40, 96), bits=4, *, groups=3, ordered=True, listed=True):
    """Return a layer whose zeros are stored less one, as nearly all files have them."""
    numbers = rng.integers(0, 1 << bits, shape)
    order = np.arange(shape[1]) // (shape[1] // groups)
    order = order if ordered else rng.permutation(order)
    zeros = rng.integers(1, 1 << bits, (groups, shape[0]))
    scale = scales(rng, zeros.shape).astype(np.float16)
    data = np.frombuffer(words(numbers, bits)[2], np.uint32).reshape(shape[0], -1).T
    tensors = {
        "qweight": ("I32", data.shape, np.ascontiguousarray(data).tobytes()),
        "qzeros": words(zeros - 1, bits), "scales": ("F16", scale.shape, scale.tobytes()),
    }  # fmt: skip
    if listed:
        tensors["g_idx"] = ("I32", order.shape, order.astype(np.int32).tobytes())
    values = (numbers - zeros.T[:, order]).astype(np.float32) * scale.T[:, order].astype(np.float32)
    return Layer(tensors, values)


def awq(rng, shape=(40, 96), bits=4, groups=2):
    numbers = rng.integers(0, 1 << bits, shape)
    zeros = rng.integers(0, 1 << bits, (groups, shape[0]))
    scale = scales(rng, zeros.shape).astype(np.float16)
    order = {4: [0, 2, 4, 6, 1, 3, 5, 7], 8: [0, 2, 1, 3]}[bits]
    tensors = {
        "qweight": words(numbers.T, bits, order), "qzeros": words(zeros, bits, order),
        "scales": ("F16", scale.shape, scale.tobytes()),
    }  # fmt: skip
    spread = [np.repeat(each.T, shape[1] // groups, 1) for each in (zeros, scale)]
    return Layer(tensors, (numbers - spread[0]).astype(np.float32) * spread[1].astype(np.float32))


LAYERS = {
    "fp8": scaled_fp8,
    "fp8 of e5m2, scale of one": lambda rng: scaled_fp8(rng, dtype="F8_E5M2", scale=(1,)),
    "fp8 as until 2025": lambda rng: scaled_fp8(rng, role="scale_weight", marked=True),
    "fp8 by rows": lambda rng: scaled_fp8(rng, scale=(33, 1)),
    "fp8 by a module's rows": lambda rng: scaled_fp8(rng, scale=(33,), role="scale.weight"),
    "fp8 by flat rows": lambda rng: scaled_fp8(rng, scale=(33,)),
    "fp8 of a convolution": lambda rng: scaled_fp8(rng, shape=(8, 5, 3, 3), scale=(8, 1, 1, 1)),
    "DeepSeek": by_blocks,
    "fp8 by small blocks": lambda rng: by_blocks(rng, (128, 192), "weight_scale", 64),
    "int8": int8,
    "int8 with one scale": lambda rng: int8(rng, scale=()),
    "ConvRot": lambda rng: int8(rng, group=16),
    "ConvRot of 4 bits": w4a4,
    "mxfp8": mxfp8,
    "nvfp4": nvfp4,
    "nvfp4 with factors": lambda rng: nvfp4(rng, factors=True),
    "LLM.int8": llm_int8,
    "nf4": four_bits,
    "nested fp4": lambda rng: four_bits(rng, kind="fp4", nested=True),
    "GPTQ": gptq,
    "GPTQ by activations": lambda rng: gptq(rng, ordered=False),
    "GPTQ, a byte each": lambda rng: gptq(rng, bits=8, listed=False),
    "GPTQ of two bits": lambda rng: gptq(rng, (32, 64), bits=2, groups=1),
    "AWQ": awq,
    "AWQ, a byte each": lambda rng: awq(rng, bits=8),
}
"""What it is → a layer of it, by a random generator."""


def raw_tensors(path):
    """Return key → (dtype, array of bytes as codes, or of floats) of a file, and its metadata."""
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    metadata = header.pop("__metadata__", {})
    found = {}
    for key, entry in header.items():
        begin, last = (end + at for at in entry["data_offsets"])
        kind = {"F32": "<f4", "F16": "<f2", "I8": "i1", "I32": "<i4", "BF16": "<u2"}.get(
            entry["dtype"], "u1"
        )
        array = np.frombuffer(bytearray(data[begin:last]), kind).reshape(entry["shape"])
        if entry["dtype"] == "BF16":
            array = (array.astype(np.uint32) << 16).view(np.float32)
        found[key] = entry["dtype"], array
    return found, metadata


def weight_in(tensors, name, shape):
    """Read a layer's weight from raw tensors; return its values, and half a step of each.

    The scales of a weight are looked for under any of the names that these have in public.
    """
    dtype, codes = tensors[f"{name}.weight"]
    beside = {key.removeprefix(f"{name}."): entry for key, entry in tensors.items()
              if key.startswith(f"{name}.")}  # fmt: skip
    said = json.loads(bytes(beside["comfy_quant"][1])) if "comfy_quant" in beside else {}
    roles = ("weight_scale", "scale_weight", "weight_scale_inv", "scale.weight")
    kind, scale = next(beside[role] for role in roles if role in beside)
    if dtype == "U8":
        grid = np.repeat(float8(untiled(scale)) * beside["weight_scale_2"][1], 16, 1)
        low, high = codes & 15, codes >> 4
        both = np.stack([high, low], -1).reshape(len(codes), -1)
        numbers = np.where(both > 7, -1, 1) * E2M1[both & 7]
        half = np.select([abs(numbers) < 2, abs(numbers) < 4], [0.25, 0.5], 1.0)
        grid = grid[: len(codes), : numbers.shape[1]]
        return crop(numbers * grid, shape), crop(half * grid, shape)
    if kind in {"U8", "F8_E8M0"}:
        exponents = untiled(scale)[: len(codes), : codes.shape[1] // 32].astype(np.float64)
        grid = np.repeat(np.where(exponents > 0, 2.0 ** (exponents - 127), 0), 32, 1)
    elif scale.ndim == 2 and scale.shape[1] > 1:
        block = -(-codes.shape[1] // scale.shape[1])
        block = 128 if block > 64 else block
        grid = np.kron(scale, np.ones((block, block)))[: codes.shape[0], : codes.shape[1]]
    else:
        grid = scale.reshape(scale.size, *[1] * (codes.ndim - 1)).astype(np.float64)
        grid = np.broadcast_to(grid, codes.shape)
    if dtype == "I8":
        values, half = codes * grid, 0.5 * grid
        if said.get("convrot"):
            size = said["convrot_groupsize"]
            # A rotation spreads the steps of a group: their root mean square is kept.
            return rotated(values, size), half * np.sqrt(size)
        return values, half
    numbers = float8(codes, dtype).astype(np.float64)
    bits, least = (3, 2.0**-10) if dtype == "F8_E4M3" else (2, 2.0**-17)
    half = np.maximum(abs(numbers) * 2.0 ** -(bits + 1), least)
    return crop(numbers * grid, shape), crop(half * grid, shape)


def crop(array, shape):
    return array[tuple(slice(size) for size in shape)]
