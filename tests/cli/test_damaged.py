"""A quantised weight whose parts are damaged: every command names the part, and writes nothing."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from bmerge.dtypes import BITS
from bmerge.testing import write_checkpoint
from coded import LAYERS, X, said
from quantised import write_layout

SCALE = f"'{X}.weight_scale'"
WEIGHT = f"'{X}.weight'"
SAID = f"'{X}.comfy_quant'"
LEVELS = f"{X}.weight"
STATE = "weight.quant_state.bitsandbytes__nf4"

GONE = {
    "int8": ("int8", "weight_scale", f"{SCALE} is missing"),
    "ConvRot": ("ConvRot", "weight_scale", f"{SCALE} is missing"),
    "LLM.int8": ("LLM.int8", "SCB", f"'{X}.SCB' is missing"),
    "nvfp4": ("nvfp4", "weight_scale", f"{SCALE} is missing"),
    "nvfp4, that of all": ("nvfp4", "weight_scale_2", f"'{X}.weight_scale_2' is missing"),
    "nf4": ("nf4", "weight.absmax", f"'{LEVELS}.absmax' is missing"),
    "nf4, levels": ("nf4", "weight.quant_map", f"'{LEVELS}.quant_map' is missing"),
    "nf4, state": ("nf4", STATE, f"'{LEVELS}.quant_state.bitsandbytes__…' is missing"),
    "nested": (
        "nested fp4", "weight.nested_absmax", f"'{LEVELS}.nested_absmax' is missing"),
    "GPTQ": ("GPTQ", "qzeros", f"'{X}.qzeros' is missing"),
    "AWQ": ("AWQ", "scales", f"'{X}.scales' is missing"),
}  # fmt: skip
"""What is damaged → layer, the role that is not there, and what is said."""

CHANGED = {
    "rows": ("fp8 by rows", "weight_scale", ("F32", (35, 1)), f"{SCALE} has shape [35, 1], but"),
    "number": ("fp8", "weight_scale", ("I32", ()), f"{SCALE} is I32, which no scale is"),
    "int8": ("int8", "weight_scale", ("F32", (7,)), f"{SCALE} has shape [7], but {WEIGHT} has"),
    "SCB": ("LLM.int8", "SCB", ("F32", (30,)), f"'{X}.SCB' has shape [30]; the weight takes [33]"),
    "mxfp8": (
        "mxfp8", "weight_scale", ("U8", (63, 5)),
        f"{SCALE} has shape [63, 5]; the weight takes [128, 8]"),
    "nvfp4": (
        "nvfp4", "weight_scale", ("F8_E4M3", (128, 8)),
        f"{SCALE} has shape [128, 8]; the weight takes [256, 8]"),
    "nvfp4, that of all": (
        "nvfp4", "weight_scale_2", ("F32", (2,)),
        f"'{X}.weight_scale_2' has shape [2]; the weight takes one number"),
    "factors": (
        "nvfp4 with factors", "pre_quant_scale", ("F32", (95,)),
        f"'{X}.pre_quant_scale' has shape [95]; the weight takes [96]"),
    "absmax": (
        "nf4", "weight.absmax", ("F32", (11,)),
        f"'{LEVELS}.absmax' has shape [11]; the weight takes [12]"),
    "numbers of absmax": (
        "nf4", "weight.absmax", ("I32", (12,)), f"'{LEVELS}.absmax' is I32, not F32 or U8"),
    "nested": (
        "nested fp4", "weight.nested_absmax", ("F32", (4,)),
        f"'{LEVELS}.nested_absmax' has shape [4]; the weight takes [3]"),
    "nested levels": (
        "nested fp4", "weight.nested_quant_map", ("F32", (255,)),
        f"'{LEVELS}.nested_quant_map' has shape [255]; the weight takes [256]"),
    "scales of words": (
        "GPTQ", "scales", ("F16", (4, 40)),
        f"'{X}.scales' has shape [4, 40], but '{X}.qzeros' has shape [3, 5]"),
    "zeros of words": ("AWQ", "qzeros", ("F32", (2, 5)), f"'{X}.qzeros' is F32, not I32 or U32"),
    "groups of words": (
        "GPTQ", "g_idx", ("I32", (95,)), f"'{X}.g_idx' has not a group of '{X}.scales' for each"),
}  # fmt: skip
"""What is damaged → layer, a role, what it is instead, and what is said."""

TOLD = {
    "other codes": ("int8", {"format": "nvfp4"}, f"{SAID} says 'nvfp4', whose codes are U8, but"),
    "other scales": ("mxfp8", {"format": "float8_e4m3fn"}, f"{SAID} says 'float8_e4m3fn', but"),
    "no powers": ("fp8 by rows", {"format": "mxfp8"}, f"{SAID} says 'mxfp8', but {SCALE} is F32"),
    "no format": ("int8", {"x": 1}, f"{SAID} names no format"),
    "groups": (
        "ConvRot",
        {"format": "int8_tensorwise", "convrot": True, "convrot_groupsize": 64},
        f"{SAID} rotates groups that 48 columns are not made of",
    ),
}
"""What is contradicted → layer, what is declared, and what is said."""


def damaged():
    """Yield what it is, tensors of a layer (role → dtype, shape, bytes), and what is said."""
    for what, (name, role, fault) in GONE.items():
        tensors = dict(LAYERS[name](np.random.default_rng(3)).tensors)
        del tensors[role]
        yield f"without {role} of {what}", tensors, fault
    for what, (name, role, other, fault) in CHANGED.items():
        tensors = LAYERS[name](np.random.default_rng(3)).tensors
        yield f"changed {what}", {**tensors, role: (*other, None)}, fault
    for what, (name, told, fault) in TOLD.items():
        tensors = LAYERS[name](np.random.default_rng(3)).tensors
        yield f"told {what}", {**tensors, "comfy_quant": said(**told)}, fault
    tensors = dict(LAYERS["fp8"](np.random.default_rng(3)).tensors)
    del tensors["weight_scale"]
    told = said(format="float8_e4m3fn")
    yield "declared without a scale", {**tensors, "comfy_quant": told}, f"{SCALE} is missing"
    state = LAYERS["nf4"](np.random.default_rng(3)).tensors
    short = {**state, STATE: said(blocksize=64, shape=[99, 99])}
    yield "a shape of more", short, f"'{LEVELS}.quant_state.bitsandbytes__nf4' tells a shape of"
    short = {**state, STATE: said(blocksize=64)}
    yield "no shape", short, f"'{LEVELS}.quant_state.bitsandbytes__nf4' does not tell the shape"


CASES = {what: (tensors, fault) for what, tensors, fault in damaged()}


def written(folder, tensors):
    """Write a file of one layer, with what is not said of its bytes filled."""
    rows = [(f"{X}.{role}", dtype, shape) for role, (dtype, shape, _) in tensors.items()]
    contents = {
        f"{X}.{role}": data if data is not None else bytes(math.prod(shape) * BITS[dtype] // 8)
        for role, (dtype, shape, data) in tensors.items()
    }
    return write_layout(folder / "q.safetensors", rows, contents=contents)


@pytest.mark.parametrize("what", CASES)
def test_every_command_names_the_damaged_part(bmerge, tmp_path, what):
    tensors, fault = CASES[what]
    file, out = written(tmp_path, tensors), tmp_path / "out.safetensors"
    write_checkpoint(tmp_path / "plain.safetensors", {f"{X}.weight": np.ones((8, 8), "f4")})
    plain = tmp_path / "plain.safetensors"
    for words in (
        ("merge", "weighted_sum", plain, file, "-o", out),
        ("convert", file, "--quantise", "none", "-o", out),
        ("diff", plain, file),
    ):
        called = bmerge(*words)
        assert called.status == 1, words
        errors = [line for line in called.err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1
        assert errors[0].startswith(f"error: q.safetensors: '{X}.")
        assert f"cannot be decoded: {fault}" in errors[0]
        assert "download it, or quantise the model, once more" in called.err
        assert not out.exists()
    shown = bmerge("inspect", file)
    assert shown.status == 0
    assert f"damaged       {fault}" in shown.out
    found = json.loads(bmerge("inspect", file, "--json").out)["damaged"]
    assert len(found) == 1
    assert found[0].startswith(fault)


def test_inspect_tells_of_some_damaged_weights_and_counts_the_others(bmerge, tmp_path):
    layout = [(f"blocks.{n}.weight", "I8", (8, 8)) for n in range(5)]
    shown = bmerge("inspect", write_layout(tmp_path / "q.safetensors", layout)).out
    assert shown.count("damaged ") == 4
    assert "damaged       and 2 weights more\n" in shown


def test_what_is_not_decoded_at_all_is_not_called_damaged(bmerge, tmp_path):
    layout = [(f"{X}.weight", "I8", (8, 8)), (f"{X}.weight_scale", "F32", (8, 1)),
              (f"{X}.weight_zero_point", "I8", (8, 1))]  # fmt: skip
    file = write_layout(tmp_path / "q.safetensors", layout)
    assert json.loads(bmerge("inspect", file, "--json").out)["damaged"] == []
    called = bmerge("convert", file, "--quantise", "none", "-o", tmp_path / "out.safetensors")
    assert "holds quantised weights (int8), which cannot be merged" in called.err


NOT_FINITE = {
    "fp8": ("fp8 by rows", "weight_scale"),
    "int8": ("int8", "weight_scale"),
    "mxfp8": ("mxfp8", "weight_scale"),
    "nvfp4": ("nvfp4", "weight_scale"),
    "nvfp4, that of all": ("nvfp4", "weight_scale_2"),
    "LLM.int8": ("LLM.int8", "SCB"),
    "nf4": ("nf4", "weight.absmax"),
    "nested": ("nested fp4", "weight.nested_absmax"),
}
"""Whose scale is it → layer, role."""
NANS = {"F32": np.float32(np.nan).tobytes(), "U8": b"\xff", "F8_E4M3": b"\x7f"}


@pytest.mark.parametrize("whose", NOT_FINITE)
def test_a_scale_that_is_no_number_is_named_and_not_its_weight(bmerge, tmp_path, whose):
    name, role = NOT_FINITE[whose]
    layer = LAYERS[name](np.random.default_rng(3))
    dtype, shape, data = layer.tensors[role]
    nan = NANS[dtype]
    layer.tensors[role] = dtype, shape, nan + data[len(nan) :]
    file = written(tmp_path, layer.tensors)
    plain = tmp_path / "plain.safetensors"
    write_checkpoint(plain, {f"{X}.weight": layer.values})
    for words in (("merge", "weighted_sum", plain, file), ("convert", file, "--quantise", "none")):
        called = bmerge(*words, "-o", tmp_path / "out.safetensors")
        assert called.status == 1
        part = f"'{X}.{role}', a scale of '{X}.weight', holds NaN or infinity in q.safetensors"
        assert f"error: {part}\n" in called.err
        assert not (tmp_path / "out.safetensors").exists()


def test_a_code_that_is_no_number_is_told_of_the_weight(bmerge, tmp_path):
    layer = LAYERS["fp8"](np.random.default_rng(3))
    dtype, shape, data = layer.tensors["weight"]
    layer.tensors["weight"] = dtype, shape, b"\x7f" + data[1:]
    file = written(tmp_path, layer.tensors)
    called = bmerge("convert", file, "--quantise", "none", "-o", tmp_path / "out.safetensors")
    assert f"error: '{X}.weight' holds NaN or infinity in q.safetensors\n" in called.err
