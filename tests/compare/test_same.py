from __future__ import annotations

import numpy as np
import pytest

from bmerge.compare.same import sameness
from bmerge.formats import open_checkpoint
from bmerge.testing import write_checkpoint

VALUES = np.arange(6, dtype="f4")
ONE = {"a": VALUES, "b": np.ones(3, "f4")}


@pytest.mark.parametrize(
    ("other", "differing"),
    [
        (ONE, ()),
        ({"b": ONE["b"], "a": ONE["a"]}, ()),
        ({**ONE, "a": VALUES.reshape(2, 3)}, ("a",)),
        ({**ONE, "a": VALUES.view("i4")}, ("a",)),
        ({**ONE, "a": np.where(VALUES == 3, 4, VALUES)}, ("a",)),
        ({"a": VALUES}, ("b",)),
        ({**ONE, "c": VALUES}, ("c",)),
    ],
    ids=["same", "order", "shape", "dtype", "value", "less", "more"],
)
def test_tensors_are_the_same_in_bytes_dtype_and_shape(tmp_path, other, differing):
    files = [
        write_checkpoint(tmp_path / f"{i}.safetensors", tensors)
        for i, tensors in enumerate((ONE, other))
    ]
    found = sameness(*map(open_checkpoint, files))
    assert found.tensors == differing
    assert found.files == (files[0].read_bytes() == files[1].read_bytes())
    assert found.same == (other is ONE)
