from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from bmerge.errors import ExecutorError, FormatError
from bmerge.executors import NativeExecutor
from bmerge.executors.torch import TorchExecutor
from bmerge.formats import open_checkpoint, sha256_of
from bmerge.pipeline import merge_to_file
from bmerge.recipe import BlockWeights
from bmerge.testing.checkpoints import read_checkpoint, tiny_sd1, write_checkpoint
from merges import assert_near, names_in, plan_of, weighted_sums

CONVOLUTION = "model.diffusion_model.input_blocks.0.0.weight"
EXECUTORS = {"native": NativeExecutor(), "torch": TorchExecutor("cpu")}


@pytest.fixture(params=EXECUTORS)
def executor(request):
    return EXECUTORS[request.param]


def test_file_holds_the_weighted_sums(tmp_path, models, executor):
    weights = BlockWeights(0.3, {"BASE": 0.0, "IN04": 1.0, "OUT11": -0.5})
    plan = plan_of(models, alpha=weights)
    out = tmp_path / "out.safetensors"
    report = merge_to_file(plan, out, executor=executor)
    block_of = plan.architecture.block_of
    exact = weighted_sums(*models, lambda key: weights.of(block_of(key)))
    assert_near(read_checkpoint(out), exact)
    assert report.output == out
    assert report.nbytes == out.stat().st_size
    assert names_in(tmp_path) == ["out.safetensors"]


def test_blocks_with_weight_0_and_1_are_the_inputs_to_the_bit(tmp_path, models, executor):
    weights = BlockWeights(0.5, {"BASE": 0.0, "IN04": 1.0})
    plan = plan_of(models, alpha=weights)
    merge_to_file(plan, tmp_path / "o.safetensors", executor=executor)
    merged, a, b = map(read_checkpoint, (tmp_path / "o.safetensors", *models))
    for key, array in merged.items():
        block = plan.architecture.block_of(key)
        if block == "BASE":
            assert array.tobytes() == a[key].tobytes()
        elif block == "IN04":
            assert array.tobytes() == b[key].tobytes()


def test_other_programs_read_the_file(tmp_path, models):
    out = tmp_path / "out.safetensors"
    merge_to_file(plan_of(models), out, executor=NativeExecutor())
    ours, theirs = read_checkpoint(out), load_file(out)
    assert ours.keys() == theirs.keys()
    assert list(open_checkpoint(out).tensors) == list(open_checkpoint(models[0]).tensors)
    with safe_open(out, "np") as file:
        assert file.metadata()["format"] == "pt"


def test_equal_merges_give_equal_bytes(tmp_path, models):
    contents = set()
    for number, threads in enumerate((1, 2, 4)):
        moved = tmp_path / str(number)
        moved.mkdir()
        paths = [shutil.copy(model, moved) for model in models]
        out = moved / f"out{number}.safetensors"
        merge_to_file(plan_of(paths), out, executor=NativeExecutor(threads=threads))
        contents.add(out.read_bytes())
    merge_to_file(plan_of(models), tmp_path / "t.safetensors", executor=TorchExecutor("cpu"))
    contents.add((tmp_path / "t.safetensors").read_bytes())
    assert len(contents) == 1


@pytest.mark.parametrize("dtype", ["F32", "BF16", "F16"])
def test_dtype_of_the_recipe_is_that_of_the_file(tmp_path, models, dtype, executor):
    out = tmp_path / "out.safetensors"
    merge_to_file(plan_of(models, dtype=dtype), out, executor=executor)
    precision = {
        "F32": {"bits": 22, "least": 0.1},  # of the inputs' size: float32 loses what cancels out
        "BF16": {"bits": 8},
        "F16": {"bits": 11},
    }[dtype]
    assert_near(read_checkpoint(out), weighted_sums(*models, lambda _: 0.3), **precision)
    infos = open_checkpoint(out).tensors.values()
    assert {info.dtype for info in infos} == {dtype, "I64"}


@pytest.mark.parametrize("wide", ["first", "second"])
@pytest.mark.parametrize("dtype", [None, "F32"])
def test_inpainting_model_keeps_its_own_channels(tmp_path, models, wide, dtype, executor):
    inpaint = tiny_sd1(tmp_path / "inpaint.safetensors", 7, in_channels=9)
    paths = [inpaint, models[0]] if wide == "first" else [models[0], inpaint]
    out = tmp_path / "out.safetensors"
    merge_to_file(plan_of(paths, dtype=dtype), out, executor=executor)
    merged, first, second = (read_checkpoint(p)[CONVOLUTION] for p in (out, *paths))
    own = (first if wide == "first" else second)[:, 4:]
    assert np.array_equal(merged[:, 4:], own)
    exact = 0.7 * first[:, :4].astype("f8") + 0.3 * second[:, :4].astype("f8")
    assert np.allclose(merged[:, :4], exact, rtol=2**-11, atol=2**-24)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_split_tensor_with_weight_0_or_1_is_an_input_to_the_bit(tmp_path, models, alpha):
    arrays = read_checkpoint(models[0])
    arrays[CONVOLUTION] = np.full_like(arrays[CONVOLUTION], -0.0)
    zero = write_checkpoint(tmp_path / "zero.safetensors", arrays, dtype="F16")
    inpaint = tiny_sd1(tmp_path / "inpaint.safetensors", 7, in_channels=9)
    out = tmp_path / "out.safetensors"
    merge_to_file(plan_of([zero, inpaint], alpha=alpha), out, executor=NativeExecutor())
    merged, own = (read_checkpoint(p)[CONVOLUTION] for p in (out, inpaint))
    shared = arrays[CONVOLUTION] if alpha == 0 else own[:, :4]
    assert merged.tobytes() == np.concatenate([shared, own[:, 4:]], 1).tobytes()


def test_rows_of_a_split_tensor_are_those_of_the_whole(tmp_path, models):
    inpaint = tiny_sd1(tmp_path / "inpaint.safetensors", 7, in_channels=9)
    plan = plan_of([models[0], inpaint], alpha=0.5, method="tensor_sum")
    out = tmp_path / "out.safetensors"
    merge_to_file(plan, out, executor=NativeExecutor())
    merged, a, b = (read_checkpoint(p)[CONVOLUTION] for p in (out, models[0], inpaint))
    assert np.array_equal(merged[:2, :4], b[:2, :4])
    assert np.array_equal(merged[2:, :4], a[2:])


def test_broken_position_ids_are_repaired(tmp_path, models):
    arrays = read_checkpoint(models[0])
    key = next(key for key in arrays if key.endswith("position_ids"))
    arrays[key] = arrays[key] + 0.5
    broken = write_checkpoint(tmp_path / "x.safetensors", arrays, dtype="F16")
    out = tmp_path / "out.safetensors"
    merge_to_file(plan_of([broken, models[1]]), out, executor=NativeExecutor())
    repaired = read_checkpoint(out)[key]
    assert repaired.dtype == np.int64
    assert np.array_equal(repaired, np.arange(77)[None])


def test_metadata_tells_recipe_hashes_and_version(tmp_path, models):
    out = tmp_path / "out.safetensors"
    weights = BlockWeights(0.5, {"M00": 0.25})
    merge_to_file(plan_of(models, alpha=weights, seed=5), out, executor=NativeExecutor())
    metadata = open_checkpoint(out).metadata
    assert json.loads(metadata["bmerge.recipe"]) == {
        "version": 2,
        "method": "weighted_sum",
        "models": [{"name": m.name, "sha256": sha256_of(m)} for m in models],
        "hyperparameters": {"alpha": {"*": 0.5, "M00": 0.25}},
        "architecture": "sd1",
        "seed": 5,
    }
    assert metadata["bmerge.version"]
    assert metadata["modelspec.sai_model_spec"] == "1.0.1"
    assert metadata["modelspec.architecture"] == "stable-diffusion-v1"
    assert metadata["modelspec.title"] == "weighted_sum of a.safetensors, b.safetensors"
    assert str(tmp_path) not in json.dumps(dict(metadata))


def test_ancestry_is_told(tmp_path, models):
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    merge_to_file(plan_of(models), first, executor=NativeExecutor())
    foreign = write_checkpoint(
        tmp_path / "foreign.safetensors",
        read_checkpoint(models[1]),
        dtype="F16",
        metadata={"sd_merge_recipe": "{}", "modelspec.resolution": "512x512"},
    )
    merge_to_file(plan_of([first, foreign]), second, executor=NativeExecutor())
    recipe = json.loads(open_checkpoint(second).metadata["bmerge.recipe"])
    inner = json.loads(open_checkpoint(first).metadata["bmerge.recipe"])
    made, painted = recipe["ancestors"]
    assert {"version": 2, **made["recipe"]} == inner
    assert painted == {"foreign": {"sd_merge_recipe": "{}"}}
    assert [model["ancestor"] for model in recipe["models"]] == [0, 1]
    merge_to_file(plan_of([foreign, first]), second, executor=NativeExecutor())
    assert open_checkpoint(second).metadata["modelspec.resolution"] == "512x512"


@pytest.mark.parametrize(
    ("options", "keys"), [({"metadata": False}, {"format"}), ({"hashes": False}, None)]
)
def test_metadata_can_be_left_out(tmp_path, models, options, keys):
    out = tmp_path / "out.safetensors"
    merge_to_file(plan_of(models), out, executor=NativeExecutor(), **options)
    metadata = open_checkpoint(out).metadata
    assert keys is None or metadata.keys() == keys
    assert "sha256" not in json.dumps(dict(metadata))


def test_other_file_than_the_recipe_names_is_refused(tmp_path, models):
    plan = plan_of(models)
    pinned = [type(m)(m.path, "0" * 64) for m in plan.recipe.models]
    recipe = type(plan.recipe)("weighted_sum", tuple(pinned), plan.recipe.hyperparameters)
    plan = type(plan)(recipe, *(getattr(plan, f) for f in list(plan.__slots__)[1:]))
    with pytest.raises(ExecutorError, match="not the file that the recipe was written for"):
        merge_to_file(plan, tmp_path / "out.safetensors", executor=NativeExecutor())
    assert names_in(tmp_path) == []


def test_existing_file_is_replaced_or_kept(tmp_path, models):
    out = tmp_path / "out.safetensors"
    out.write_bytes(b"old")
    with pytest.raises(ExecutorError, match="exists already"):
        merge_to_file(plan_of(models), out, executor=NativeExecutor(), overwrite=False)
    assert out.read_bytes() == b"old"
    merge_to_file(plan_of(models), out, executor=NativeExecutor())
    assert len(open_checkpoint(out).tensors) == 1131


@pytest.mark.parametrize("way", ["same", "link", "dots"])
def test_input_is_never_overwritten(tmp_path, models, way):
    paths = [Path(shutil.copy(model, tmp_path)) for model in models]
    before = paths[1].read_bytes()
    target = paths[1]
    if way == "link":
        target = tmp_path / "link.safetensors"
        target.symlink_to(paths[1])
    elif way == "dots":
        target = tmp_path / "x" / ".." / paths[1].name
        (tmp_path / "x").mkdir()
    with pytest.raises(FormatError, match="is one of the inputs"):
        merge_to_file(plan_of(paths), target, executor=NativeExecutor())
    assert paths[1].read_bytes() == before


def test_two_merges_into_one_folder_do_not_disturb_each_other(tmp_path, models):
    plans = {tmp_path / f"{i}.safetensors": plan_of(models, alpha=i / 10) for i in range(1, 7)}
    threads = [
        threading.Thread(
            target=merge_to_file, args=item[::-1], kwargs={"executor": NativeExecutor()}
        )
        for item in plans.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(tmp_path.iterdir()) == sorted(plans)
    for number, out in enumerate(plans, start=1):
        alpha = number / 10
        assert_near(read_checkpoint(out), weighted_sums(*models, lambda _, alpha=alpha: alpha))


def test_hash_that_cannot_be_computed_leaves_nothing(tmp_path, models):
    paths = [Path(shutil.copy(model, tmp_path)) for model in models]
    plan = plan_of(paths, alpha=0.0)  # the second model is never read
    paths[1].unlink()
    with pytest.raises(FormatError, match="No such file"):
        merge_to_file(plan, tmp_path / "out.safetensors", executor=NativeExecutor())
    assert names_in(tmp_path) == ["a.safetensors"]


def test_a_file_that_appears_during_the_merge_is_not_written_over(tmp_path, models):
    out = tmp_path / "out.safetensors"

    class Slow:
        """An executor that is slower than somebody else's command."""

        name = "slow"

        def run(self, plan, sink, *, progress=None):
            out.write_bytes(b"somebody else's")
            return NativeExecutor().run(plan, sink, progress=progress)

    with pytest.raises(ExecutorError, match=r"out\.safetensors exists already"):
        merge_to_file(plan_of(models), out, executor=Slow(), overwrite=False)
    assert out.read_bytes() == b"somebody else's"
    assert names_in(tmp_path) == ["out.safetensors"]
