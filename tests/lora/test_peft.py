"""Adapters that PEFT itself wrote, one of each network that no other trainer writes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bmerge import _native
from bmerge.formats import ComposedTensor, Piece, open_checkpoint, rows_of
from bmerge.lora.apply import Change
from bmerge.lora.factored import factored
from bmerge.lora.names import LayerPlace
from bmerge.lora.parsing import open_lora
from bmerge.lora.patch import float_blocks
from bmerge.lora.patched import PatchedTensor
from bmerge.lora.streamed import files_of, is_streamed, streamed_input
from bmerge.testing import read_checkpoint, write_checkpoint

FOLDER = Path(__file__).parents[1] / "data" / "peft"
NETWORKS = sorted(path.name for path in FOLDER.iterdir() if path.is_dir())
MODEL = FOLDER / "base.safetensors"
WRITTEN = "adapter_model.safetensors"


def expected_of(network):
    """Return the weights that PEFT makes with its merge_and_unload."""
    start = f"{network}/"
    found = read_checkpoint(FOLDER / "expected.safetensors").items()
    return {key.removeprefix(start): values for key, values in found if key.startswith(start)}


def baked(bmerge, lora, out, *words, model=MODEL):
    called = bmerge("merge", "add_difference", model, "--lora", f"{lora}=1", "-o", out, *words)
    assert called.status == 0, called.err
    assert "left out" not in called.err
    return read_checkpoint(out)


@pytest.mark.parametrize("executor", ["native", "torch"])
@pytest.mark.parametrize("network", NETWORKS)
def test_what_peft_wrote_gives_its_weights(network, executor, bmerge, tmp_path, monkeypatch):
    monkeypatch.setattr("bmerge.lora.patch._BLOCK", 30)  # some rows at a time
    lora, out = FOLDER / network / WRITTEN, tmp_path / "out.safetensors"
    merged = baked(bmerge, lora, out, "--executor", executor)
    expected = expected_of(network)
    assert len(expected) >= 2
    for key, values in read_checkpoint(MODEL).items():
        wanted = expected.get(key, values)
        np.testing.assert_allclose(merged[key], wanted, rtol=1e-5, atol=5e-6, err_msg=key)


@pytest.mark.parametrize("network", [n for n in NETWORKS if n not in {"fourierft", "shira"}])
def test_some_rows_of_a_layer_change_as_they_do_in_the_whole(network):
    key = "layers.0.q.weight"
    lora = open_lora(FOLDER / network / WRITTEN)
    module = next(module for module in lora.modules if module.name.endswith("layers.0.q"))
    stored = open_checkpoint(MODEL).tensors[key]
    rows = replace(stored, shape=(6, 8), offset=stored.offset + 4 * 4 * 8, nbytes=4 * 6 * 8)
    change = Change(module, LayerPlace(key, of=(4, 10)), weight=1.0)
    if network in {"hra", "hra_gs"}:  # the change of a row depends on it alone
        change = replace(change, place=LayerPlace(key))
    (found,) = float_blocks(PatchedTensor(rows, (change,)))
    np.testing.assert_allclose(found, expected_of(network)[key][4:10], rtol=1e-5, atol=5e-6)


@pytest.mark.parametrize("network", ["adalora", "vera", "delora", "hra", "hra_gs"])
@pytest.mark.parametrize("place", ["whole", "rows", "piece"])
def test_products_are_made_of_factors_that_the_core_multiplies(network, place, tmp_path):
    key = "layers.0.q.weight"
    lora = open_lora(FOLDER / network / WRITTEN)
    module = next(module for module in lora.modules if module.name.endswith("layers.0.q"))
    stored, expected = open_checkpoint(MODEL).tensors[key], expected_of(network)[key]
    of, rows = None, slice(None)
    if place == "rows":  # the model has some of the layer's rows
        of, rows = (4, 10), slice(4, 10)
        stored = rows_of(stored, key, 4, 10)
    tensor = PatchedTensor(stored, (Change(module, LayerPlace(key, of=of), weight=1.0),))
    if place == "piece":
        row, rows = stored.shape[1], slice(3, 7)
        tensor = ComposedTensor(key, "F32", (4, row), (Piece(tensor, 3 * row, 4 * row),))
    found = factored(tensor, tmp_path / "factors")
    with (tmp_path / "factors").open("wb") as out:
        found.write(out)
    assert (tmp_path / "factors").stat().st_size == found.nbytes
    assert (is_streamed(tensor), is_streamed(found.tensor)) == (False, True)
    files, target = list(dict.fromkeys(files_of(found.tensor))), bytearray(4 * tensor.numel)
    _native.decode(files, streamed_input(found.tensor, files.index), target)
    values = np.frombuffer(target, "f4").reshape(tensor.shape)
    np.testing.assert_allclose(values, expected[rows], rtol=1e-5, atol=5e-6)


def configured(folder, network, **settings):
    """Copy an adapter with other settings; None takes one away."""
    shutil.copytree(FOLDER / network, folder / network)
    file = folder / network / "adapter_config.json"
    config = json.loads(file.read_text()) | settings
    file.write_text(json.dumps({key: x for key, x in config.items() if x is not None}))
    return folder / network / WRITTEN


@pytest.mark.parametrize("executor", ["native", "torch"])
def test_boft_in_stages_turns_blocks_of_halves_ever_further_apart(executor, bmerge, tmp_path):
    rng = np.random.default_rng(0)
    weight, numbers = rng.normal(size=(5, 24)), rng.normal(size=(3, 4, 6, 6)).astype("f4")
    factors = rng.normal(size=(5, 1)).astype("f4")
    matrix = np.eye(24)
    for stage, blocks in enumerate(numbers.astype("f8")):
        turn = np.zeros((24, 24))
        for index, block in enumerate(blocks):
            skew = (block - block.T) / 2
            own = slice(6 * index, 6 * index + 6)
            turn[own, own] = (np.eye(6) - skew) @ np.linalg.inv(np.eye(6) + skew)
        chunks = np.arange(24).reshape(-1, 3)  # halves of blocks, even ones first
        runs = [chunks[i : i + 2 ** (stage + 1)] for i in range(0, 8, 2 ** (stage + 1))]
        order = np.concatenate([np.concatenate((run[::2], run[1::2])) for run in runs]).reshape(-1)
        places = np.eye(24)[order]
        matrix = places @ turn @ places.T @ matrix
    expected = (matrix @ weight.T).T * factors
    write_checkpoint(tmp_path / "model.safetensors", {"layers.0.q.weight": weight.astype("f4")})
    roles = {"boft_R": numbers, "boft_s": factors}
    tensors = {f"base_model.model.layers.0.q.{role}": array for role, array in roles.items()}
    lora = write_checkpoint(tmp_path / "x.safetensors", tensors)
    words = (tmp_path / "out.safetensors", "--executor", executor)
    merged = baked(bmerge, lora, *words, model=tmp_path / "model.safetensors")
    np.testing.assert_allclose(merged["layers.0.q.weight"], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("network", "settings", "message"),
    [
        ("miss_mini", {"init_weights": True}, "changes 4 x 8 numbers, and"),
        ("fourierft", {"scaling": "much"}, "scaling must be a number, not 'much'"),
        ("vera", {"fan_in_fan_out": True}, "a weight that is stored transposed, which is not read"),
        ("adalora", {"init_lora_weights": "pissa_niter_4"}, "it is for weights that PEFT changed"),
        ("adalora", {"alora_invocation_tokens": [3]}, "alora_invocation_tokens is set"),
    ],
)
def test_settings_that_do_not_fit_are_one_line(network, settings, message, bmerge, tmp_path):
    lora, out = configured(tmp_path, network, **settings), tmp_path / "out.safetensors"
    called = bmerge("merge", "add_difference", MODEL, "--lora", lora, "-o", out)
    assert (called.status, out.exists()) == (1, False)
    assert message in called.err
    assert "Traceback" not in called.err


@pytest.mark.parametrize("network", ["adalora", "hra", "fourierft"])
def test_what_a_configuration_alone_says_is_not_guessed(network, bmerge, tmp_path):
    lora = shutil.copy(FOLDER / network / WRITTEN, tmp_path)
    called = bmerge(
        "merge", "add_difference", MODEL, "--lora", lora, "-o", tmp_path / "out.safetensors"
    )
    assert called.status == 1
    assert "and no adapter_config.json beside it says how" in called.err


@pytest.mark.parametrize("network", NETWORKS)
def test_resize_keeps_no_half_of_what_a_configuration_says(network, bmerge, tmp_path):
    lora, out = FOLDER / network / WRITTEN, tmp_path / "out.safetensors"
    called = bmerge("lora", "resize", lora, "--rank", "1", "-o", out)
    assert (called.status, out.exists()) == (1, False)
    assert "which has no rank to change" in called.err


def _without(network, folder, *roles, **more):
    tensors = read_checkpoint(FOLDER / network / WRITTEN)
    kept = {key: x for key, x in tensors.items() if key.rpartition(".")[2] not in roles}
    return write_checkpoint(folder / "x.safetensors", kept | more)


@pytest.mark.parametrize(
    ("network", "roles", "message"),
    [
        ("vera", ("vera_A", "vera_B"), "has no vera_A and vera_B: they were drawn at random"),
        ("delora", ("delora_w_norm",), "has no delora_w_norm"),
        ("boft", ("boft_s",), "has no boft_s"),
    ],
)
def test_missing_tensors_are_one_line(network, roles, message, bmerge, tmp_path):
    lora, out = _without(network, tmp_path, *roles), tmp_path / "out.safetensors"
    called = bmerge("merge", "add_difference", MODEL, "--lora", lora, "-o", out)
    assert (called.status, out.exists()) == (1, False)
    assert message in called.err


def test_factors_with_more_beside_them_are_no_plain_lora(bmerge, tmp_path):
    layer = "base_model.model.layers.0.q"
    sizes = {"lora_A.weight": (2, 8), "lora_B.weight": (12, 2), "lora_diag": 2}
    tensors = {f"{layer}.{role}": np.ones(size, "f4") for role, size in sizes.items()}
    lora = write_checkpoint(tmp_path / "x.safetensors", tensors)
    out = tmp_path / "out.safetensors"
    called = bmerge("merge", "add_difference", MODEL, "--lora", lora, "-o", out)
    assert (called.status, out.exists()) == (1, False)
    assert "has lora_diag beside its factors" in called.err
