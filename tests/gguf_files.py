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
        found[name] = words() if kind == 8 else take({4: "I", 5: "i", 6: "f", 10: "Q"}[kind])
    rows = {}
    for _ in range(tensors):
        name, count = words(), take("I")
        extents = [take("Q") for _ in range(count)]
        rows[name] = (tuple(reversed(extents)), take("I"), take("Q"))
    start = -(-at[0] // 32) * 32
    return found, {k: (shape, kind, data[start + at :]) for k, (shape, kind, at) in rows.items()}
