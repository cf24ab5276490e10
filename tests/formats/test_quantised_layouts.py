"""Every layer of every model that is known can be quantised: no scale is taken for another's."""

from __future__ import annotations

from pathlib import Path

import pytest

from bmerge.formats import Checkpoint, CodedTensor, TensorInfo, decoded
from layouts import LAYER, layouts

FILE = Path("a.safetensors")


def up(size, multiple):
    return -(-size // multiple) * multiple


def scaled_fp8(layer, rows, columns):
    return [
        (f"{layer}.weight", "F8_E4M3", (rows, columns)), (f"{layer}.weight_scale", "F32", ()),
        (f"{layer}.input_scale", "F32", ()),
    ]  # fmt: skip


def by_blocks(layer, rows, columns):
    grid = (-(-rows // 128), -(-columns // 128))
    return [
        (f"{layer}.weight", "F8_E4M3", (rows, columns)), (f"{layer}.weight_scale_inv", "F32", grid)
    ]  # fmt: skip


def nvfp4(layer, rows, columns):
    rows, columns = up(rows, 16), up(columns, 16)
    return [
        (f"{layer}.weight", "U8", (rows, columns // 2)), (f"{layer}.weight_scale_2", "F32", ()),
        (f"{layer}.weight_scale", "F8_E4M3", (up(rows, 128), up(columns // 16, 4))),
        (f"{layer}.input_scale", "F32", ()),
    ]  # fmt: skip


@pytest.mark.parametrize("form", [scaled_fp8, by_blocks, nvfp4], ids=lambda form: form.__name__)
@pytest.mark.parametrize("name", layouts())
def test_all_layers_of_a_layout_are_decoded_with_their_own_scales(name, form):
    tensors, coded, names = [], [], set()
    for key, _, shape in layouts()[name]:
        numbered = LAYER.search(key)
        if numbered and int(numbered[1]):
            continue
        names.add(key)
        layer = key.removesuffix(".weight")
        if layer != key and len(shape) == 2 and "embed" not in key:
            tensors += form(layer, *shape)
            coded.append(key)
        else:
            tensors.append((key, "BF16", tuple(shape)))
    table = {key: TensorInfo(key, dtype, shape, FILE, 0, 0) for key, dtype, shape in tensors}
    found = decoded(Checkpoint(FILE, table, {})).tensors
    assert found.keys() == names
    for key in coded:
        assert isinstance(found[key], CodedTensor), key
        assert {part.key.rpartition(".")[0] for part in found[key].parts} == {key[:-7]}
