"""``bmerge rebasin`` and ``bmerge merge --rebasin``, on the demo's models."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from threadpoolctl import threadpool_limits

from bmerge.formats import open_checkpoint, sha256_of
from bmerge.rebasin import rule_of
from bmerge.testing import read_checkpoint, tiny_sd1, write_checkpoint
from shuffled import BASE as A
from shuffled import TUNED as B
from shuffled import write_shuffled


@pytest.fixture(scope="module")
def shuffled(tmp_path_factory):
    """B with its channels in another order."""
    out = tmp_path_factory.mktemp("models") / "shuffled.safetensors"
    return write_shuffled(B, rule_of(open_checkpoint(B)), out, seed=0)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with threadpool_limits(1):  # small matrices are not worth waiting for a second core
        yield


def tensors(path):
    return {key: array.tobytes() for key, array in read_checkpoint(Path(path)).items()}


def test_rebasin_writes_the_model_in_the_order_of_the_reference(bmerge, shuffled):
    called = bmerge("rebasin", A, shuffled, "-o", "back.safetensors", "--json")
    assert called.status == 0, called.err
    assert tensors("back.safetensors") == tensors(B)
    told = json.loads(called.out)
    assert told["moved"] > 10_000
    assert told["after"] < told["before"]
    metadata = open_checkpoint("back.safetensors").metadata
    done = json.loads(metadata["bmerge.recipe"])
    assert done["rebasin"] == {"seed": 0}
    assert [model["name"] for model in done["models"]] == [A.name, shuffled.name]
    assert done["models"][1]["sha256"] == sha256_of(shuffled)


def _in_int8(model, output):
    """Write a model whose attentions have codes with a scale for each row."""
    arrays = read_checkpoint(model)
    for key in [key for key in arrays if key.endswith("attn1.to_q.weight")]:
        rows = np.abs(arrays[key].astype("f4")).max(1, keepdims=True) / 127
        arrays[key] = np.round(arrays[key] / rows).astype("i1")
        arrays[f"{key}_scale"] = rows.astype("f4")
        marker = json.dumps({"format": "int8_tensorwise"}).encode()
        arrays[key.replace("weight", "comfy_quant")] = np.frombuffer(marker, "u1")
    save_file(arrays, output)


def test_quantised_models_are_decoded_and_aligned(bmerge, shuffled):
    def run(*words):
        called = bmerge(*words)
        assert called.status == 0, called.err

    _in_int8(shuffled, "coded.safetensors")
    run("convert", "coded.safetensors", "--quantise", "none", "--dtype", "fp32", "-o",
        "plain.safetensors")  # fmt: skip
    assert tensors("coded.safetensors").keys() > tensors("plain.safetensors").keys()
    merge = ("merge", "weighted_sum", A, "--alpha", "0.3", "--rebasin")
    run(*merge, "coded.safetensors", "-o", "one.safetensors")
    run(*merge, "plain.safetensors", "-o", "other.safetensors")
    assert tensors("one.safetensors") == tensors("other.safetensors")
    run("merge", "weighted_sum", "coded.safetensors", A, "--rebasin", "-o", "out.safetensors")
    assert tensors("out.safetensors").keys() == tensors("coded.safetensors").keys()
    steps = ("--rebasin-iterations", "2", "-o", "no.safetensors")
    called = bmerge("merge", "weighted_sum", "coded.safetensors", A, "--alpha", "0.3", *steps)
    assert called.status == 1
    assert "quantised weights, which cannot be merged in steps" in called.err


def test_merge_aligns_in_one_go(bmerge, shuffled, tmp_path):
    plain = bmerge("merge", "weighted_sum", A, B, "--alpha", "0.3", "-o", "plain.safetensors")
    called = bmerge(
        "merge", "weighted_sum", A, shuffled, "--alpha", "0.3", "--rebasin",
        "-o", "out.safetensors",
    )  # fmt: skip
    assert (plain.status, called.status) == (0, 0), called.err
    assert tensors("out.safetensors") == tensors("plain.safetensors")
    assert "shuffled.safetensors aligned to base.safetensors" in called.err
    recipe = json.loads(open_checkpoint("out.safetensors").metadata["bmerge.recipe"])
    assert recipe["rebasin"] == 1
    assert recipe["models"][1]["sha256"] == sha256_of(shuffled)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "out.safetensors", "plain.safetensors",
    ]  # fmt: skip


def test_a_vae_alone_is_not_aligned(bmerge, shuffled, tmp_path):
    start, arrays = "first_stage_model.", read_checkpoint(shuffled)
    own = {key.removeprefix(start): a for key, a in arrays.items() if key.startswith(start)}
    write_checkpoint(tmp_path / "vae.safetensors", own)
    words = ("--rebasin", "--vae", "vae.safetensors", "-o", "out.safetensors")
    called = bmerge("merge", "weighted_sum", A, shuffled, *words)
    assert called.status == 0, called.err
    assert "shuffled.safetensors aligned to base.safetensors" in called.err
    assert "vae.safetensors aligned" not in called.err
    plain = bmerge("merge", "weighted_sum", A, B, "-o", "plain.safetensors")
    assert plain.status == 0
    taken = {start + key: array for key, array in tensors("vae.safetensors").items()}
    assert tensors("out.safetensors") == {**tensors("plain.safetensors"), **taken}


def test_recipe_file_aligns_too(bmerge, shuffled, tmp_path):
    recipe = {
        "method": "weighted_sum", "models": [str(A), str(shuffled)],
        "hyperparameters": {"alpha": 1}, "rebasin": 1,
    }  # fmt: skip
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    called = bmerge("merge", "recipe.json", "-o", "out.safetensors")
    assert called.status == 0, called.err
    assert tensors("out.safetensors") == tensors(B)


def test_steps_end_at_the_same_weight(bmerge, shuffled):
    """Three steps of a weighted sum, each rounded to F16, are the weighted sum but for that."""
    called = bmerge(
        "merge", "weighted_sum", A, shuffled, "--alpha", "BASE=0,*=0.6", "--rebasin-iterations",
        "3", "-o", "out.safetensors",
    )  # fmt: skip
    assert called.status == 0, called.err
    a, b = read_checkpoint(A), read_checkpoint(B)
    for key, array in read_checkpoint(Path("out.safetensors")).items():
        if array.dtype.kind == "f":
            alpha = 0.6 if key.startswith("model.") else 0.0
            exact = (1 - alpha) * a[key].astype("f8") + alpha * b[key].astype("f8")
            np.testing.assert_allclose(array, exact, rtol=3e-3, atol=3e-5)
    recipe = json.loads(open_checkpoint("out.safetensors").metadata["bmerge.recipe"])
    assert recipe["rebasin"] == 3
    assert recipe["hyperparameters"]["alpha"] == {"*": 0.6, "BASE": 0.0}


def test_alignment_can_be_planned_without_being_done(bmerge, shuffled, tmp_path):
    called = bmerge("merge", "weighted_sum", A, shuffled, "--rebasin", "--dry-run")
    assert called.status == 0, called.err
    assert not list(tmp_path.iterdir())


def test_unknown_architecture_is_an_error_and_leaves_nothing(bmerge, tmp_path):
    tiny = tiny_sd1(tmp_path / "tiny.safetensors", 0)
    for words in (("rebasin",), ("merge", "weighted_sum", "--rebasin")):
        called = bmerge(*words, tiny, tiny, "-o", "out.safetensors")
        assert called.status == 1
        assert "tiny.safetensors has a UNet of widths 4/9" in called.err
        assert "Traceback" not in called.err
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.safetensors"]


def test_only_methods_with_alpha_alone_go_in_steps(bmerge, shuffled):
    called = bmerge(
        "merge", "sum_twice", A, shuffled, B, "--rebasin-iterations", "2", "-o", "o.safetensors"
    )
    assert called.status == 1
    assert "sum_twice cannot be taken in steps" in called.err


def test_alpha_above_1_does_not_go_in_steps(bmerge, shuffled):
    called = bmerge(
        "merge", "weighted_sum", A, shuffled, "--alpha", "2", "--rebasin-iterations", "2",
        "-o", "o.safetensors",
    )  # fmt: skip
    assert called.status == 1
    assert "alpha 2 cannot be taken in steps" in called.err


def test_loras_are_to_be_baked_first(bmerge, shuffled, tmp_path):
    layer = "lora_unet_middle_block_1_proj_in"
    lora = {
        f"{layer}.lora_up.weight": np.ones((32, 1)),
        f"{layer}.lora_down.weight": np.ones((1, 32)),
    }
    path = write_checkpoint(tmp_path / "l.safetensors", lora)
    called = bmerge(
        "merge", "weighted_sum", A, shuffled, "--lora", path, "--rebasin", "-o", "o.safetensors"
    )
    assert called.status == 1
    assert "models with LoRAs on them cannot be aligned" in called.err
    assert not (tmp_path / "o.safetensors").exists()


def test_output_that_exists_is_kept(bmerge, shuffled, tmp_path):
    out = tmp_path / "out.safetensors"
    out.write_text("precious")
    called = bmerge("rebasin", A, shuffled, "-o", out)
    assert called.status == 1
    assert "--force" in called.err
    assert out.read_text() == "precious"
    assert bmerge("rebasin", A, B, "-o", "no/such.safetensors").status == 1
