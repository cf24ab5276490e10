"""Models whose first layers take more channels, of every family that has such, in any order."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from bmerge.architectures.first_layers import differ_in_channels, noise_channels
from bmerge.errors import ArchitectureError
from bmerge.formats import open_checkpoint
from bmerge.testing import read_checkpoint, write_checkpoint
from bmerge.testing.checkpoints import write_random
from merges import plan_of

LAYOUTS = Path(__file__).parents[1] / "data" / "layouts.json.gz"
CASES = {
    "flux_fill": ("flux_dev", "img_in.weight", "Flux.1-dev/inpaint"),
    "wan21_i2v_14b": ("wan21_t2v_14b", "patch_embedding.weight", "wan-2_1-image2video-14b"),
}


def small(path, name, first_layer, seed):
    """Write a model of a true layout with small extents, but for its input channels."""
    rows = []
    for key, dtype, shape in json.loads(gzip.decompress(LAYOUTS.read_bytes()))[name]:
        keep = 1 if key.endswith(first_layer) else None
        cut = [n if n <= 80 or i == keep else max(2, n // 80) for i, n in enumerate(shape)]
        rows.append((key, dtype, tuple(cut)))
    return write_random(path, rows, seed=seed)


@pytest.fixture(scope="module", params=CASES)
def pair(request, tmp_path_factory):
    """A model, a wider one of its family, and what is known of them."""
    folder = tmp_path_factory.mktemp(request.param)
    narrow, layer, identity = CASES[request.param]
    files = [
        small(folder / f"{name}.safetensors", name, layer, seed)
        for seed, name in enumerate((narrow, request.param))
    ]
    return *files, layer, identity


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["narrow first", "wide first"])
def test_what_comes_out_is_the_wider_model_in_any_order(bmerge, pair, order, tmp_path):
    *files, layer, identity = pair
    alpha = 0.3 if order == (0, 1) else 0.7
    out = tmp_path / "out.safetensors"
    called = bmerge(
        "merge", "weighted_sum", *(files[i] for i in order), "--alpha", alpha, "--dtype", "fp32",
        "-o", out,
    )  # fmt: skip
    assert called.status == 0, called.err
    assert "warning" not in called.err
    narrow, wide, merged = map(read_checkpoint, (*files, out))
    (key,) = [key for key in wide if key.endswith(layer)]
    shared = narrow[key].shape[1]
    assert merged.keys() == wide.keys()
    for name, array in wide.items():
        exact = array.astype("f8")
        if name == key:
            exact[:, :shared] = 0.7 * narrow[name].astype("f8") + 0.3 * exact[:, :shared]
        elif name in narrow:
            exact = 0.7 * narrow[name].astype("f8") + 0.3 * exact
        else:
            assert np.array_equal(merged[name], array.astype("f4")), name
        np.testing.assert_allclose(merged[name], exact, rtol=1e-5, atol=1e-6, err_msg=name)
    assert np.array_equal(merged[key][:, shared:], wide[key][:, shared:])
    assert open_checkpoint(out).metadata["modelspec.architecture"] == identity


@pytest.mark.parametrize("method", ["weighted_sum", "add_difference"])
def test_layers_of_the_wider_model_are_copied(pair, method):
    narrow, wide, *_ = pair
    plan = plan_of([narrow, wide, narrow][: 2 if method == "weighted_sum" else 3], method=method)
    assert {output.key for output in plan.outputs} == set(read_checkpoint(wide))
    only = read_checkpoint(wide).keys() - read_checkpoint(narrow).keys()
    copied = {job.key: job.source.file for job in plan.copies}
    assert {copied[key] for key in only} <= {wide}
    assert not plan.warnings


def test_parts_that_only_the_wider_file_has_stay_there(pair, tmp_path):
    narrow, wide, *_ = pair
    arrays = {"vae.decoder.conv_out.weight": np.ones((2, 2), "f2"), **read_checkpoint(wide)}
    whole = write_checkpoint(tmp_path / "whole.safetensors", arrays, dtype="F16")
    plan = plan_of([narrow, whole])
    assert {output.key for output in plan.outputs} == set(read_checkpoint(wide))
    assert any("vae.decoder" in warning and "left out" in warning for warning in plan.warnings)


def test_a_number_of_channels_that_no_model_has_does_not_fit(pair, tmp_path):
    narrow, wide, layer, _ = pair
    arrays = read_checkpoint(wide)
    key = next(key for key in arrays if key.endswith(layer))
    arrays[key] = arrays[key][:, :20]
    other = write_checkpoint(tmp_path / "other.safetensors", arrays, dtype="F16")
    with pytest.raises(ArchitectureError, match="has shape"):
        plan_of([narrow, other])


@pytest.mark.parametrize(
    ("layer", "narrow", "wide"),
    [
        ("model.diffusion_model.input_blocks.0.0.weight", (320, 4, 3, 3), (320, 5, 3, 3)),
        ("patch_embedding.weight", (5120, 16, 1, 2, 2), (5120, 32, 1, 2, 2)),
        ("patch_embedding.weight", (5120, 36, 1, 2, 2), (5120, 52, 1, 2, 2)),
        ("patch_embed.proj.weight", (3072, 16, 2, 2), (3072, 48, 2, 2)),
        ("patch_embed.proj.weight", (3072, 128), (3072, 256)),
    ],
    ids=["by depth", "Fun Camera", "Fun Control", "CogVideoX inpainting", "CogVideoX 1.5"],
)
def test_noise_comes_first_in_all_kinds_of_a_family(layer, narrow, wide):
    assert differ_in_channels(layer, [narrow, wide])
    assert noise_channels(layer, narrow) == noise_channels(layer, wide)
    assert noise_channels(layer, wide) == {128: 128, 4: 4}.get(narrow[1], 16)
