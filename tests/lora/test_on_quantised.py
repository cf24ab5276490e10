"""LoRAs of every family by every kind of names, on models in every format of quantised weights.

The weights are as other programs wrote them, and what comes of them is read by readers of our own.
"""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from bmerge.formats import open_checkpoint
from bmerge.formats.layouts import in_layout
from coded import four_bits, int8, mxfp8, nvfp4, raw_tensors, scaled_fp8, weight_in
from comfyui import LAYOUTS, shapes_of
from gguf_files import BLOCKS, F32, block_values, gguf
from layouts import LAYER, layouts, values
from loras import low_rank
from quantised import write_layout

PICTURE = "model.diffusion_model."
FORMATS = {
    "fp8": scaled_fp8,
    "fp8 by rows": lambda rng, shape: scaled_fp8(rng, shape, scale=(shape[0], 1)),
    "int8": lambda rng, shape: int8(rng, shape, (shape[0], 1)),
    "ConvRot": lambda rng, shape: int8(rng, shape, (shape[0], 1), 16),
    "mxfp8": lambda rng, shape: mxfp8(rng, shape, told=False),
    "nvfp4": nvfp4,
    "nf4": four_bits,
}
HALF = {"F32": 2.0**-24, "F16": 2.0**-11, "BF16": 2.0**-8}
BY = {
    "kohya": ("lora_unet_", ("lora_up.weight", "lora_down.weight")),
    "LyCORIS": ("lycoris_", ("lora_up.weight", "lora_down.weight")),
    "ComfyUI": ("diffusion_model.", ("lora_up.weight", "lora_down.weight")),
    "ai-toolkit": ("diffusion_model.", ("lora_B.weight", "lora_A.weight")),
    "PEFT": ("base_model.model.", ("lora_B.weight", "lora_A.weight")),
    "diffusers": ("transformer.", ("lora_B.weight", "lora_A.weight")),
}
"""Who wrote a LoRA → what is before the names of its layers, and what its factors are called."""
MODELS = [
    ("flux_dev_bfl", 3072, "nvfp4", "kohya"), ("d_flux", 3072, "fp8", "ai-toolkit"),
    ("flux_dev_bfl", 3072, "Q4_K", "diffusers"), ("flux2_klein4b", 3072, "fp8", "diffusers"),
    ("d_flux2", 6144, "nf4", "PEFT"), ("flux2_dev", 6144, "mxfp8", "LyCORIS"),
    ("d_qwen", 3072, "ConvRot", "kohya"), ("d_qwen", 3072, "Q8_0", "diffusers"),
    ("zimage_comfy", 3840, "int8", "diffusers"), ("d_zimage", 3840, "nvfp4", "ai-toolkit"),
    ("anima", 2048, "fp8 by rows", "kohya"), ("krea2", 6144, "mxfp8", "ComfyUI"),
    ("krea2", 6144, "Q4_K", "diffusers"), ("wan22_i2v", 5120, "fp8", "kohya"),
    ("wan21_t2v_14b", 5120, "Q8_0", "diffusers"), ("d_wan", 5120, "int8", "LyCORIS"),
    ("ltx2_19b", 4096, "nvfp4", "ai-toolkit"), ("ltxv_2b", 2048, "ConvRot", "diffusers"),
    ("chroma", 3072, "nf4", "diffusers"), ("d_chroma", 3072, "Q8_0", "kohya"),
    ("hidream", 2560, "fp8 by rows", "ComfyUI"), ("sd35_medium", 1536, "mxfp8", "kohya"),
    ("d_sd35l", 2432, "nf4", "diffusers"), ("d_lumina2", 2304, "int8", "PEFT"),
    ("auraflow", 3072, "int8", "diffusers"), ("hunyuan_video", 3072, "nvfp4", "diffusers"),
    ("d_hunyuanvideo", 3072, "Q8_0", "kohya"),
]  # fmt: skip
"""Layout, its width, the format, and who wrote the LoRA; ``diffusers`` are diffusers' names."""


def shapes(name, width, to):
    """Return name → shape in a model of that width: of each list of layers the first one."""
    rows = shapes_of(name) if name in LAYOUTS else {key: s for key, _, s in layouts()[name]}
    kept = {}
    for key, shape in rows.items():
        layer = LAYER.search(key)
        if (layer and int(layer[1])) or (layer is None and "_stream_blocks." in key):
            continue
        extents = (n if n <= 16 else max(1, round(n * to / width / 32)) * 32 for n in shape)
        kept[key.removeprefix(PICTURE)] = tuple(extents)
    return kept


def model(folder, kept, kind):
    """Write a model; return its file, what is before its keys, and its values."""
    rng, rows, contents, found, blocks = np.random.default_rng(1), [], {}, {}, []
    of_ggml, before = kind in BLOCKS, PICTURE if kind in {"fp8", "int8"} else ""
    for key, shape in kept.items():
        number, count, size = BLOCKS[kind] if of_ggml else (F32, 32, 0)
        if len(shape) != 2 or shape[0] < 32 or shape[1] % count or not key.endswith(".weight"):
            array = rng.standard_normal(shape).astype("f4")
            rows.append((before + key, "F32", shape))
            contents[before + key] = array.tobytes()
            blocks.append((key, shape, F32, array.tobytes()))
        elif of_ggml:
            raw = rng.integers(0, 256, (np.prod(shape) // count, size), np.uint8)
            for at in [0] if kind == "Q8_0" else [0, 2]:
                raw[:, at : at + 2] = rng.random((len(raw), 1)).astype("<f2").view("u1")
            array = block_values(kind, raw.tobytes(), shape)
            blocks.append((key, shape, number, raw.tobytes()))
        else:
            name = before + key.removesuffix(".weight")
            layer = FORMATS[kind](rng, shape)
            rows += layer.layout(name)
            contents |= layer.contents(name)
            array = layer.values
        found[key] = array.astype("f8")
    path = folder / ("m.gguf" if of_ggml else "m.safetensors")
    if of_ggml:
        path.write_bytes(gguf(blocks))
    else:
        write_layout(path, rows, contents=contents)
    return path, before, found


def elsewhere(folder, arrays):
    """Return arrays by the names of diffusers, where those are others."""
    save_file({key: array.astype("f4") for key, array in arrays.items()}, folder / "e.safetensors")
    tensors = in_layout(open_checkpoint(folder / "e.safetensors").tensors, "diffusers")
    return {key: values(tensor).astype("f8") for key, tensor in (tensors or {}).items()} or arrays


def written(path, before, kept):
    """Return the values of a file, and half a step of each."""
    raw, found = raw_tensors(path)[0], {}
    for key, shape in kept.items():
        dtype, array = raw[before + key]
        if dtype in HALF:
            array = array.astype("f8").reshape(shape)
            found[key] = array, np.abs(array) * HALF[dtype] + 1e-24
        else:
            found[key] = weight_in(raw, before + key.removesuffix(".weight"), shape)
    return found


@pytest.mark.parametrize(("name", "width", "kind", "by"), MODELS)
def test_every_layer_of_a_lora_is_added_within_a_step(bmerge, tmp_path, name, width, kind, by):
    kept = shapes(name, width, 256 if kind == "Q4_K" else 64)
    path, before, weights = model(tmp_path, kept, kind)
    theirs = elsewhere(tmp_path, weights) if by == "diffusers" else weights
    (start, roles), rng, changes, lora = BY[by], np.random.default_rng(2), {}, {}
    for key, array in theirs.items():
        if array.ndim > 1 and key.endswith(".weight"):
            factors, changes[key] = low_rank(rng, array.shape, 4, 2, roles)
            layer = key.removesuffix(".weight")
            layer = start + (layer.replace(".", "_") if start.endswith("_") else layer)
            lora |= {f"{layer}.{role}": np.asarray(factor) for role, factor in factors.items()}
    save_file(lora, tmp_path / "x.safetensors")
    out = tmp_path / "o.safetensors"
    called = bmerge("merge", "add_difference", path, "--lora", f"{tmp_path}/x.safetensors=0.7",
                    "-o", out)  # fmt: skip
    assert called.status == 0, called.err
    assert "left out" not in called.err
    found = written(out, before, kept)
    halves = {key: half for key, (_, half) in found.items()}
    found = {key: array for key, (array, _) in found.items()}
    if by == "diffusers":
        found, halves = elsewhere(tmp_path, found), elsewhere(tmp_path, halves)
    assert len(changes) > 10
    for key, array in theirs.items():
        wanted = array + 0.7 * changes.get(key, 0)
        wrong = np.abs(found[key] - wanted) - halves[key] * 1.001
        assert wrong.max() <= 4e-6 * np.abs(wanted).max(), key


@pytest.mark.parametrize(("one", "other"), [("fp8", "nvfp4"), ("Q8_0", "int8"), ("nf4", "mxfp8")])
def test_lora_of_two_quantised_models_is_their_difference(bmerge, tmp_path, one, other):
    kept = shapes("flux_dev_bfl", 3072, 64)
    tables, files = [], []
    for kind in (one, other):
        folder = tmp_path / kind
        folder.mkdir()
        path, _, weights = model(folder, kept, kind)
        files.append(path)
        tables.append(weights)
    lora = tmp_path / "x.safetensors"
    called = bmerge("lora", "extract", *files, "--rank", 64, "--dtype", "fp32", "-o", lora)
    assert called.status == 0, called.err
    factors = load_file(lora)
    layers = [key for key, shape in kept.items() if len(shape) > 1 and key.endswith(".weight")]
    assert len(factors) == 3 * len(layers)
    for key in layers:
        name = f"lora_unet_{key.removesuffix('.weight').replace('.', '_')}"
        up, down = (factors[f"{name}.lora_{side}.weight"].astype("f8") for side in ("up", "down"))
        wanted = tables[1][key] - tables[0][key]
        assert np.abs(up @ down - wanted).max() <= 1e-4 * np.abs(wanted).max(), key
