"""Which files hold quantised weights, and what each format is called."""

from __future__ import annotations

import json

import pytest

from bmerge.errors import FormatError
from bmerge.formats import (
    CodedTensor,
    decoded,
    open_checkpoint,
    quantised_weights,
    refuse_quantised,
)
from quantised import LAYOUTS, ONE, PLAIN, X, beside, write_layout


@pytest.mark.parametrize("what", LAYOUTS)
def test_quantised_weights_are_found_with_all_that_belongs_to_them(tmp_path, what):
    name, layout = LAYOUTS[what]
    checkpoint = open_checkpoint(write_layout(tmp_path / "q.safetensors", layout))
    (weight,) = quantised_weights(checkpoint)
    assert weight.format == name
    tensors = {weight.codes.key, *(info.key for info in weight.companions.values())}
    plain = {"blocks.1.norm.weight", "scaled_fp8", "te.scaled_fp8"}
    assert tensors == set(checkpoint.tensors) - plain
    with pytest.raises(FormatError, match="q.safetensors holds quantised weights") as caught:
        refuse_quantised(checkpoint)
    assert name in str(caught.value)
    assert caught.value.key == weight.codes.key
    assert "fp16, bf16 or fp32" in caught.value.hint


@pytest.mark.parametrize("leaf", ["qweight", "weight_packed", "W_q"])
def test_packed_codes_are_refused_without_anything_beside_them(tmp_path, leaf):
    layout = [(f"{X}.{leaf}", "I32", (8, 8)), ("blocks.1.norm.weight", "F16", (8,))]
    checkpoint = open_checkpoint(write_layout(tmp_path / "q.safetensors", layout))
    with pytest.raises(FormatError, match=rf"'{X}\.{leaf}', for example"):
        refuse_quantised(checkpoint)


@pytest.mark.parametrize("scaled", [True, False], ids=["scaled", "alone"])
@pytest.mark.parametrize(
    "tag",
    ["F4", "F6_E2M3", "F6_E3M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F8_E8M0", "U16", "U64"],
)
def test_weights_that_nothing_computes_with_are_codes(tmp_path, tag, scaled):
    layout = beside(tag, (8, 8), **({"weight_scale": ("F32", (8, 1))} if scaled else {}))
    checkpoint = open_checkpoint(write_layout(tmp_path / "q.safetensors", layout))
    with pytest.raises(FormatError, match="holds quantised weights") as caught:
        refuse_quantised(checkpoint)
    assert caught.value.key == f"{X}.weight"


@pytest.mark.parametrize("what", PLAIN)
def test_plain_weights_are_never_taken_for_quantised_ones(tmp_path, what):
    checkpoint = open_checkpoint(write_layout(tmp_path / "p.safetensors", PLAIN[what]))
    assert quantised_weights(checkpoint) == ()
    refuse_quantised(checkpoint)


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ({"format": "float8_e4m3fn"}, "scaled fp8"),
        ({"format": "nvfp4"}, "nvfp4"),
        ({"format": "int8_tensorwise", "convrot": True}, "int8 with ConvRot"),
        ({"format": "int8_tensorwise", "params": {"convrot": True}}, "int8 with ConvRot"),
        ({"format": "convrot_w4a4"}, "convrot_w4a4"),
        ({"format": 3}, "a format of ComfyUI"),
        ([], "a format of ComfyUI"),
    ],
)
@pytest.mark.parametrize("by", ["tensor", "metadata"])
def test_the_name_is_what_the_file_declares(tmp_path, said, name, by):
    file, text = tmp_path / "q.safetensors", json.dumps(said).encode()
    if by == "tensor":
        layout = beside("I8", (8, 8), weight_scale=ONE, comfy_quant=("U8", (len(text),)))
        write_layout(file, layout, contents={f"{X}.comfy_quant": text})
    else:
        declared = json.dumps({"format_version": "1.0", "layers": {X: said}})
        metadata = {"_quantization_metadata": declared}
        write_layout(file, beside("I8", (8, 8)), metadata=metadata)
    (weight,) = quantised_weights(open_checkpoint(file))
    assert weight.format == name


@pytest.mark.parametrize("text", ["{", "[]", '{"layers": 3}', '{"layers": {"a": {}}}'])
def test_metadata_that_is_not_sound_or_of_no_layer_says_nothing(tmp_path, text):
    layout = [(f"{X}.weight", "F16", (8, 8))]
    metadata = {"_quantization_metadata": text}
    file = write_layout(tmp_path / "p.safetensors", layout, metadata=metadata)
    assert quantised_weights(open_checkpoint(file)) == ()


def test_a_declaration_that_is_not_json_still_refuses(tmp_path):
    layout = beside("F8_E4M3", (8, 8), comfy_quant=("U8", (4,)))
    (weight,) = quantised_weights(open_checkpoint(write_layout(tmp_path / "q.safetensors", layout)))
    assert weight.format == "a format of ComfyUI"


@pytest.mark.parametrize(
    "text", [b"{[", b"[]", b'{"format": 3}', b'{"format": "int8_"}', b'{"format": "nvfp4"}',
             b'{"format": "float8_e5m2"}', b'{"format": "of_2027"}', b'{"convrot": true}'],
)  # fmt: skip
def test_codes_that_are_not_what_is_declared_are_refused(tmp_path, text):
    layout = beside("F8_E4M3", (8, 8), weight_scale=ONE, comfy_quant=("U8", (len(text),)))
    file = write_layout(tmp_path / "q.safetensors", layout, contents={f"{X}.comfy_quant": text})
    with pytest.raises(FormatError, match="holds quantised|cannot be decoded: .*quant") as caught:
        decoded(open_checkpoint(file))
    assert caught.value.key == f"{X}.weight"


@pytest.mark.parametrize("said", ["float8_e4m3fn", "float8_e4m3fn_rowwise"])
def test_codes_that_are_what_is_declared_are_decoded(tmp_path, said):
    text = json.dumps({"format": said}).encode()
    layout = beside("F8_E4M3", (8, 8), weight_scale=("F32", (8,)), comfy_quant=("U8", (len(text),)))
    file = write_layout(tmp_path / "q.safetensors", layout, contents={f"{X}.comfy_quant": text})
    assert isinstance(decoded(open_checkpoint(file)).tensors[f"{X}.weight"], CodedTensor)


def test_all_formats_of_a_mixed_file_are_named(tmp_path):
    layout = beside("F8_E4M3", (8, 8), weight_scale=ONE)
    layout += [("y.weight", "I8", (8, 8)), ("y.SCB", "F32", (8,))]
    checkpoint = open_checkpoint(write_layout(tmp_path / "q.safetensors", layout))
    with pytest.raises(FormatError, match=r"\(scaled fp8, bitsandbytes int8\)"):
        refuse_quantised(checkpoint)


def test_the_marker_of_one_part_says_nothing_of_another(tmp_path):
    layout = [
        ("te.scaled_fp8", "F8_E4M3", (0,)), ("te.a.weight", "F8_E4M3", (4, 4)),
        ("te.norm.weight", "F8_E4M3", (4,)), ("unet.a.weight", "F8_E4M3", (4, 4)),
    ]  # fmt: skip
    found = quantised_weights(open_checkpoint(write_layout(tmp_path / "q.safetensors", layout)))
    assert [weight.codes.key for weight in found] == ["te.a.weight"]


@pytest.mark.parametrize(("codes", "scale"), [
    ("weight.int_data", "weight.scale"), ("w_int", "w_scale"), ("weight_q.codes", "weight_q.scale"),
    ("weight.tensor_impl.int_data", "weight.tensor_impl.scale"), ("weight_int8", "scale"),
])  # fmt: skip
def test_codes_of_any_name_with_scales_beside_them_are_refused(tmp_path, codes, scale):
    """Who loads them knows their names, which floats must not have."""
    layout = [(f"{X}.{codes}", "I8", (8, 8)), (f"{X}.{scale}", "F32", (8,))]
    checkpoint = open_checkpoint(write_layout(tmp_path / "q.safetensors", layout))
    (weight,) = quantised_weights(checkpoint)
    assert weight.codes.key == f"{X}.{codes}"
    assert [info.key for info in weight.companions.values()] == [f"{X}.{scale}"]
    with pytest.raises(FormatError, match="q.safetensors holds quantised weights"):
        decoded(checkpoint)


UNKNOWN = [
    "qscale", "wscale", "wscales", "w_scale", "scale_w", "weight_qscale", "weight_scales",
    "weight.scales", "scales", "fp8_scale", "scale_fp8", "weight_fp8_scale", "dequant_scale",
    "deq_scale", "weight_scaling_factor", "weightScale", "scale_factor", "scaling_factor",
    "scaling", "scale_inv", "inv_scale", "descale", "weight_amax", "amax", "absmax",
    "weight.absmax", "quant_scale", "_scale", "weight._scale", "_weight_scale", "weight:_scale",
    "weight_quantizer.scale", "quantizer.scale", "quant_state.scale", "scale_channel",
    "channel_scale", "row_scale", "weight_block_scale", "weight_global_scale", "smooth",
    "smooth_factor", "weight_multiplier", "zero_point", "zeros", "lut", "weight_max",
    "scales.weight", "parametrizations.weight.0.scale", "out_scale", "act_scale", "/proj_scale",
    "/proj_scale_inv", "/proj_weight_scale", "/scale_proj", "/scales.proj", "//scales.{}",
    "//scale.{}.weight", "//weight_scales.{}", "//quant_state.{}.weight",
]  # fmt: skip
"""Names of scales beside a layer's weight; after a stroke beside the layer, after two anywhere."""


@pytest.mark.parametrize("scale", UNKNOWN)
def test_8_bit_floats_beside_what_looks_like_their_scale_are_refused(tmp_path, scale):
    """Taken for plain numbers they would make a wrong file."""
    key = f"{X}.{scale}"
    if scale.startswith("//"):
        key = scale[2:].format(X)
    elif scale.startswith("/"):
        key = X.rpartition(".")[0] + "." + scale[1:]
    layout = [(f"{X}.weight", "F8_E4M3", (64, 64)), (key, "F32", (64,))]
    checkpoint = open_checkpoint(write_layout(tmp_path / "q.safetensors", layout))
    (weight,) = quantised_weights(checkpoint)
    assert [info.key for info in weight.companions.values()] == [key]
    with pytest.raises(FormatError, match="q.safetensors holds quantised weights") as caught:
        decoded(checkpoint)
    assert f"{X}.weight" in str(caught.value)


@pytest.mark.parametrize(("codes", "scale"), [
    (X, f"{X}_scale"), (f"{X}.weight_fp8", f"{X}.scale"), (f"{X}.weight_q", f"{X}.scale"),
    (f"{X}.weight:_data", f"{X}.weight:_scale"), (f"{X}.fp8", f"{X}.fp8_scale"),
    (f"{X}.w", f"{X}.w_scale"), ("experts.gate_up", "experts.gate_up_scales"),
])  # fmt: skip
def test_8_bit_floats_of_other_names_are_refused_beside_their_scales(tmp_path, codes, scale):
    layout = [(codes, "F8_E5M2", (4, 64, 64)), (scale, "BF16", (4, 64))]
    with pytest.raises(FormatError, match=f"{codes!r} with {scale!r}"):
        decoded(open_checkpoint(write_layout(tmp_path / "q.safetensors", layout)))


def test_a_second_scale_that_is_not_known_refuses_a_known_format(tmp_path):
    layout = beside("F8_E4M3", (64, 64), weight_scale=ONE, channel_scales=("F32", (64,)))
    with pytest.raises(FormatError, match="holds quantised weights"):
        decoded(open_checkpoint(write_layout(tmp_path / "q.safetensors", layout)))


def test_small_integers_beside_scales_that_belong_to_others_are_plain(tmp_path):
    """A mask of bytes beside no scale, and scales that are bytes beside scales."""
    layout = [
        (f"{X}.mask", "U8", (8, 8)), (f"{X}.weight", "F16", (8, 8)), (f"{X}.index", "I32", (8, 8)),
        (f"{X}.logit_scale", "F32", (8,)),
    ]  # fmt: skip
    assert (
        quantised_weights(open_checkpoint(write_layout(tmp_path / "a.safetensors", layout[:2])))
        == ()
    )
    assert (
        quantised_weights(open_checkpoint(write_layout(tmp_path / "b.safetensors", layout[1:])))
        == ()
    )
