"""Tensors that are written in ggml's blocks, against quantisers and decoders of the tests' own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_torch

from bmerge.executors import NativeExecutor
from bmerge.formats import open_checkpoint, values_of
from bmerge.pipeline import merge_to_file
from gguf_files import BF16, BLOCKS, F32, block_values, gguf, pair, read
from merges import plan_of

START = "model.diffusion_model."
LAYER, OTHER = "layers.0.attention.qkv.weight", "layers.1.feed_forward.w1.weight"
EMBEDDER, NORM, SCALE = "x_embedder.weight", "layers.0.attention_norm1.weight", "layers.0.s.weight"
SHAPES = {LAYER: (48, 256), OTHER: (16, 352), EMBEDDER: (64, 64), NORM: (64,), SCALE: (4, 32)}
STEPS = {"Q8_0": 127, "Q4_0": 7, "Q5_0": 15, "Q4_1": 7, "Q5_1": 15, "Q4_K": 7, "Q5_K": 15,
         "Q6_K": 31}  # fmt: skip
"""How many steps the greatest magnitude of a block has."""


def floats(shape, seed):
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(shape) * np.exp(rng.standard_normal((*shape[:-1], 1)))
    return values.astype("f4")


def q8_0(values):
    """Return blocks as ggml's reference quantiser makes them: halves are rounded away from zero."""
    blocks = values.reshape(-1, 32)
    scales = np.abs(blocks).max(axis=1, keepdims=True) / np.float32(127)
    with np.errstate(divide="ignore"):
        factors = np.where(scales == 0, np.float32(0), np.float32(1) / scales)
    scaled = blocks * factors
    codes = (np.sign(scaled) * np.floor(np.abs(scaled) + np.float32(0.5))).astype("i1")
    return np.concatenate([scales.astype("<f2").view("u1"), codes.view("u1")], axis=1).tobytes()


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two plain models, and what they hold."""
    folder, tables = tmp_path_factory.mktemp("plain"), []
    for number in range(2):
        tables.append({key: floats(shape, 10 * number + i) for i, (key, shape) in
                       enumerate(SHAPES.items())})  # fmt: skip
        tables[-1][LAYER][3] = 0
        save_file(
            {START + key: a for key, a in tables[-1].items()}, folder / f"{number}.safetensors"
        )
    return [folder / f"{number}.safetensors" for number in range(2)], tables


def merged(tables, alpha=0.3):
    low, high = np.float32(1 - alpha), np.float32(alpha)
    return {key: tables[0][key] * low + tables[1][key] * high for key in tables[0]}


def written(paths, output, alpha=0.3, threads=2, **fields):
    plan = plan_of(paths, alpha, **fields)
    report = merge_to_file(plan, output, executor=NativeExecutor(threads=threads))
    return read(output.read_bytes()), report


def test_blocks_of_eight_bits_are_those_of_the_reference(models, tmp_path):
    paths, tables = models
    (pairs, tensors), _ = written(paths, tmp_path / "m.gguf", quantise="q8_0")
    exact = merged(tables)
    for key in (LAYER, OTHER):
        shape, kind, data = tensors[key]
        assert (shape, kind) == (SHAPES[key], BLOCKS["Q8_0"][0])
        assert data.startswith(q8_0(exact[key]))
    for key in (EMBEDDER, NORM, SCALE):
        shape, kind, data = tensors[key]
        assert (shape, kind) == (SHAPES[key], F32)
        assert data.startswith(exact[key].tobytes())
    assert pairs["general.file_type"] == 7


@pytest.mark.parametrize("name", BLOCKS)
def test_every_type_is_within_its_step_and_as_near_as_plain_rounding(models, tmp_path, name):
    paths, tables = models
    files = [tmp_path / f"{threads}.gguf" for threads in (1, 3)]
    for threads, file in zip((1, 3), files, strict=True):
        (_, tensors), _ = written(paths, file, quantise=name.lower(), threads=threads)
    assert files[0].read_bytes() == files[1].read_bytes()
    shape, kind, data = tensors[LAYER]
    number, elements, size = BLOCKS[name]
    assert kind == number
    exact = merged(tables)[LAYER]
    found = block_values(name, data[: exact.size // elements * size], shape)
    part = 16 if name == "Q6_K" else 32
    wrong = (found - exact).reshape(-1, part)
    reach = np.abs(exact).reshape(-1, part).max(axis=1, keepdims=True)
    assert (np.abs(wrong) <= reach / STEPS[name] * 1.01).all()
    assert np.square(wrong).mean() <= np.square(rounded(exact, name) - exact).mean() * 1.001
    assert not found[3].any()
    again = open_checkpoint(files[0]).tensors[LAYER]
    assert values_of(again) == bytearray(found.astype("<f4").tobytes())


def rounded(values, name):
    """Return values rounded plainly, with scales of sub-blocks rounded as the types store them."""
    levels = 2 ** int(name[1]) - 1
    if name in {"Q8_0", "Q6_K"}:
        parts = values.reshape(-1, 16 if name == "Q6_K" else 32)
        step = np.abs(parts).max(axis=1, keepdims=True) / (levels // 2)
        step = step.astype("f2").astype("f8")
        return (np.rint(parts / np.where(step, step, 1)) * step).reshape(values.shape)
    parts = values.reshape(-1, 32).astype("f8")
    if name.endswith("0"):
        at = np.abs(parts).argmax(axis=1, keepdims=True)
        step = np.take_along_axis(parts, at, 1) / -(2 ** (int(name[1]) - 1))
        codes = np.clip(np.rint(parts / np.where(step, step, 1)), -(levels + 1) // 2, levels // 2)
        return (codes * step).reshape(values.shape)
    least = np.minimum(parts.min(axis=1, keepdims=True), 0)
    step = (parts.max(axis=1, keepdims=True) - least) / levels
    if name.endswith("K"):  # in 63 steps of the greatest of eight

        def sixths(all_):
            whole = all_.reshape(-1, 8).max(axis=1).repeat(8)[:, None] / 63
            return np.rint(all_ / np.where(whole, whole, 1)) * whole

        step, least = sixths(step), -sixths(-least)
    codes = np.clip(np.rint((parts - least) / np.where(step, step, 1)), 0, levels)
    return (codes * step + least).reshape(values.shape)


def test_rows_that_are_no_whole_blocks_take_the_type_that_llama_cpp_takes(models, tmp_path):
    kinds = {}
    for name in ("q4_k", "q5_k", "q6_k"):
        (_, tensors), _ = written(models[0], tmp_path / "m.gguf", quantise=name)
        kinds[name] = tensors[OTHER][1]
    assert kinds == {name: BLOCKS[other][0] for name, other in
                     [("q4_k", "Q5_0"), ("q5_k", "Q5_1"), ("q6_k", "Q8_0")]}  # fmt: skip


@pytest.fixture
def blocks(models, tmp_path):
    """A model with a tensor of eight bits, one of rows that were cut anew, and plain ones."""
    table = models[1][0]
    whole = pair("comfy.gguf.orig_shape.c.0.weight", 9,
                 b"\5\0\0\0\4" + bytes(7) + np.array([4, 32, 2, 2], "<i4").tobytes())  # fmt: skip
    rows = [
        (LAYER, SHAPES[LAYER], BLOCKS["Q8_0"][0], q8_0(table[LAYER])),
        ("c.0.weight", (2, 256), BLOCKS["Q8_0"][0], q8_0(floats((2, 256), 3))),
        (EMBEDDER, (64, 64), BF16, (table[EMBEDDER].view("<u4") >> 16).astype("<u2").tobytes()),
    ]
    path = tmp_path / "a.gguf"
    path.write_bytes(gguf(rows, [whole]))
    return path, rows


def test_tensors_stay_the_blocks_that_they_are(blocks, tmp_path):
    path, rows = blocks
    (_, tensors), report = written([path, path], tmp_path / "m.gguf", alpha=0.0)
    assert report.execution.bytes_written == 0
    for name, shape, kind, data in rows:
        assert tensors[name][:2] == (shape, kind)
        assert tensors[name][2].startswith(data)
    assert open_checkpoint(tmp_path / "m.gguf").tensors["c.0.weight"].shape == (4, 32, 2, 2)
    other = tmp_path / "b.safetensors"
    save_file({LAYER: floats(SHAPES[LAYER], 77)}, other)
    (_, tensors), _ = written([path, other], tmp_path / "m.gguf")
    before = block_values("Q8_0", rows[0][3], SHAPES[LAYER])
    exact = before * np.float32(0.7) + load_file(other)[LAYER] * np.float32(0.3)
    assert tensors[LAYER][2].startswith(q8_0(exact))
    (_, tensors), _ = written([path, other], tmp_path / "m.gguf", quantise="q4_k")
    assert [tensors[name][1] for name in (LAYER, EMBEDDER)] == [BLOCKS["Q4_K"][0], BF16]
    (_, tensors), _ = written([path, other], tmp_path / "m.gguf", quantise="none")
    assert tensors[LAYER][1] == BF16


def test_types_that_a_file_does_not_have_are_refused(bmerge, models, tmp_path):
    a = models[0][0]
    refused = bmerge("convert", a, "--quantise", "q8_0", "-o", tmp_path / "m.safetensors")
    assert refused.status == 1
    assert "a .safetensors file has no weights of q8_0" in refused.err
    assert "write a .gguf file" in refused.err
    refused = bmerge("convert", a, "--quantise", "nvfp4", "-o", tmp_path / "m.gguf")
    assert "a .gguf file has no weights of nvfp4" in refused.err
    assert not list(tmp_path.iterdir())


def test_numbers_that_are_not_finite_are_told_of(models, tmp_path):
    table = {START + key: array.copy() for key, array in models[1][0].items()}
    table[START + LAYER][5, 7] = np.nan
    table[START + OTHER][2, 40] = 3e38
    save_file(table, tmp_path / "a.safetensors")
    plan = plan_of([tmp_path / "a.safetensors"] * 2, 0.5, quantise="q8_0", on_nonfinite="report")
    report = merge_to_file(plan, tmp_path / "m.gguf", executor=NativeExecutor())
    assert {found.key for found in report.execution.nonfinite} == {START + LAYER, START + OTHER}
    tensor = open_checkpoint(tmp_path / "m.gguf").tensors[LAYER]
    values = np.frombuffer(values_of(tensor), "<f4").reshape(SHAPES[LAYER])
    assert values[5, 7] == 0
    assert np.isfinite(values).all()


def test_parameters_that_are_no_layers_stay_numbers_of_torch(bmerge, tmp_path):
    """ComfyUI-GGUF takes BF16 for blocks, which it decodes in linear layers and 2D convolutions."""
    shapes = {
        "patch_embedding.weight": (64, 16, 1, 2, 2), "blocks.0.modulation": (1, 6, 256),
        "head.modulation": (1, 8, 256), "scale_shift_table": (8, 256),
        "block.ff_i.gate.weight": (8, 256), "proj.weight": (8, 256, 1, 1),
        "text_embedding.0.weight": (64, 64), "blocks.0.ffn.0.weight": (64, 256),
    }  # fmt: skip
    stay = {
        "text_embedding.0.weight": BF16, "proj.weight": BF16,
        "blocks.0.ffn.0.weight": BLOCKS["Q8_0"][0],
    }  # fmt: skip
    table = {key: torch.full(shape, 1.5, dtype=torch.bfloat16) for key, shape in shapes.items()}
    save_torch(table, tmp_path / "a.safetensors")
    out = tmp_path / "m.gguf"
    called = bmerge("convert", tmp_path / "a.safetensors", "--quantise", "q8_0", "-o", out)
    assert called.status == 0, called.err
    _, tensors = read(out.read_bytes())
    kinds = {key: kind for key, (_, kind, _) in tensors.items()}
    assert kinds == {**dict.fromkeys(shapes, F32), **stay}
