"""The full true key lists of SD1 and SDXL against the block maps.

``data/keys_*.txt`` are the keys of real checkpoints, with all optional ones; ``layouts`` builds
them from the models' hyperparameters; the maps are data. All three were written independently.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from pathlib import Path

import pytest

from bmerge.architectures import builtin, detect
from bmerge.testing.layouts import sd1_layout, sdxl_layout

DATA = Path(__file__).parents[1] / "data"
ARCHITECTURES = {architecture.id: architecture for architecture in builtin()}
SD1, SDXL, SDXL_VAE = (ARCHITECTURES[name] for name in ("sd1", "sdxl", "sdxl-vae"))


def true_keys(name):
    return (DATA / f"keys_{name}.txt").read_text().split()


def expected_block(key, last, vae="BASE"):
    """Return a key's block in supermerger's dialect, by plain string work."""
    if key.startswith("model_ema.diffusion_modeltime_embed"):
        return "IN00"
    if key.startswith("first_stage_model."):
        return vae
    if not key.startswith("model.diffusion_model."):
        return "BASE"
    part, _, rest = key.removeprefix("model.diffusion_model.").partition(".")
    return {
        "time_embed": "IN00",
        "label_emb": "IN00",
        "input_blocks": f"IN{rest.split('.')[0]:0>2}",
        "middle_block": "M00",
        "output_blocks": f"OUT{rest.split('.')[0]:0>2}",
        "out": f"OUT{last:02}",
    }[part]


def test_layouts_have_the_true_keys_and_counts():
    sd1 = {key for key, _, _ in sd1_layout(ema=True, schedule=True)}
    assert sd1 == set(true_keys("sd1"))
    prefixes = Counter(key.partition(".")[0] for key, _, _ in sd1_layout(ema=True))
    assert prefixes == {
        "cond_stage_model": 197, "first_stage_model": 248, "model": 686, "model_ema": 688,
    }  # fmt: skip
    sdxl = {key for key, _, _ in sdxl_layout()}
    optional = set(true_keys("sdxl")) - sdxl
    assert sdxl < set(true_keys("sdxl"))
    assert all("." not in key or key.startswith("edm_vpred.") for key in optional)
    counts = Counter(re.match(r"conditioner\.embedders\.\d|[^.]*", key)[0] for key in sdxl)
    assert counts == {
        "conditioner.embedders.0": 197, "conditioner.embedders.1": 390,
        "first_stage_model": 248, "model": 1680,
    }  # fmt: skip


def test_layouts_have_the_true_sizes():
    def nbytes(layout):
        return sum(math.prod(shape) * (8 if dtype == "I64" else 2) for _, dtype, shape in layout)

    assert nbytes(sd1_layout()) == 2_132_471_230
    assert nbytes(sdxl_layout()) == 6_937_676_352


@pytest.mark.parametrize(
    ("architecture", "keys", "last", "vae"),
    [(SD1, "sd1", 11, "BASE"), (SDXL, "sdxl", 8, "BASE"), (SDXL_VAE, "sdxl", 8, "VAE")],
    ids=["sd1", "sdxl", "sdxl-vae"],
)
def test_every_true_key_is_in_the_block_of_the_dialect(architecture, keys, last, vae):
    blocks = {key: architecture.block_of(key) for key in true_keys(keys)}
    assert blocks == {key: expected_block(key, last, vae) for key in blocks}
    assert set(blocks.values()) == set(architecture.blocks)


def test_blocks_are_in_the_order_of_weight_lists():
    def numbered(name, count):
        return tuple(f"{name}{i:02}" for i in range(count))

    assert SD1.blocks == ("BASE", *numbered("IN", 12), "M00", *numbered("OUT", 12))
    assert SDXL.blocks == ("BASE", *numbered("IN", 9), "M00", *numbered("OUT", 9))
    assert SDXL_VAE.blocks == (*SDXL.blocks, "VAE")
    assert (len(SD1.blocks), len(SDXL.blocks), len(SDXL_VAE.blocks)) == (26, 20, 21)


def without_prefix(keys):
    unet = "model.diffusion_model."
    return [key.removeprefix(unet) for key in keys if key.startswith(unet)]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (true_keys("sd1"), "sd1"),
        ([key for key, _, _ in sd1_layout(old_text_encoder=True)], "sd1"),
        (without_prefix(true_keys("sd1")), "sd1"),
        (true_keys("sdxl"), "sdxl"),
        (without_prefix(true_keys("sdxl")), "sdxl"),
    ],
    ids=["sd1", "sd1 old text encoder", "sd1 unet", "sdxl", "sdxl unet"],
)
def test_detect_names_the_architecture(keys, expected):
    assert detect(keys, builtin()).id == expected
    assert detect(keys, tuple(reversed(builtin()))).id == expected


def test_unet_alone_has_the_same_blocks():
    for key in without_prefix(true_keys("sdxl")):
        assert SDXL.block_of(key) == SDXL.block_of(f"model.diffusion_model.{key}")


def test_old_text_encoder_keys_are_the_same_tensors_in_the_same_block():
    old = [key for key, _, _ in sd1_layout(old_text_encoder=True)]
    new = [key for key, _, _ in sd1_layout()]
    assert old != new
    assert [SD1.canonical(key) for key in old] == new
    assert list(map(SD1.block_of, old)) == list(map(SD1.block_of, new))
