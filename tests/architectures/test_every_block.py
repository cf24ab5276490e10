"""Each block of every model that is known has a weight that its tensors, and they alone, have."""

from __future__ import annotations

import gzip
import json
import math
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from bmerge import merge
from bmerge.architectures import builtin, detect
from bmerge.testing import write_checkpoint
from comfyui import LAYOUTS, shapes_of, table_of

DATA = Path(__file__).parents[1] / "data" / "layouts.json.gz"
PUBLIC = json.loads(gzip.decompress(DATA.read_bytes()))
FAST = ("lens", "mage_flow", "pixeldit", "seedvr2_3b", "ovis", "hy3d21", "k5_lite", "boogu")
"""Of those that are tried always: small ones, with one family of layers and with several."""
UNETS = {"koala", "stable-cascade", "vae", "sd1", "sd2", "svd", "sdxl", "sdxl-refiner"}
"""Whose blocks are not the layers that names count first."""
AROUND = {"IN", "OUT", "BASE", "CLIP", "CLIP_G", "T5", "LLM", "VAE", "VISION", "LM_HEAD"}


def shapes(name):
    if name in LAYOUTS:
        return shapes_of(name)
    return {key: tuple(shape) for key, _, shape in PUBLIC[name.removeprefix("public ")]}


def small(shape):
    return [max(2, extent // 512) if extent > 16 else extent for extent in shape]


def layer(key):
    """Return a key up to the first number in it, by plain string work."""
    found = re.match(r"(?:.*?\.)?(?:block)?\d+\.", key)
    return found[0] if found else ""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in FAST else pytest.mark.slow)
        for name in [*LAYOUTS, *(f"public {name}" for name in PUBLIC)]
    ],
)
def test_each_weight_arrives_in_its_block_alone(tmp_path, name):
    true = shapes(name)
    architecture = detect(table_of(true), builtin())
    weights = {block: (i + 1) / 512 for i, block in enumerate(architecture.blocks)}
    files = [
        write_checkpoint(tmp_path / n, {k: np.full(small(s), v, "f4") for k, s in true.items()})
        for n, v in (("a.safetensors", 0), ("b.safetensors", 1))
    ]
    out = tmp_path / "out.safetensors"
    merge("weighted_sum", *files, output=out, alpha=weights, architecture=architecture.id)
    numbers = {weight: block for block, weight in weights.items()}
    inside = defaultdict(set)
    for key, array in load_file(out).items():
        if array.size and not key.endswith("position_ids"):
            assert len(np.unique(array)) == 1, key
            inside[numbers[float(array.flat[0])]].add(key)
    assert inside.keys() <= weights.keys()
    found = {key: block for block, keys in inside.items() for key in keys}
    rest = {key for key, shape in true.items() if key not in found and math.prod(shape)}
    assert all(key.endswith("position_ids") for key in rest)
    if architecture.id not in UNETS and not name.startswith("vae_"):  # whose blocks are levels
        for block, keys in inside.items():
            layers = {layer(key) for key in keys}
            assert block in AROUND or len(layers) == 1, (block, layers)
