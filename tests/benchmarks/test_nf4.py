"""The models in NF4 that the benchmark makes are what bmerge takes for such."""

from __future__ import annotations

import numpy as np

from benchmarks.merge.flux import flux_layout
from benchmarks.merge.nf4 import write_nf4
from bmerge import load_registry
from bmerge.architectures import detect
from bmerge.formats import CodedTensor, decoded, open_checkpoint, values_of


def test_matrices_are_read_as_levels_of_their_blocks(tmp_path):
    layout = [("x.weight", "F16", (6, 64)), ("conv.weight", "F16", (2, 2, 3, 3))]
    write_nf4(tmp_path / "a.safetensors", layout, seed=1)
    table = decoded(open_checkpoint(tmp_path / "a.safetensors")).tensors
    assert [(key, tensor.shape) for key, tensor in table.items()] == [
        (key, shape) for key, _, shape in layout
    ]
    assert isinstance(table["x.weight"], CodedTensor)
    rows = np.frombuffer(values_of(table["x.weight"]), "<f4").reshape(6, 64)
    assert (np.abs(rows).max(1) <= 0.08).all()
    assert all(len(np.unique(row)) <= 16 for row in rows)


def test_a_part_of_flux_is_flux():
    keys = [key for key, _, _ in flux_layout(2, 4, "F16")]
    assert detect(keys, list(load_registry().architectures.values())).name == "Flux.1"
