"""A merge of which rounding loses most says so, with the share that arrives."""

from __future__ import annotations

import re

import numpy as np
import pytest

from bmerge import BlockWeights, Merger, load_registry, open_checkpoint
from bmerge.architectures.generic import generic
from bmerge.executors import NativeExecutor, Rounded
from bmerge.pipeline.rounding import rounding_warnings
from bmerge.testing import read_checkpoint, write_checkpoint
from merges import recipe_of

LAYERS = [f"layers.{i}.weight" for i in range(4)]


def model(path, seed, *, like=None, apart=0.01, dtype="BF16"):
    """Write a model near another one; return its values as they are stored."""
    random = np.random.default_rng(seed)
    base = like or {key: random.standard_normal((64, 96)).astype("f4") for key in LAYERS}
    tensors = {
        key: value * (1 + (apart if like else 0) * random.standard_normal(value.shape))
        for key, value in base.items()
    }
    write_checkpoint(path, {k: np.float32(v) for k, v in tensors.items()}, dtype=dtype)
    return {key: value.astype("f8") for key, value in read_checkpoint(path).items()}


@pytest.fixture
def pair(tmp_path):
    a = model(tmp_path / "a.safetensors", 1)
    b = model(tmp_path / "b.safetensors", 2, like=a)
    return a, b


def said(bmerge, tmp_path, *options, models=("a", "b"), method="weighted_sum"):
    """Merge and return the share in the warning, or None if there is none."""
    files = [tmp_path / f"{name}.safetensors" for name in models]
    out = tmp_path / "o.safetensors"
    called = bmerge("merge", method, *files, *options, "-o", out, "--force")
    assert called.status == 0, called.err
    assert called.err.count("rounding to") <= 1
    found = re.search(
        r"^warning: rounding to (\S+) loses most of what the merge changes, (\S+) % of it arrives: "
        r"'--rounding stochastic' keeps it$",
        called.err,
        re.MULTILINE,
    )
    return (found[1], float(found[2])) if found else None


@pytest.mark.parametrize("executor", ["native", "torch"])
def test_a_small_weight_in_bf16_is_told_with_the_share_that_arrives(
    bmerge, tmp_path, pair, executor
):
    options = ("--alpha", "0.02", "--executor", executor)
    dtype, share = said(bmerge, tmp_path, *options)
    a, b = pair
    merged = read_checkpoint(tmp_path / "o.safetensors")
    changes = [(b[key] - a[key], merged[key].astype("f8") - a[key]) for key in LAYERS]
    exact = sum((d * e).sum() for d, e in changes) / sum(0.02 * (d * d).sum() for d, _ in changes)
    assert (dtype, share) == ("BF16", pytest.approx(100 * exact, rel=0.06))
    assert share < 50
    assert said(bmerge, tmp_path, *options, "--rounding", "stochastic") is None


@pytest.mark.parametrize(
    "options",
    [("--alpha", "0.5"), ("--alpha", "0.02", "--dtype", "fp32"), ("--alpha", "0")],
    ids=["large", "fp32", "nothing"],
)
def test_what_arrives_is_no_warning(bmerge, tmp_path, pair, options):
    assert said(bmerge, tmp_path, *options) is None


def test_equal_models_are_no_warning(bmerge, tmp_path, pair):
    assert said(bmerge, tmp_path, "--alpha", "0.3", models=("a", "a")) is None


@pytest.mark.parametrize("executor", ["native", "torch"])
def test_a_lora_is_a_change_of_what_is_stored(bmerge, tmp_path, pair, executor):
    name = "lora_unet_layers_1_weight".removesuffix("_weight")
    random = np.random.default_rng(3)
    up, down = random.standard_normal((64, 4)) * 2e-4, random.standard_normal((4, 96))
    write_checkpoint(
        tmp_path / "l.safetensors",
        {f"{name}.lora_up.weight": np.float32(up), f"{name}.lora_down.weight": np.float32(down)},
    )
    for method, models in (("add_difference", ("a",)), ("passthrough", ("a",))):
        options = ("--lora", tmp_path / "l.safetensors", "--executor", executor)
        dtype, share = said(bmerge, tmp_path, *options, models=models, method=method)
        merged = read_checkpoint(tmp_path / "o.safetensors")[LAYERS[1]].astype("f8")
        change = up @ down
        exact = (change * (merged - pair[0][LAYERS[1]])).sum() / (change**2).sum()
        assert (dtype, share) == ("BF16", pytest.approx(100 * exact, rel=0.06))


def test_the_worst_number_format_is_named():
    found = [
        Rounded("a", "BF16", 1.0, 0.4, 9.0), Rounded("b", "F16", 9.0, 8.9, 9.0),
        Rounded("c", "F8_E4M3", 1.0, 0.012, 9.0), Rounded("d", "F8_E4M3", 1.0, 0.02, 9.0),
    ]  # fmt: skip
    (line,) = rounding_warnings(found)
    assert "rounding to F8_E4M3" in line
    assert "1.6 % of it arrives" in line


def test_values_that_are_not_finite_and_noise_say_nothing():
    nan = float("nan")
    found = [Rounded("a", "F16", nan, nan, 1.0), Rounded("b", "F16", 1e-13, 0.0, 1.0)]
    assert list(rounding_warnings(found)) == []
    found.append(Rounded("c", "F16", 1.0, -0.1, 1.0))
    assert "0 % of it" in next(rounding_warnings(found))


def test_a_kept_merge_of_a_study_says_so_too(tmp_path, pair, caplog):
    registry = load_registry()
    merger = Merger(
        recipe_of([tmp_path / "a.safetensors", tmp_path / "b.safetensors"]),
        method=registry.method("weighted_sum"),
        checkpoints=[open_checkpoint(tmp_path / f"{name}.safetensors") for name in "ab"],
        architecture=generic(LAYERS),
        executor=NativeExecutor(),
        scratch=tmp_path / "scratch",
    )
    with merger.model({"alpha": BlockWeights(0.02)}) as trial:
        trial.file()
    assert not caplog.messages
    merger.write({"alpha": BlockWeights(0.02)}, tmp_path / "best.safetensors")
    (line,) = caplog.messages
    assert line.startswith("best.safetensors: rounding to BF16 loses most")


@pytest.mark.parametrize("executor", ["native", "torch"])
def test_values_beyond_the_largest_of_fp8_are_told_with_their_share(bmerge, tmp_path, executor):
    values = np.ones((40, 50), "f4")
    values[:, :5] = 600
    for name in "ab":
        write_checkpoint(tmp_path / f"{name}.safetensors", {LAYERS[0]: values}, dtype="F32")
    files = [tmp_path / f"{name}.safetensors" for name in "ab"]
    out = tmp_path / "o.safetensors"
    called = bmerge("merge", "weighted_sum", *files, "--alpha", 0.5, "--dtype", "fp8_e4m3fn",
                    "--executor", executor, "-o", out)  # fmt: skip
    assert called.status == 0
    assert (
        "warning: 10 % of the values of a tensor are beyond 448, the largest of F8_E4M3"
        in called.err
    )
    assert "--quantise fp8_scaled" in called.err
    assert "stochastic" not in called.err
    called = bmerge("merge", "weighted_sum", *files, "--alpha", 0.5, "--dtype", "fp8_e5m2",
                    "--executor", executor, "-o", out, "--force")  # fmt: skip
    assert "beyond" not in called.err


def test_stochastic_rounding_is_no_remedy_for_values_beyond_the_largest():
    lost = Rounded("a", "F8_E4M3", 1.0, 0.1, 9.0, 0.25)
    first, second = rounding_warnings([lost])
    assert "25 % of the values" in first
    assert second.endswith("arrives: quantised weights keep it")
