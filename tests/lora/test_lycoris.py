"""LoRAs that LyCORIS itself wrote, one of each of its algorithms, against its modules' weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bmerge.testing import read_checkpoint

FOLDER = Path(__file__).parents[1] / "data" / "lycoris"
ALGORITHMS = sorted(
    path.stem for path in FOLDER.glob("*.safetensors") if path.stem not in {"base", "expected"}
)


@pytest.mark.parametrize("executor", ["native", "torch"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_lycoris_wrote_gives_its_weights(algorithm, executor, bmerge, tmp_path):
    model, lora = FOLDER / "base.safetensors", FOLDER / f"{algorithm}.safetensors"
    out = tmp_path / "out.safetensors"
    words = (str(model), "--lora", str(lora), "-o", str(out), "--executor", executor)
    called = bmerge("merge", "add_difference", *words)
    assert called.status == 0, called.err
    assert "left out" not in called.err
    expected = {
        key.removeprefix(f"{algorithm}/"): values
        for key, values in read_checkpoint(FOLDER / "expected.safetensors").items()
        if key.startswith(f"{algorithm}/")
    }
    merged, base = read_checkpoint(out), read_checkpoint(model)
    assert len(expected) >= 2
    for key, values in base.items():
        wanted = expected.get(key, values)
        np.testing.assert_allclose(merged[key], wanted, rtol=1e-5, atol=1e-6, err_msg=key)
    assert all(not np.array_equal(expected[key], base[key]) for key in expected)
