"""Quantised weights as floats, against decoders of the tests' own."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from bmerge import _native
from bmerge.errors import FormatError
from bmerge.formats import CodedTensor, decoded, open_checkpoint, rows_of, values_of
from bmerge.formats.composed import joined
from coded import LAYERS, X, f32, nvfp4, scaled_fp8
from quantised import write_layout


def opened(path, layer):
    layout = [*layer.layout(), ("norm.weight", "F16", (4,))]
    file = write_layout(path / "q.safetensors", layout, contents=layer.contents())
    return decoded(open_checkpoint(file))


def floats(data):
    return np.frombuffer(data, "<f4")


@pytest.mark.parametrize("what", LAYERS)
def test_weights_are_decoded_to_the_bit_from_any_element_on(tmp_path, what):
    layer = LAYERS[what](np.random.default_rng(1))
    table = opened(tmp_path, layer).tensors
    assert set(table) == {f"{X}.weight", "norm.weight"} | ({f"{X}.bias"} & set(table))
    tensor = table[f"{X}.weight"]
    assert isinstance(tensor, CodedTensor)
    assert tensor.shape == layer.values.shape
    assert tensor.dtype == ("F16" if "4" in what and "f" in what and "nv" not in what else "BF16")
    exact = layer.values.reshape(-1)
    whole = floats(values_of(tensor))
    if exact.dtype == np.float64:  # rotated: not in the order of the reference's sums
        assert np.abs(whole - exact).max() <= 3e-7 * np.abs(exact).max()
    else:
        assert whole.tobytes() == exact.tobytes()
    for begin, count in ((1, 1), (5, 70), (31, 34), (tensor.numel - 3, 3), (63, 0)):
        part = floats(values_of(tensor, begin, count))
        assert part.tobytes() == whole[begin : begin + count].tobytes()


@pytest.mark.parametrize("what", LAYERS)
def test_layers_with_numbers_for_names_are_told_apart(tmp_path, what):
    """``mlp.0.weight_scale_2`` is not a scale of ``mlp.2.weight``, as in Flux and Wan."""
    rng = np.random.default_rng(2)
    made = {f"mlp.{number}": LAYERS[what](rng) for number in (0, 1, 2)}
    if any(role.startswith("/") for layer in made.values() for role in layer.tensors):
        return  # of the whole file
    layout = [entry for name, layer in made.items() for entry in layer.layout(name)]
    contents = {k: v for name, layer in made.items() for k, v in layer.contents(name).items()}
    file = write_layout(tmp_path / "q.safetensors", layout, contents=contents)
    table = decoded(open_checkpoint(file)).tensors
    for name, layer in made.items():
        exact = layer.values.reshape(-1)
        values = floats(values_of(table[f"{name}.weight"]))
        assert np.abs(values - exact).max() <= 1e-6 * np.abs(exact).max()


@pytest.mark.parametrize(
    ("name", "size", "halves", "expected"),
    [
        ("Q4_0", 18, (0,), 3943369051), ("Q4_1", 20, (0, 2), 3705683382),
        ("Q5_0", 22, (0,), 3078421402), ("Q5_1", 24, (0, 2), 569491828),
        ("Q8_0", 34, (0,), 1061656527), ("Q4_K", 144, (0, 2), 974010795),
        ("Q5_K", 176, (0, 2), 3525896873), ("Q6_K", 210, (208,), 4207921715),
    ],
)  # fmt: skip
def test_blocks_of_gguf_have_the_values_of_its_reference(name, size, halves, expected):
    """Checksums are of what ``gguf`` 0.19 makes of these bytes."""
    rng = np.random.RandomState(7)
    raw = rng.randint(0, 256, (12, size)).astype(np.uint8)
    for at in halves:
        half = (rng.standard_normal(12) * 0.01).astype("<f2")
        raw[:, at : at + 2] = half.view(np.uint8).reshape(12, 2)
    block = 256 if name.endswith("K") else 32
    whole = bytearray(4 * 12 * block)
    stored = ("ggml", [(0, 0)], (name, 12))
    _native.decode([raw.tobytes()], stored, whole)
    assert zlib.crc32(whole) == expected
    part = bytearray(4 * (block + 7))
    _native.decode([raw.tobytes()], [(stored, block - 3, block + 7)], part)
    assert part == whole[4 * (block - 3) : 4 * (2 * block + 4)]


def test_rows_of_codes_are_put_together(tmp_path):
    layer = LAYERS["ConvRot"](np.random.default_rng(1))
    tensor = opened(tmp_path, layer).tensors[f"{X}.weight"]
    parts = [rows_of(tensor, "x", 5, 9), rows_of(tensor, "x", 0, 3)]
    whole = floats(values_of(tensor)).reshape(tensor.shape)
    expected = np.concatenate([whole[5:9], whole[0:3]])
    together = joined(parts, "x")
    assert floats(values_of(together)).tobytes() == expected.tobytes()
    part = floats(values_of(together, 150, 60))
    assert part.tobytes() == expected.reshape(-1)[150:210].tobytes()


def changed(layer, **entries):
    """Return a layer with other tensors for some roles."""
    layer.tensors |= entries
    return layer


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (lambda rng: changed(nvfp4(rng), weight_scale=("F8_E4M3", (144, 6), bytes(864))), "nvfp4"),
        (lambda rng: changed(scaled_fp8(rng), weight_zero_point=("I8", (1,), b"\0")), "scaled fp8"),
        (lambda rng: changed(scaled_fp8(rng), weight_scale=("F64", (), bytes(8))), "scaled fp8"),
        (
            lambda rng: changed(scaled_fp8(rng), weight_scale=f32([1] * 7)),
            "fp8 with a scale per row",
        ),
    ],
    ids=["scales of other tiles", "zero points", "scales of F64", "too few scales"],
)
def test_what_is_not_known_for_certain_is_refused_by_name(tmp_path, layer, name):
    rng = np.random.default_rng(1)
    with pytest.raises(FormatError, match=rf"\({name}\)(, which cannot| cannot be decoded)"):
        opened(tmp_path, layer(rng))


def test_codes_that_a_file_does_not_hold_are_refused(tmp_path):
    codes = tmp_path / "codes"
    codes.write_bytes(bytes(60))
    scaled = ("E4M3", (8, 8, 8), ("grid", 8, 8, 1), "F32", False, False, 1.0, None)
    with pytest.raises(_native.IoError, match="it has 60"):
        _native.decode([codes], ("scaled", [(0, 0), (0, 0)], scaled), bytearray(256))
    rotated = (*scaled[:-1], 3)
    with pytest.raises(_native.ProgramError, match="groups of"):
        _native.decode([bytes(99)], ("scaled", [(0, 0), (0, 0)], rotated), bytearray(256))
    with pytest.raises(_native.ProgramError, match="1 parts; they take 2"):
        _native.decode([bytes(99)], ("scaled", [(0, 0)], scaled), bytearray(256))
