"""Files that say of their quantised weights what is not so: one line of error, or right sizes."""

from __future__ import annotations

import json
import math
import random

import numpy as np
import pytest

from bmerge import _native
from bmerge.dtypes import SIZES
from bmerge.errors import FormatError
from bmerge.formats import CodedTensor, decoded, open_checkpoint, quantised_weights, values_of
from coded import LAYERS, X
from quantised import write_layout

DTYPES = ["F8_E4M3", "F8_E5M2", "U8", "I8", "I32", "F16", "F8_E8M0", "F32", "BF16", "F64"]
ROLES = ["weight_scale", "scale_weight", "weight_scale_inv", "scale", "weight_scale_2", "SCB",
         "input_scale", "pre_quant_scale", "weight_format", "weight_zero_point", "bias",
         "weight.absmax", "weight.quant_map", "weight.nested_absmax", "comfy_quant",
         "weight.nested_quant_map"]  # fmt: skip
TOLD = ["format", "convrot", "convrot_groupsize", "params", "quant_type", "blocksize", "dtype",
        "shape", "nested_blocksize", "nested_offset"]  # fmt: skip
FORMATS = ["float8_e4m3fn", "mxfp8", "nvfp4", "int8_tensorwise", "convrot_w4a4", "asym_w4a8_int8"]
ANYTHING = [None, -1, 0, 3, 4, 16, 64, 256, 2**70, 2**62, 1.5, 1e400, "x", "float16", [], [64], {},
            [7, 13], [2**40, 2**40], [-1, -1], True, {"convrot": True}, *FORMATS]  # fmt: skip


def resized(rng, shape):
    """Return a shape of other extents, or of another number of them."""
    sizes = list(shape)
    if sizes and rng.random() < 0.7:
        at = rng.randrange(len(sizes))
        sizes[at] = rng.choice([0, 1, sizes[at] + 1, max(sizes[at] - 1, 0), 2 * sizes[at], 128])
    else:
        sizes.insert(rng.randint(0, len(sizes)), rng.choice([1, 2, 3]))
    return tuple(sizes)


def changed(rng, layout):
    """Change one thing of a layer: role → dtype, shape, bytes."""
    role = rng.choice(list(layout))
    dtype, shape, data = layout[role]
    what = rng.choice(["drop", "dtype", "shape", "add", "text", "text", "call"])
    if what == "drop" and role != "weight":
        del layout[role]
    elif what == "dtype":
        layout[role] = rng.choice(DTYPES), shape, None
    elif what == "shape":
        layout[role] = dtype, resized(rng, shape), None
    elif what == "add":
        layout[rng.choice(ROLES)] = rng.choice(DTYPES), resized(rng, shape), None
    elif what == "call" and role != "weight":
        layout[rng.choice(ROLES)] = layout.pop(role)
    else:
        told = [each for each, entry in layout.items() if (entry[2] or b"")[:2] == b'{"']
        role = rng.choice(told or ["comfy_quant"])
        text = json.loads(layout[role][2]) if told else {}
        text[rng.choice(TOLD)] = rng.choice(ANYTHING)
        data = json.dumps(text).encode() if rng.random() < 0.95 else b"{[\xff"
        layout[role] = "U8", (len(data),), data


def drawn(path, rng):
    """Write a layer of some format, of which something or nothing is changed."""
    layer = LAYERS[rng.choice(list(LAYERS))](np.random.default_rng(rng.randrange(9)))
    layout = {role: entry for role, entry in layer.tensors.items() if not role.startswith("/")}
    for _ in range(rng.randint(0, 3)):
        changed(rng, layout)
    rows, contents = [], {}
    for role, (dtype, shape, data) in layout.items():
        rows.append((f"{X}.{role}", dtype, shape))
        if data is not None and len(data) == math.prod(shape) * SIZES[dtype]:
            contents[f"{X}.{role}"] = data
    return write_layout(path, rows, contents=contents)


def read_or_refused(file, seed, count):
    """Read so many files; return how many weights were read, and what was said of the others."""
    rng, read, refused = random.Random(seed), 0, []
    for _ in range(count):
        checkpoint = open_checkpoint(drawn(file, rng))
        quantised_weights(checkpoint)
        try:
            table = decoded(checkpoint).tensors
            coded = [tensor for tensor in table.values() if isinstance(tensor, CodedTensor)]
            for tensor in coded:
                assert len(values_of(tensor)) == 4 * math.prod(tensor.shape)
            read += len(coded)
        except (FormatError, _native.NativeError) as error:
            refused.append(str(error))
    assert not any("\n" in message for message in refused)
    return read, refused


@pytest.mark.parametrize("seed", range(4))
def test_any_description_of_a_weight_is_refused_or_read_in_its_sizes(tmp_path, seed):
    read, refused = read_or_refused(tmp_path / "a.safetensors", seed, 100)
    assert read > 20
    assert len(refused) > 20


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_ten_thousand_descriptions_are_refused_or_read_in_their_sizes(tmp_path):
    read, refused = read_or_refused(tmp_path / "a.safetensors", 99, 10_000)
    assert read > 2_000
    assert len(refused) > 2_000
