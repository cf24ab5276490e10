"""The rule leaves every model what it is; held against layouts and modules that are not ours."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from bmerge import ArchitectureError, Payload
from bmerge.formats import Checkpoint, TensorInfo, open_checkpoint
from bmerge.rebasin import FamilyFacts, rule_of
from bmerge.rebasin.weights import in_order
from bmerge.testing import read_checkpoint, tiny_sd1, write_checkpoint
from bmerge.testing.layouts import sd1_layout, sdxl_layout
from bmerge_plugins.generators.demo import DemoGenerator
from shuffled import BASE, random_orders

NORM = re.compile(
    r".*(in_layers\.0|out_layers\.0|\d\.norm|attn_1\.norm|\.norm[12]|\.out\.0|norm_out)\.weight"
)
LAYER_NORM = ".transformer_blocks."


def in_memory(layout):
    """Return a checkpoint of true shapes that lies nowhere."""
    infos = {key: TensorInfo(key, dtype, shape, Path("none"), 0, 0) for key, dtype, shape in layout}
    return Checkpoint(Path("layout.safetensors"), infos)


@pytest.fixture(scope="module", params=[sd1_layout, sdxl_layout], ids=["sd1", "sdxl"])
def whole(request):
    """A checkpoint of true shapes, its rule and a random order."""
    checkpoint = in_memory(request.param())
    rule = rule_of(checkpoint)
    return checkpoint, rule, random_orders(rule, 0)


def sources(key, dim, whole):
    """Return where on an axis of a tensor its channels come from."""
    checkpoint, rule, orders = whole
    places = np.arange(checkpoint.tensors[key].shape[dim])
    return in_order(places, (rule.axes[key][dim],), orders)


def test_channels_that_share_a_group_go_on_sharing_one(whole):
    keys = [key for key in whole[0].tensors if NORM.fullmatch(key) and LAYER_NORM not in key]
    assert len(keys) > 90
    for key in keys:
        groups = sources(key, 0, whole).reshape(32, -1)
        size = groups.shape[1]
        assert (groups // size == groups[:, :1] // size).all(), key


def test_heads_stay_heads_and_fit_each_other(whole):
    heads = 8 if len(whole[0].tensors) < 2000 else None
    for key in whole[0].tensors:
        if not key.endswith("attn1.to_q.weight"):
            continue
        asked, answered = sources(key, 0, whole), sources(key.replace("to_q", "to_v"), 0, whole)
        size = len(asked) // heads if heads else 64
        of_head = asked.reshape(-1, size) // size
        assert (of_head == of_head[:, :1]).all()
        assert (of_head == answered.reshape(-1, size) // size).all()
        assert (asked == sources(key.replace("to_q", "to_k"), 0, whole)).all()
        assert (answered == sources(key.replace("to_q.", "to_out.0."), 1, whole)).all()


def test_nearly_all_channels_are_free(whole):
    """Only the stream of text encoders, latents, pictures and the time steps are fixed."""
    checkpoint, rule, orders = whole
    unet = [key for key in checkpoint.tensors if key.startswith("model.diffusion_model.")]
    assert {key for key in unet if not any(rule.axes.get(key, ()))} == {
        "model.diffusion_model.out.2.bias"
    }
    moved = sum(int((order != np.arange(len(order))).sum()) for order in orders.values())
    assert moved > 0.95 * sum(rule.sizes.values())


def pictures(path):
    """Return what the demo paints with a model."""
    tensors = {key: torch.from_numpy(array.copy()) for key, array in read_checkpoint(path).items()}

    class Model:
        def into(self, state):
            for key, tensor in state.items():
                tensor.copy_(tensors[key])

    generator = DemoGenerator()
    try:
        generator.load(Model())
        prompts = ["a red star", "a blue circle"]
        payloads = [Payload(p, p, seed=i, steps=6) for i, p in enumerate(prompts)]
        return [np.asarray(p.image, dtype=int) for p in generator.generate(payloads)]
    finally:
        generator.close()


def test_demo_paints_the_same_pictures_in_another_order(shuffled):
    before, after = pictures(BASE), pictures(shuffled)
    assert read_checkpoint(BASE).keys() == read_checkpoint(shuffled).keys()
    for one, other in zip(before, after, strict=True):
        assert one.std() > 10  # there is something to see
        assert abs(one - other).max() <= 1


def test_attention_of_open_clip_is_the_same_in_another_order():
    width, heads = 24, 4
    torch.manual_seed(0)
    module = torch.nn.MultiheadAttention(width, heads, batch_first=True)
    x = torch.randn(2, 5, width)
    expected = module(x, x, x)[0]
    prefix = "conditioner.embedders.1.model.transformer.resblocks.0."
    layout = sdxl_layout("F32")
    state = {prefix + "attn." + key: value for key, value in module.state_dict().items()}
    mlp = {f"{prefix}mlp.c_fc.weight": (96, width), f"{prefix}mlp.c_proj.weight": (width, 96)}
    shapes = {**{key: tuple(value.shape) for key, value in state.items()}, **mlp}
    unet = [entry for entry in layout if entry[0].startswith("model.")]
    checkpoint = in_memory([*unet, *((key, "F32", shape) for key, shape in shapes.items())])
    rule = rule_of(checkpoint, FamilyFacts(text_head_width=width // heads))
    orders = random_orders(rule, 3)
    shuffled = {
        key.removeprefix(prefix + "attn."): torch.from_numpy(
            in_order(value.numpy(), rule.axes.get(key, ()), orders)
        )
        for key, value in state.items()
    }
    assert not torch.equal(shuffled["in_proj_weight"], module.in_proj_weight)
    module.load_state_dict(shuffled)
    torch.testing.assert_close(module(x, x, x)[0], expected)


def test_moving_averages_are_put_into_the_same_order():
    checkpoint = in_memory(sd1_layout(ema=True))
    rule = rule_of(checkpoint)
    key = "model.diffusion_model.output_blocks.5.1.transformer_blocks.0.ff.net.0.proj.weight"
    average = "model_ema." + key.removeprefix("model.").replace(".", "")
    assert rule.axes[average] == rule.axes[key]


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_unet_alone_is_enough(prefix):
    layout = [
        (key.replace("model.diffusion_model.", prefix), *rest)
        for key, *rest in sd1_layout()
        if key.startswith("model.")
    ]
    assert len(rule_of(in_memory(layout)).axes) == 686


def test_other_models_are_refused(tmp_path):
    other = write_checkpoint(tmp_path / "llm.safetensors", {"layers.0.w": np.zeros((2, 2))})
    with pytest.raises(ArchitectureError, match=r"llm\.safetensors has no UNet"):
        rule_of(open_checkpoint(other))


def test_unet_of_unknown_widths_is_refused(tmp_path):
    tiny = tiny_sd1(tmp_path / "tiny.safetensors", 0)
    with pytest.raises(ArchitectureError, match="widths 4/9, whose heads are not known"):
        rule_of(open_checkpoint(tiny))


def test_missing_layer_is_named():
    layout = [entry for entry in sd1_layout() if "middle_block.0.emb_layers.1" not in entry[0]]
    with pytest.raises(ArchitectureError, match=r"no tensor '.*middle_block\.0\.emb_layers"):
        rule_of(in_memory(layout))


def test_layer_of_another_width_is_named():
    key = "model.diffusion_model.middle_block.0.emb_layers.1.weight"
    layout = [(k, d, (640, 1280) if k == key else s) for k, d, s in sd1_layout()]
    with pytest.raises(ArchitectureError, match="emb_layers.1.weight' has 640 channels where 1280"):
        rule_of(in_memory(layout))


def test_module_of_another_kind_is_named():
    key = "model.diffusion_model.middle_block.3.mixer.weight"
    with pytest.raises(ArchitectureError, match=r"middle_block\.3' is not a module"):
        rule_of(in_memory([*sd1_layout(), (key, "F16", (1280, 1280))]))
