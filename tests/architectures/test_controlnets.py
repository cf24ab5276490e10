"""ControlNets and upscalers: their names, blocks, and layouts, against diffusers' conversion."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from diffusers.loaders import single_file_utils as oracle
from safetensors.numpy import load_file, save_file

from blocks import called, sizes_of_blocks
from bmerge.architectures import builtin, detect
from bmerge.architectures.components import components_of
from bmerge.formats.layouts import in_layout
from classes import shapes_of_class
from comfyui import table_of
from layouts import by_diffusers, small_model

XL = {
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "block_out_channels": (320, 640, 1280), "transformer_layers_per_block": [1, 2, 10],
    "attention_head_dim": [5, 10, 20], "use_linear_projection": True, "cross_attention_dim": 2048,
    "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
    "conditioning_embedding_out_channels": (16, 32, 96, 256),
}  # fmt: skip
UNION = {**XL, "num_control_type": 6, "num_trans_channel": 320, "num_trans_head": 8}
PLACES = {"control_layers_places": list(range(0, 30, 2)), "control_in_dim": 33,
          "control_refiner_layers_places": [0, 1],
          "add_control_noise_refiner": "control_noise_refiner"}  # fmt: skip
NETS = {
    "controlnet": ("ControlNetModel", {}),
    "controlnet SDXL": ("ControlNetModel", XL),
    "controlnet SDXL Union": ("ControlNetUnionModel", UNION),
    "flux-controlnet": ("FluxControlNetModel", {"num_layers": 5, "num_single_layers": 10}),
    "sd3-controlnet": ("SD3ControlNetModel", {"num_layers": 12}),
    "qwen-image-controlnet": ("QwenImageControlNetModel", {"num_layers": 7}),
    "z-image-controlnet": ("ZImageControlNetModel", PLACES),
    "tiny-vae": ("AutoencoderTiny", {}),
}  # fmt: skip


@pytest.mark.parametrize("name", NETS)
def test_control_net_has_a_name_and_blocks_of_bounded_size(name):
    table = table_of(shapes_of_class(*NETS[name]))
    found = detect(table, builtin())
    assert called(found) == name
    sizes = sizes_of_blocks(found, table)
    assert max(sizes.values()) <= 0.15 * sizes.total(), sizes.most_common(1)


def small(shapes):
    random = np.random.default_rng(1)
    extents = {key: [max(4, n // 64) if n > 16 else n for n in s] for key, s in shapes.items()}
    return {key: random.standard_normal(shape, "f4") for key, shape in extents.items()}


@pytest.fixture(params=["controlnet", "controlnet SDXL"])
def net(request, tmp_path):
    """Return a control net as diffusers has it, which lies in a folder in three layouts."""
    arrays = small(shapes_of_class(*NETS[request.param]))
    table = table_of({key: array.shape for key, array in arrays.items()})
    names = [(tensor.key, tensor) for tensor in in_layout(table, "original").values()]
    offsets = {tensor.offset: key for key, tensor in table.items()}
    own = {name: arrays[offsets[tensor.offset]] for name, tensor in names}
    save_file(arrays, tmp_path / "theirs.safetensors")
    save_file(own, tmp_path / "own.safetensors")
    save_file({f"control_model.{k}": v for k, v in own.items()}, tmp_path / "old.safetensors")
    return arrays, own


def test_control_net_in_its_own_layout_is_what_diffusers_converts(net):
    arrays, own = net

    def convert(checkpoint):
        found = oracle.convert_controlnet_checkpoint(checkpoint, {"layers_per_block": 2})
        for there, here in oracle.DIFFUSERS_TO_LDM_MAPPING["controlnet"][
            "addition_embed_type"
        ].items():  # which the function leaves out
            if here in checkpoint:
                found[there] = checkpoint[here]
        return found

    converted = by_diffusers(convert, own)
    assert converted.keys() == arrays.keys()
    assert all(np.array_equal(converted[key], arrays[key]) for key in arrays)
    tables = [table_of({k: v.shape for k, v in each.items()}) for each in net]
    first, second = (detect(table, builtin()) for table in tables)
    assert (first.id, first.variant, first.blocks) == (second.id, second.variant, second.blocks)


@pytest.mark.parametrize("first", ["theirs", "own", "old"])
def test_control_nets_merge_across_layouts(bmerge, net, tmp_path, first):
    arrays, own = net
    wanted = arrays if first == "theirs" else own
    out = tmp_path / "out.safetensors"
    for other in {"theirs", "own", "old"} - {first}:
        called = bmerge("merge", "weighted_sum", tmp_path / f"{first}.safetensors",
                        tmp_path / f"{other}.safetensors", "--alpha", "0.5", "-o", out,
                        "--force")  # fmt: skip
        assert called.status == 0, called.err
        assert "left out" not in called.err.replace("before all keys is left out", "")
        found = load_file(out)
        assert found.keys() == wanted.keys()
        for key in wanted:
            np.testing.assert_allclose(found[key], wanted[key], rtol=1e-6, err_msg=key)


CONTROL, UNET = "control_model.", "model.diffusion_model."


@pytest.fixture
def whole(net, tmp_path):
    """Return a model with a control net in one file, as the first ones were published."""
    _, own = net
    name = "sdxl" if "label_emb.0.0.weight" in own else "sd1"
    arrays = {f"{CONTROL}{key}": 3 * array for key, array in own.items()}
    arrays |= small_model(name, 3, layers=0)
    save_file(arrays, tmp_path / "whole.safetensors")
    unet = {key.removeprefix(UNET): a / 3 for key, a in arrays.items() if key.startswith(UNET)}
    save_file(unet, tmp_path / "unet.safetensors")
    return arrays


@pytest.mark.parametrize("other", ["theirs", "own", "old", "unet"])
def test_model_with_its_control_net_merges_with_either_alone(bmerge, whole, tmp_path, other):
    start = UNET if other == "unet" else CONTROL
    files = [tmp_path / f"{name}.safetensors" for name in ("whole", other)]
    out = tmp_path / "out.safetensors"
    for first, second in (files, files[::-1]):
        called = bmerge("merge", "weighted_sum", first, second, "--alpha", "0.5", "-o", out,
                        "--force")  # fmt: skip
        assert called.status == 0, called.err
        found, alone = load_file(out), load_file(first)
        if first != files[0]:  # which is a third of what it is merged with
            wanted = {key.removeprefix(CONTROL): 2 * array for key, array in alone.items()}
        else:
            wanted = {key: a * 2 / 3 if key.startswith(start) else a for key, a in alone.items()}
        assert found.keys() == wanted.keys()
        for key in (key for key in wanted if "position_ids" not in key):
            np.testing.assert_allclose(found[key], wanted[key], rtol=1e-6, err_msg=key)


@pytest.mark.parametrize("form", [("--layout", "diffusers"), ("--parts", "unet")])
def test_control_net_is_no_part_of_the_model_that_it_lies_beside(bmerge, whole, tmp_path, form):
    out = tmp_path / "out.safetensors"
    called = bmerge("convert", tmp_path / "whole.safetensors", *form, "-o", out)
    assert called.status == 0, called.err
    assert not any("zero_convs" in key for key in load_file(out))
    gguf = bmerge("convert", tmp_path / "whole.safetensors", "-o", tmp_path / "o.gguf")
    assert gguf.status == 1
    assert "holds one model" in gguf.err


def test_control_net_in_one_file_with_its_model_is_a_component_of_its_own():
    unet, net = "model.diffusion_model.input_blocks.11.0.x", "control_model.input_blocks.11.0.x"
    assert components_of([unet, net]) == {unet: "picture model", net: "ControlNet"}


def esrgan(blocks=23):
    """Return the tensors of an ESRGAN by the names of Real-ESRGAN, with few channels."""
    layers = {f"body.{b}.rdb{r}.conv{c}": (4 if c == 5 else 2, 4 + 2 * (c - 1))
              for b in range(blocks) for r in (1, 2, 3) for c in range(1, 6)}  # fmt: skip
    layers |= dict.fromkeys(("conv_body", "conv_up1", "conv_up2", "conv_hr"), (4, 4))
    layers |= {"conv_first": (4, 3), "conv_last": (3, 4)}
    random = np.random.default_rng(1)
    found = {f"{key}.weight": random.standard_normal((*s, 3, 3), "f4") for key, s in layers.items()}
    return found | {f"{k}.bias": random.standard_normal(s[0], "f4") for k, s in layers.items()}


def old_name(name):
    """Return the name in the first code, whose layers are numbered with what has no weights."""
    layer, _, role = name.rpartition(".")
    numbers = {"conv_first": "0", "conv_body": "1.sub.23", "conv_up1": "3", "conv_up2": "6",
               "conv_hr": "8", "conv_last": "10"}  # fmt: skip
    if layer in numbers:
        return f"model.{numbers[layer]}.{role}"
    return f"model.1.sub.{layer[5:].replace('rdb', 'RDB')}.0.{role}"


def trunk_name(name):
    """Return the name in the second code, which has a trunk of residual blocks."""
    layer, _, role = name.rpartition(".")
    others = {"conv_body": "trunk_conv", "conv_up1": "upconv1", "conv_up2": "upconv2",
              "conv_hr": "HRconv"}  # fmt: skip
    layer = layer.replace("body.", "RRDB_trunk.").replace("rdb", "RDB")
    return f"{others.get(layer, layer)}.{role}"


LAYOUTS_OF_ESRGAN = {"basicsr": str, "old": old_name, "trunk": trunk_name}


@pytest.mark.parametrize("pair", [*itertools.permutations(LAYOUTS_OF_ESRGAN, 2)], ids="-".join)
def test_upscalers_merge_across_layouts(bmerge, tmp_path, pair):
    named = esrgan()
    first, other = ({LAYOUTS_OF_ESRGAN[layout](key): array for key, array in named.items()}
                    for layout in pair)  # fmt: skip
    save_file(first, tmp_path / "a.safetensors")
    save_file(other, tmp_path / "b.safetensors")
    out = tmp_path / "o.safetensors"
    called = bmerge("merge", "weighted_sum", tmp_path / "a.safetensors",
                    tmp_path / "b.safetensors", "--alpha", "L03=1,*=0.5", "-o", out)  # fmt: skip
    assert called.status == 0, called.err
    found = load_file(out)
    assert found.keys() == first.keys()
    for key in first:
        np.testing.assert_allclose(found[key], first[key], rtol=1e-6, err_msg=key)
    tables = [table_of({k: v.shape for k, v in each.items()}) for each in (first, other)]
    own, theirs = (detect(table, builtin()) for table in tables)
    assert own.id == theirs.id == "esrgan"
    keys = dict(zip(first, other, strict=True))
    assert all(own.block_of(key) == theirs.block_of(keys[key]) for key in first)
