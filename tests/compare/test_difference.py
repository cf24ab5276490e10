from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from bmerge.architectures import builtin, detect
from bmerge.compare import align, compare
from bmerge.errors import ArchitectureError
from bmerge.executors import NativeExecutor
from bmerge.formats import open_checkpoint
from bmerge.testing import read_checkpoint, tiny_sd1, write_checkpoint


def compared(*files):
    checkpoints = [open_checkpoint(file) for file in files]
    return compare(
        align(checkpoints, detect(checkpoints[0].tensors, builtin())), executor=NativeExecutor()
    )


def norm(*arrays):
    return np.sqrt(sum(np.sum(np.square(x.astype("f8"))) for x in arrays))


@pytest.fixture
def models(tmp_path):
    """Three models of layers with odd sizes, tiny ones too, in two dtypes."""
    rng = np.random.default_rng(7)
    shapes = {
        "a": (300, 411),
        "b": (3,),
        "c": (),
        "d": (70_001,),
        "e": (0, 4),
        "f": (12,),
        "g": (5,),
    }
    files = []
    for name in ("one", "two", "base"):
        tensors = {
            f"layers.{i}.{key}": rng.standard_normal(shape).astype("f4")
            for i in range(2)
            for key, shape in shapes.items()
        }
        dtypes = {key: "F16" for key in tensors if key.endswith((".d", ".f"))}
        dtype = {**dict.fromkeys(tensors, "F32"), **(dtypes if name != "two" else {})}
        files.append(write_checkpoint(tmp_path / f"{name}.safetensors", tensors, dtype=dtype))
    return files


def test_distance_of_every_tensor_block_and_all_is_that_of_float64(models):
    found = compared(*models[:2])
    a, b = map(read_checkpoint, models[:2])
    for row, distance in found.distances:
        x, y = a[row.key].astype("f8"), b[row.key].astype("f8")
        assert distance.elements_changed == np.sum(x != y)
        if not x.size:
            assert (distance.relative, distance.changed) == (0.0, 0)
            continue
        assert distance.relative == pytest.approx(norm(x - y) / norm(x), rel=1e-6)
        assert distance.cosine == pytest.approx(np.sum(x * y) / norm(x) / norm(y), abs=1e-6)
        assert distance.greatest == pytest.approx(np.max(np.abs(x - y)), rel=1e-6)
    keys = [key for key in a if key.startswith("layers.1.")]
    apart = norm(*(a[key].astype("f8") - b[key].astype("f8") for key in keys))
    block = found.blocks["L01"]
    assert block.relative == pytest.approx(apart / norm(*(a[key] for key in keys)), rel=1e-6)
    assert (found.total.keys, found.total.changed) == (14, 12)


def test_with_a_base_both_moves_and_their_cosine_are_told(models):
    total = compared(*models).total
    a, b, c = (
        np.concatenate([x.astype("f8").ravel() for x in read_checkpoint(file).values()])
        for file in models
    )
    moved = [norm(a - c) / norm(c), norm(b - c) / norm(c)]
    assert total.moved == pytest.approx(moved, rel=1e-6)
    assert total.relative == pytest.approx(norm(a - b) / norm(c), rel=1e-6)
    cosine = np.dot(a - c, b - c) / norm(a - c) / norm(b - c)
    assert total.cosine == pytest.approx(cosine, abs=1e-6)


def test_a_change_of_one_number_in_float32_is_seen(tmp_path):
    values = np.linspace(-1, 1, 200_001, dtype="f4")
    other = values.copy()
    other[77_777] = np.nextafter(other[77_777], np.float32(2))
    files = [
        write_checkpoint(tmp_path / f"{i}.safetensors", {"layers.0.w": x, "layers.1.w": values})
        for i, x in enumerate((values, other))
    ]
    found = compared(*files)
    assert found.total.elements_changed == 1
    assert [name for name, each in found.blocks.items() if each.changed] == ["L00"]
    exact = norm(other.astype("f8") - values.astype("f8")) / norm(values, values)
    assert found.total.relative == pytest.approx(exact, rel=1e-6)


def test_nan_counts_as_nothing_and_is_counted(tmp_path):
    one, other = np.ones(50, "f4"), np.ones(50, "f4")
    one[3], other[3], other[4], other[9] = np.nan, np.nan, np.inf, 2.0
    files = [
        write_checkpoint(tmp_path / f"{i}.safetensors", {"w.0.x": x, "w.1.x": np.ones(50)})
        for i, x in enumerate((one, other))
    ]
    total = compared(*files).total
    assert (total.nonfinite, total.elements_changed) == (2, 2)
    assert total.relative == pytest.approx(1 / np.sqrt(98), rel=1e-6)


def test_tensors_are_matched_as_merges_match_them(tmp_path):
    whole = tiny_sd1(tmp_path / "whole.safetensors", 1)
    start = "model.diffusion_model."
    bare = {
        key.removeprefix(start): array
        for key, array in read_checkpoint(whole).items()
        if key.startswith(start)
    }
    del bare["out.2.bias"]
    bare["input_blocks.0.0.weight"] = np.zeros((4, 9, 3, 3), "f2")
    bare["extra.weight"] = np.zeros(3, "f2")
    unet = write_checkpoint(tmp_path / "unet.safetensors", bare, dtype="F16")
    found = compared(whole, unet)
    assert (found.total.keys, found.total.changed) == (684, 0)
    assert [row.key for row in found.alignment.unlike] == [f"{start}input_blocks.0.0.weight"]
    assert f"{start}out.2.bias" in found.alignment.lacking(1)
    assert found.alignment.added(1) == ["extra.weight"]
    assert set(found.components) == {"picture model"}


def test_integers_are_compared_as_they_are(tmp_path):
    ids = np.arange(77)
    files = [
        write_checkpoint(
            tmp_path / f"{i}.safetensors", {"a.0.ids": x, "a.0.same": ids, "a.1.w": np.ones(3)}
        )
        for i, x in enumerate((ids, ids + 1))
    ]
    found = {row.key: each.changed for row, each in compared(*files).distances}
    assert found == {"a.0.ids": 1, "a.0.same": 0, "a.1.w": 0}


def test_models_without_a_common_tensor_are_refused(tmp_path):
    files = [
        write_checkpoint(tmp_path / f"{name}.safetensors", {f"{name}.0.w": np.ones(3)})
        for name in "ab"
    ]
    with pytest.raises(ArchitectureError, match="no tensor in common"):
        compared(*files)


def test_quantised_weights_are_compared_as_the_floats_that_they_stand_for(tmp_path):
    draw = torch.Generator().manual_seed(0)
    plain = {f"blocks.{i}.attn.qkv.weight": torch.randn(64, 32, generator=draw) for i in range(2)}
    scales = {f"{key}_scale": values.abs().max() / 448 for key, values in plain.items()}
    codes = {
        key: (values / scales[f"{key}_scale"]).to(torch.float8_e4m3fn)
        for key, values in plain.items()
    }
    save_file(plain, tmp_path / "plain.safetensors")
    save_file({**codes, **scales}, tmp_path / "fp8.safetensors")
    total = compared(tmp_path / "plain.safetensors", tmp_path / "fp8.safetensors").total
    stored = {key: codes[key].double() * scales[f"{key}_scale"].double() for key in plain}
    apart = norm(*((stored[key] - plain[key].double()).numpy() for key in plain))
    assert total.keys == 2
    assert total.relative == pytest.approx(apart / norm(*map(np.asarray, plain.values())), rel=1e-5)
