"""GGUF files by hand, from the container's specification: written and read back."""

from __future__ import annotations

import struct

import numpy as np

F32, F16, Q4_0, Q8_0, BF16 = 0, 1, 2, 8, 30


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def pair(name, kind, value):
    formats = {4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q"}
    data = text(value) if kind == 8 else value if kind == 9 else struct.pack(formats[kind], value)
    return text(name) + struct.pack("<I", kind) + data


def row(name, shape, kind, offset):
    extents = tuple(reversed(shape))
    sizes = struct.pack(f"<I{len(extents)}Q", len(extents), *extents)
    return text(name) + sizes + struct.pack("<IQ", kind, offset)


def gguf(tensors, pairs=(), *, version=3, alignment=32):
    """Return a file of (name, shape, type, bytes)."""
    rows, data = [], b""
    for name, shape, kind, content in tensors:
        data += bytes(-len(data) % alignment)
        rows.append(row(name, shape, kind, len(data)))
        data += content
    header = b"GGUF" + struct.pack("<IQQ", version, len(rows), len(pairs))
    header += b"".join((*pairs, *rows))
    return header + bytes(-len(header) % alignment) + data


def q8_0(values):
    """Return rows of 32 in blocks: a scale and as many signed bytes."""
    blocks = values.reshape(-1, 32).astype("f4")
    scales = np.abs(blocks).max(axis=1) / 127
    codes = np.rint(blocks / np.where(scales, scales, 1)[:, None]).astype("i1")
    parts = zip(scales.astype("<f2"), codes, strict=True)
    return b"".join(scale.tobytes() + code.tobytes() for scale, code in parts)


def q8_0_values(data, shape):
    raw = np.frombuffer(data, "u1").reshape(-1, 34)
    scales = raw[:, :2].copy().view("<f2").astype("f4")
    return (scales * raw[:, 2:].view("i1").astype("f4")).reshape(shape)


def read(data):
    """Return the pairs and tensors of a file: name → (shape, type, bytes from its start on)."""
    at = [0]

    def take(form):
        values = struct.unpack_from("<" + form, data, at[0])
        at[0] += struct.calcsize("<" + form)
        return values if len(values) > 1 else values[0]

    def words():
        length = take("Q")
        at[0] += length
        return data[at[0] - length : at[0]].decode()

    assert data[:4] == b"GGUF"
    at[0] = 4
    _, tensors, pairs = take("IQQ")
    found = {}
    for _ in range(pairs):
        name, kind = words(), take("I")
        if kind == 9:  # of 32 bits
            form = {4: "I", 5: "i", 6: "f"}[take("I")]
            found[name] = [take(form) for _ in range(take("Q"))]
        else:
            found[name] = words() if kind == 8 else take({4: "I", 5: "i", 6: "f", 10: "Q"}[kind])
    rows = {}
    for _ in range(tensors):
        name, count = words(), take("I")
        extents = [take("Q") for _ in range(count)]
        rows[name] = (tuple(reversed(extents)), take("I"), take("Q"))
    start = -(-at[0] // 32) * 32
    return found, {k: (shape, kind, data[start + at :]) for k, (shape, kind, at) in rows.items()}


BLOCKS = {"Q4_0": (2, 32, 18), "Q4_1": (3, 32, 20), "Q5_0": (6, 32, 22), "Q5_1": (7, 32, 24),
          "Q8_0": (8, 32, 34), "Q4_K": (12, 256, 144), "Q5_K": (13, 256, 176),
          "Q6_K": (14, 256, 210)}  # fmt: skip
"""Name of a type → its number, elements and bytes of a block."""


def halves(raw, at):
    return np.ascontiguousarray(raw[:, at : at + 2]).view("<f2").astype("f4")


def nibbles(raw):
    """Return lower halves of bytes, then their upper ones."""
    return np.concatenate([raw & 15, raw >> 4], axis=-1)


def simple_values(kind, raw):
    """Return the values of blocks of 32, by the formulas of the types."""
    d = halves(raw, 0)
    if kind == "Q8_0":
        return d * raw[:, 2:].view("i1")
    begin = 2 + 2 * kind.endswith("1")
    codes = nibbles(raw[:, -16:])
    if "5" in kind:
        codes = codes | np.unpackbits(raw[:, begin : begin + 4], axis=1, bitorder="little") << 4
    if kind.endswith("1"):
        return d * codes + halves(raw, 2)
    return d * (codes.astype("f4") - 2 ** (int(kind[1]) - 1))


def sixes(packed):
    """Return scales and minima of six bits from twelve bytes of each block."""
    low, high, both = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    scales = np.concatenate([low & 63, both & 15 | low >> 6 << 4], axis=1)
    return scales, np.concatenate([high & 63, both >> 4 | high >> 6 << 4], axis=1)


def block_values(kind, data, shape):
    """Return the values of blocks in float32, by a decoder of the tests' own."""
    _, elements, size = BLOCKS[kind]
    raw = np.frombuffer(data, "u1").reshape(-1, size)
    if elements == 32:
        return simple_values(kind, raw).reshape(shape)
    if kind == "Q6_K":
        four = nibbles(raw[:, :128].reshape(-1, 2, 64)).reshape(-1, 256)
        twos = raw[:, 128:192].reshape(-1, 2, 1, 32) >> np.array([0, 2, 4, 6])[:, None] & 3
        codes = (four | twos.reshape(-1, 256).astype("u1") << 4).astype("f4") - 32
        scales = np.repeat(halves(raw, 208) * raw[:, 192:208].view("i1"), 16, axis=1)
        return (scales * codes).reshape(shape)
    scales, minima = sixes(raw[:, 4:16])
    codes = nibbles(raw[:, -128:].reshape(-1, 4, 32)).reshape(-1, 8, 32)
    if kind == "Q5_K":
        fifths = raw[:, 16:48].reshape(-1, 1, 32) >> np.arange(8)[:, None] & 1
        codes = codes | fifths << 4
    scaled = (halves(raw, 0) * scales)[:, :, None] * codes.astype("f4")
    return (scaled - (halves(raw, 2) * minima)[:, :, None]).reshape(shape)
