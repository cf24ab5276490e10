"""Models as they are, given by a merger: live and as files, in the layout of its merges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bmerge import load_registry
from bmerge.architectures import builtin, detect
from bmerge.executors import NativeExecutor
from bmerge.formats import open_checkpoint
from bmerge.host.loras import add_loras
from bmerge.pipeline import TAKES, Merger, model_taken
from bmerge.recipe import (
    BlockWeights,
    LoraRef,
    ModelRef,
    Recipe,
    dump_recipe,
    parse_recipe,
)
from bmerge.testing.checkpoints import read_checkpoint, write_checkpoint

REGISTRY = load_registry()
SHAPES = {"block.0.w.weight": (6, 4), "block.0.w.bias": (6,), "block.1.w.weight": (4, 6, 3, 3)}
CONVOLUTION = "model.diffusion_model.input_blocks.0.0.weight"


def model(path, seed, *, dtype="F32", leave_out=(), channels=None, **extra):
    """Write a small model; ``channels`` gives it a first convolution of that many."""
    rng = np.random.default_rng(seed)
    tensors = {key: rng.normal(size=shape).astype("f4") for key, shape in SHAPES.items()}
    tensors["block.steps"] = np.array(seed)
    if channels:
        tensors[CONVOLUTION] = rng.normal(size=(4, channels, 3, 3)).astype("f4")
    tensors = {key: array for key, array in tensors.items() if key not in leave_out}
    return write_checkpoint(path, {**tensors, **extra}, dtype=dtype)


def merger_of(paths, folder, method="weighted_sum", loras=(), **fields):
    refs = tuple(
        ModelRef(str(path), loras=lora)
        for path, lora in zip(paths, loras or [()] * len(paths), strict=True)
    )
    checkpoints = [open_checkpoint(path) for path in paths]
    architecture = detect(checkpoints[0].tensors, builtin())
    return Merger(
        Recipe(method, refs, **fields),
        method={TAKES: REGISTRY.method(TAKES), method: REGISTRY.method(method)},
        checkpoints=add_loras(refs, checkpoints, architecture, folder),
        architecture=architecture,
        executor=NativeExecutor(),
        scratch=folder / "scratch",
    )


def values_of(merger, index):
    with merger.model(index) as made:
        return read_checkpoint(made.file())


def live_of(merger, index, dtype="f4"):
    with merger.model(index) as made:
        live = {key: np.full(shape, 7, dtype) for key, shape in made.layout().items()}
        made.into(live)
    return live


def written_by_recipe(merger, index, bmerge, folder):
    """Return the bytes that ``bmerge merge`` makes of the recipe, after those of ``write``."""
    text = dump_recipe(merger.recipe(index))
    assert dump_recipe(parse_recipe(text)) == text
    (folder / "recipe.yaml").write_text(text)
    merger.write(index, folder / "best.safetensors")
    called = bmerge("merge", folder / "recipe.yaml", "-o", folder / "again.safetensors", "--force")
    assert called.status == 0, called.err
    return [(folder / name).read_bytes() for name in ("best.safetensors", "again.safetensors")]


@pytest.mark.parametrize("index", range(3))
def test_a_model_is_given_to_the_byte_live_as_file_and_by_its_recipe(tmp_path, bmerge, index):
    paths = [model(tmp_path / f"{name}.safetensors", 3) for name in "abc"]
    for seed, path in enumerate(paths):
        model(path, seed + 3, **{"block.steps": np.array(3)})
    merger = merger_of(paths, tmp_path, "sum_twice", exclude=("*bias",), clamp="all")
    wanted = read_checkpoint(paths[index])
    for found in (values_of(merger, index), live_of(merger, index)):
        assert list(found) == list(wanted)
        for key, array in wanted.items():
            assert np.asarray(found[key], array.dtype).tobytes() == array.tobytes(), key
    first, again = written_by_recipe(merger, index, bmerge, tmp_path)
    assert first == again
    assert model_taken(merger.recipe(index)) == merger.recipe(index).models[-1]
    assert Path(merger.recipe(index).models[-1].path) == paths[index]


def test_a_model_follows_the_layout_of_the_first(tmp_path, bmerge):
    a = model(tmp_path / "a.safetensors", 1, dtype="F16", only_a=np.ones((2, 2), "f4"))
    missing = {"block.0.w.bias"}
    b = model(tmp_path / "b.safetensors", 2, leave_out=missing, only_b=np.ones((2, 2), "f4"))
    merger = merger_of([a, b], tmp_path)
    first, second = read_checkpoint(a), read_checkpoint(b)
    found = values_of(merger, 1)
    assert list(found) == list(first), "keys of the first model, in its order"
    for key, array in found.items():
        own = first[key] if key in {"only_a", "block.steps", *missing} else second[key]
        assert array.dtype == first[key].dtype
        assert array.tobytes() == own.astype(array.dtype).tobytes(), key
    assert merger.plan(0).outputs == merger.plan(1).outputs
    assert merger.plan(0).outputs == merger.plan({"alpha": BlockWeights(0.3)}).outputs
    assert len(set(written_by_recipe(merger, 1, bmerge, tmp_path))) == 1


@pytest.mark.parametrize("dtype", ["BF16", "F16"])
def test_a_model_has_the_dtype_that_is_asked_for(tmp_path, dtype):
    paths = [model(tmp_path / f"{seed}.safetensors", seed) for seed in range(2)]
    merger = merger_of(paths, tmp_path, dtype=dtype)
    for index, path in enumerate(paths):
        outputs = {tensor.key: tensor.dtype for tensor in merger.plan(index).outputs}
        assert outputs.pop("block.steps") == "I64"
        assert set(outputs.values()) == {dtype}
        found, wanted = values_of(merger, index), read_checkpoint(path)
        for key in SHAPES:
            assert np.allclose(found[key].astype("f4"), wanted[key], rtol=2**-8), key


@pytest.mark.parametrize("channels", [(4, 9, 4), (4, 4, 9), (9, 4, 4), (9, 4, 8)], ids=str)
@pytest.mark.parametrize("index", range(3))
def test_a_model_has_the_channels_of_the_merges(tmp_path, bmerge, channels, index):
    paths = [model(tmp_path / f"{i}.safetensors", 3, channels=c) for i, c in enumerate(channels)]
    for i, (path, count) in enumerate(zip(paths, channels, strict=True)):
        model(path, i, channels=count)
    merger = merger_of(paths, tmp_path, "sum_twice")
    layout = merger.model({}).layout()
    assert layout[CONVOLUTION] == (4, 9, 3, 3)
    assert merger.model(index).layout() == layout
    widest = read_checkpoint(paths[channels.index(9)])[CONVOLUTION]
    own = read_checkpoint(paths[index])[CONVOLUTION]
    shared = min(channels)  # of the noise; those of a mask and of a picture are no match
    wanted = np.concatenate([own[:, :shared], widest[:, shared:]], axis=1)
    for found in (values_of(merger, index), live_of(merger, index)):
        assert np.array_equal(found[CONVOLUTION], wanted)
        for key in SHAPES:
            assert np.array_equal(found[key], read_checkpoint(paths[index])[key]), key
    assert len(set(written_by_recipe(merger, index, bmerge, tmp_path))) == 1
    assert model_taken(merger.recipe(index)).path == str(paths[index])


def test_a_model_has_its_loras(tmp_path, bmerge):
    path = model(tmp_path / "a.safetensors", 1)
    change = np.full(SHAPES["block.0.w.weight"], 0.5, "f4")
    lora = write_checkpoint(tmp_path / "x.safetensors", {"block.0.w.diff": change})
    loras = ((LoraRef(str(lora), BlockWeights(2.0)),), (), (LoraRef(str(lora)),))
    merger = merger_of([path] * 3, tmp_path, "sum_twice", loras=loras)
    plain = read_checkpoint(path)["block.0.w.weight"]
    for index, times in enumerate((2.0, 0.0, 1.0)):
        wanted = plain + np.float32(0.5 * times)
        for found in (values_of(merger, index), live_of(merger, index)):
            np.testing.assert_allclose(found["block.0.w.weight"], wanted, rtol=1e-6)
        assert len(set(written_by_recipe(merger, index, bmerge, tmp_path))) == 1


def test_a_live_model_goes_from_one_to_another_and_back(tmp_path):
    a, b = (model(tmp_path / f"{seed}.safetensors", seed) for seed in range(2))
    merger = merger_of([a, b], tmp_path)
    live = {key: np.zeros(shape, "f4") for key, shape in merger.model(0).layout().items()}
    first, second = read_checkpoint(a), read_checkpoint(b)
    for merge, wanted in (
        (0, first),
        (1, second),
        ({"alpha": BlockWeights(0.0)}, first),
        (0, first),
    ):
        merger.model(merge).into(live)
        for key in SHAPES:
            assert np.array_equal(live[key], wanted[key])


def test_a_model_of_a_method_of_one(tmp_path):
    path = model(tmp_path / "a.safetensors", 1)
    merger = merger_of([path], tmp_path, "add_noise")
    assert values_of(merger, 0).keys() == read_checkpoint(path).keys()
    for key, array in read_checkpoint(path).items():
        assert values_of(merger, 0)[key].tobytes() == array.tobytes()
    assert model_taken(merger.recipe({})) is None


def test_pruning_and_rounding_are_those_of_the_merges(tmp_path):
    ema = {"model_ema.block0wweight": np.ones((6, 4), "f4")}
    a, b = (model(tmp_path / f"{i}.safetensors", i, **ema) for i in range(2))
    merger = merger_of([a, b], tmp_path, prune=True, dtype="F16", rounding="stochastic", seed=5)
    outputs = merger.plan({}).outputs
    assert "model_ema.block0wweight" not in [tensor.key for tensor in outputs]
    for index in range(2):
        assert merger.plan(index).outputs == outputs
        assert merger.recipe(index).rounding == "stochastic"
        assert merger.recipe(index).seed == 5
