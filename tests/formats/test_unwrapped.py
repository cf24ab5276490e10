"""Names that training has wrapped, in files of every kind: the same model as without."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from bmerge.architectures import builtin, detect
from bmerge.formats import Checkpoint, decoded, open_checkpoint, quantised_weights
from bmerge.formats.unwrapped import unwrapped
from bmerge.host import load_registry
from comfyui import shapes_of, table_of
from layouts import layouts, small_model

NAME = "auraflow"
LAYER = "double_layers.0.attn.w1q."


def model(seed):
    return small_model(NAME, seed, start="model.diffusion_model.", layers=1)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["plain first", "wrapped first"])
@pytest.mark.parametrize(
    "start",
    ["module.", "_orig_mod.", "module._orig_mod.", "_fsdp_wrapped_module.", "pipe.dit.",
     "diffusion_model.", "student.model.", "student._fsdp_wrapped_module.", "pipe.transformer."],
)  # fmt: skip
def test_model_with_words_before_all_names_merges_with_one_without(bmerge, tmp_path, start, order):
    plain, other = model(1), model(2)
    save_file(plain, tmp_path / "0.safetensors")
    save_file({start + key: array for key, array in other.items()}, tmp_path / "1.safetensors")
    files = [tmp_path / f"{number}.safetensors" for number in order]
    out = tmp_path / "o.safetensors"
    called = bmerge("merge", "weighted_sum", *files, "--alpha", "0.25", "-o", out)
    assert called.status == 0, called.err
    alpha = 0.25 if order == (0, 1) else 0.75
    found = load_file(out)
    assert found.keys() == plain.keys()
    for key, array in found.items():
        exact = (1 - alpha) * plain[key].astype("f8") + alpha * other[key]
        np.testing.assert_allclose(array, exact, rtol=1e-5, atol=1e-6, err_msg=key)


ANY = ("lens", "pid", "seedvr2_3b", "ace", "hidream_o1", "cascade_b", "vae_ltx_095", "vae_taesd",
       "sd1", "sdxl", "zimage_aio", "qwen2_7b", "d_clip_l", "d_vae")  # fmt: skip


@pytest.mark.parametrize("name", ANY)
def test_words_before_any_model_that_is_known_are_left_out(name):
    load_registry()
    shapes = {key: tuple(shape) for key, _, shape in layouts().get(name, [])} or shapes_of(name)
    for start in ("dit.", "generator.", "model.net.", "a.b.c."):
        found = unwrapped(Checkpoint(Path("x"), table_of(shapes, start), {})).tensors
        assert found.keys() == shapes.keys()
    plain = detect(table_of(shapes), builtin())
    for start in ("transformer.", "unet."):  # which folders of diffusers have before some of them
        found = unwrapped(Checkpoint(Path("x"), table_of(shapes, start), {})).tensors
        assert detect(found, builtin()).blocks == plain.blocks


@pytest.mark.parametrize("start", ["model.diffusion_model.", "net.", "unet.", "transformer."])
def test_prefix_of_a_diffusion_model_stays(start):
    load_registry()
    for name in ("d_flux", "d_qwen", "d_sd15_unet", "flux_dev_bfl", "wan21_t2v_14b"):
        table = table_of({key: tuple(shape) for key, _, shape in layouts()[name]}, start)
        assert unwrapped(Checkpoint(Path("x"), table, {})).tensors.keys() == table.keys()
    table = table_of(shapes_of("lens"), start)
    assert unwrapped(Checkpoint(Path("x"), table, {})).tensors.keys() == table.keys()


@pytest.mark.parametrize("start", ["first_stage_model.", "text_encoders.t5xxl.transformer."])
def test_prefix_of_a_part_alone_stays(start):
    load_registry()
    table = table_of({"decoder.mid.block_1.conv1.weight": (4, 4), "decoder.up.3.block.0.x": (4,)})
    table = {start + key: tensor for key, tensor in table.items()}
    assert unwrapped(Checkpoint(Path("x"), table, {})).tensors.keys() == table.keys()


def test_wrappers_within_names_are_left_out(tmp_path):
    arrays = {
        key.replace("layers.0.", "layers.0._checkpoint_wrapped_module.").replace(
            "attn.", "attn._orig_mod."
        ): array
        for key, array in model(1).items()
    }
    assert arrays.keys() != model(1).keys()
    save_file(arrays, tmp_path / "w.safetensors")
    assert open_checkpoint(tmp_path / "w.safetensors").tensors.keys() == model(1).keys()


@pytest.mark.parametrize("name", ["w.ckpt", "model.safetensors.index.json"])
def test_pickles_and_shards_are_named_alike(tmp_path, name):
    arrays = {f"module._orig_mod.{key}": array for key, array in model(1).items()}
    if name == "w.ckpt":
        tensors = {key: torch.from_numpy(array) for key, array in arrays.items()}
        torch.save({"model": tensors}, tmp_path / name)
    else:
        keys = list(arrays)
        shards = {"1.safetensors": keys[::2], "2.safetensors": keys[1::2]}
        for file, own in shards.items():
            save_file({key: arrays[key] for key in own}, tmp_path / file)
        weight_map = {key: file for file, own in shards.items() for key in own}
        (tmp_path / name).write_text(json.dumps({"weight_map": weight_map}))
    assert open_checkpoint(tmp_path / name).tensors.keys() == model(1).keys()


def test_words_before_an_unknown_model_stay(tmp_path):
    names = ["policy.head.weight", "policy.trunk.0.weight", "policy.trunk.1.weight"]
    save_file({name: np.ones((2, 2), "f4") for name in names}, tmp_path / "p.safetensors")
    assert sorted(open_checkpoint(tmp_path / "p.safetensors").tensors) == names


def test_what_the_header_says_of_layers_is_of_the_new_names(tmp_path):
    arrays = {f"pipe.dit.{key}": array for key, array in model(1).items()}
    weight = arrays[f"pipe.dit.{LAYER}weight"]
    codes = torch.from_numpy(weight).to(torch.float8_e4m3fn).view(torch.uint8).numpy()
    text, data = {}, b""
    arrays[f"pipe.dit.{LAYER}weight_scale"] = np.float32(2).reshape(())
    for key, array in arrays.items():
        coded = key == f"pipe.dit.{LAYER}weight"
        raw = (codes if coded else array).tobytes()
        dtype = "F8_E4M3" if coded else "F32"
        offsets = [len(data), len(data) + len(raw)]
        text[key] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": offsets}
        data += raw
    said = {
        "format_version": "1.0",
        "layers": {f"pipe.dit.{LAYER[:-1]}": {"format": "float8_e4m3fn"}},
    }
    text["__metadata__"] = {"_quantization_metadata": json.dumps(said)}
    header = json.dumps(text).encode()
    file = tmp_path / "q.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header + data)
    checkpoint = open_checkpoint(file)
    (found,) = quantised_weights(checkpoint)
    assert (found.codes.key, found.said) == (f"{LAYER}weight", {"format": "float8_e4m3fn"})
    assert f"{LAYER}weight_scale" not in decoded(checkpoint).tensors


def unknown(seed, layers=3):
    """Return a model that only the generic rule knows, and a tensor that is of no layer."""
    random = np.random.default_rng(seed)
    names = [f"stages.{i}.mix.{role}" for i in range(layers) for role in ("qkv", "out")]
    return {name: random.standard_normal((4, 4), "f4") for name in ("embed_in", *names, "scale")}


WORDS = ("net.", "diffusion_model.", "model.diffusion_model.", "dit.", "model.net.", "a.b.c.")


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["plain first", "words first"])
@pytest.mark.parametrize("words", WORDS)
def test_unknown_model_merges_with_one_under_words(bmerge, tmp_path, words, order):
    models = [unknown(1), {words + key: array for key, array in unknown(2).items()}]
    for number, arrays in enumerate(models):
        save_file(arrays, tmp_path / f"{number}.safetensors")
    files = [tmp_path / f"{number}.safetensors" for number in order]
    out = tmp_path / "o.safetensors"
    called = bmerge("merge", "weighted_sum", *files, "--alpha", "L01=1,*=0.25", "-o", out)
    assert called.status == 0, called.err
    found = load_file(out)
    first, other = (models[number] for number in order)
    assert found.keys() == first.keys()
    for (key, array), theirs in zip(first.items(), other.values(), strict=True):
        alpha = 1 if "stages.1." in key else 0.25
        exact = (1 - alpha) * array.astype("f8") + alpha * theirs
        np.testing.assert_allclose(found[key], exact, rtol=1e-5, atol=1e-6, err_msg=key)


OTHERS = {
    "under words of its own": lambda key: f"stem.{key}",
    "with other layers": lambda key: f"net.{key.replace('stages', 'tower')}",
}


@pytest.mark.parametrize("kind", OTHERS)
def test_model_that_may_be_another_is_refused(bmerge, tmp_path, kind):
    first = {f"trunk.{key}": array for key, array in unknown(1).items()}
    save_file(first, tmp_path / "0.safetensors")
    other = {OTHERS[kind](key): array for key, array in unknown(2).items()}
    save_file(other, tmp_path / "1.safetensors")
    out = tmp_path / "o.safetensors"
    files = (tmp_path / "0.safetensors", tmp_path / "1.safetensors")
    called = bmerge("merge", "weighted_sum", *files, "--alpha", "0.5", "-o", out)
    assert called.status == 1
    assert called.err.startswith("error: different architectures:")
    assert not out.exists()
