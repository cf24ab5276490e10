"""``bmerge.merge`` and its like: the same bytes as the command line, from Python."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import numpy as np
import pytest

import bmerge
from bmerge.testing import read_checkpoint, tiny_sd1, write_checkpoint

KEY = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight"
WATCHER = """
from bmerge import hookimpl

@hookimpl
def bmerge_merge_started(plan):
    with open({log!r}, "a") as log:
        log.write(plan.recipe.method + "\\n")
"""


def _recipe(file: Path) -> dict:
    (text,) = [v for k, v in bmerge.inspect(file)["metadata"].items() if "recipe" in k][:1]
    return text


@pytest.fixture
def models(tmp_path) -> Path:
    for seed, name in enumerate("abc"):
        tiny_sd1(tmp_path / f"{name}.safetensors", seed)
    return tmp_path


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_merge_writes_the_bytes_of_the_command_line(models, bmerge_command):
    a, b, out = (models / f"{name}.safetensors" for name in ("a", "b", "out"))
    weights = {"IN00-IN05": 0.2, "M00": 1, "*": 0.5}
    report = bmerge.merge("weighted_sum", a, b, alpha=weights, dtype="bf16", output=out)
    text = ",".join(f"{block}={value}" for block, value in weights.items())
    options = ("--alpha", text, "--dtype", "bf16", "-o", models / "same.safetensors")
    assert bmerge_command("merge", "weighted_sum", a, b, *options).status == 0
    assert _digest(out) == _digest(models / "same.safetensors")
    assert (report.output, report.nbytes) == (out, out.stat().st_size)


def test_merge_takes_options_of_a_method_and_of_the_executor(models):
    files = [models / f"{name}.safetensors" for name in "abc"]
    made = [models / f"{name}.safetensors" for name in ("count", "one")]
    settings = {"weight": 0.7, "weight_2": 0.4, "vote": "count", "normalize": False, "seed": 3}
    bmerge.merge("ties", *files, **settings, output=made[0], executor="native")
    one = {"executor": "native", "threads": 1, "memory": "8M", "io": "mmap"}
    bmerge.merge("ties", *files, **settings, output=made[1], **one)
    assert _digest(made[0]) == _digest(made[1])
    recipe = _recipe(made[0])
    assert recipe["options"] == {"normalize": False, "vote": "count"}


def test_merge_of_a_recipe_file_object_and_merged_file_is_the_same(models, monkeypatch):
    monkeypatch.chdir(models)
    Path("r.yaml").write_text(
        "method: weighted_sum\nmodels: [a.safetensors, b.safetensors]\n"
        "hyperparameters: {alpha: 0.25}\n"
    )
    bmerge.merge("r.yaml", output="1.safetensors")
    bmerge.merge(bmerge.load_recipe("r.yaml"), output="2.safetensors")
    bmerge.merge("1.safetensors", output="3.safetensors")
    assert len({_digest(Path(f"{n}.safetensors")) for n in (1, 2, 3)}) == 1
    a, b, mixed = (read_checkpoint(Path(f"{name}.safetensors")) for name in ("a", "b", "1"))
    np.testing.assert_allclose(mixed[KEY], 0.75 * a[KEY] + 0.25 * b[KEY], atol=1e-3)


def test_merge_bakes_loras_with_weights(models):
    a = read_checkpoint(models / "a.safetensors")[KEY]
    rng = np.random.default_rng(5)
    up, down = rng.standard_normal((a.shape[0], 2)), rng.standard_normal((2, a.shape[1]))
    layer = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    tensors = {f"{layer}.lora_up.weight": up, f"{layer}.lora_down.weight": down}
    write_checkpoint(models / "l.safetensors", {k: v.astype("f4") for k, v in tensors.items()})
    out = models / "baked.safetensors"
    lora = (models / "l.safetensors", 0.5)
    bmerge.merge("add_difference", models / "a.safetensors", loras=[lora], output=out)
    np.testing.assert_allclose(read_checkpoint(out)[KEY], a + 0.5 * up @ down, atol=2e-2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beta": "soft"}, "weighted_sum has no hyperparameter 'beta'"),
        ({"dtype": "fp17"}, "fp17"),
        ({"seed": -1}, "seed must be 0 or more"),
        ({"alpha": {"IN99": 1}}, "unknown block 'IN99'"),
        ({"memory": "lots"}, "memory must be a size such as 512M or 4G, not 'lots'"),
    ],
    ids=["hyperparameter", "dtype", "seed", "block", "size"],
)
def test_merge_refuses_what_has_no_meaning_and_writes_nothing(models, settings, message):
    out = models / "out.safetensors"
    files = (models / "a.safetensors", models / "b.safetensors")
    with pytest.raises(bmerge.BmergeError, match=message):
        bmerge.merge("weighted_sum", *files, output=out, **settings)
    assert not out.exists()


def test_merge_keeps_what_is_there_unless_it_is_told(models):
    a, b = models / "a.safetensors", models / "b.safetensors"
    before = _digest(b)
    with pytest.raises(bmerge.BmergeError, match="exists"):
        bmerge.merge("weighted_sum", a, a, output=b)
    assert _digest(b) == before
    bmerge.merge("weighted_sum", a, a, output=b, overwrite=True)
    assert _digest(b) != before


def test_what_progress_raises_stops_the_merge_and_leaves_no_file(models):
    class StopError(Exception):
        pass

    def stop(_):
        raise StopError

    files = (models / "a.safetensors", models / "b.safetensors")
    before = sorted(models.iterdir())
    with pytest.raises(StopError):
        bmerge.merge("weighted_sum", *files, output=models / "out.safetensors", progress=stop)
    assert sorted(models.iterdir()) == before


def test_plugins_are_told_of_merges_and_warnings_are_logged(models, write_plugin, caplog):
    plugin = write_plugin("watch.py", WATCHER.format(log=str(models / "log")))
    weird = {"w": np.full((2, 2), 6e4), "v": np.zeros((2, 2))}
    write_checkpoint(models / "w.safetensors", {k: v.astype("f4") for k, v in weird.items()})
    with caplog.at_level(logging.WARNING, "bmerge"):
        report = bmerge.merge(
            "add_difference", *[models / "w.safetensors"] * 2, models / "w.safetensors",
            output=models / "out.safetensors", plugins=[plugin],
        )  # fmt: skip
    assert (models / "log").read_text() == "add_difference\n"
    assert len(caplog.records) == len(report.warnings)


def test_files_are_inspected_and_compared(models):
    a, b, mixed = (models / f"{name}.safetensors" for name in ("a", "b", "mixed"))
    bmerge.merge("weighted_sum", a, b, alpha=0.25, output=mixed, dtype="fp32")
    assert bmerge.inspect(mixed)["architecture"] == "sd1"
    assert bmerge.diff(a, a).total.relative == 0
    found = bmerge.made_of(mixed, a, b)
    assert found is not None
