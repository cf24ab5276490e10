"""``bmerge merge … --vae FILE --text-encoder FILE``: parts of the result from other files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bmerge.formats import open_checkpoint
from bmerge.testing import read_checkpoint, tiny_sd1, write_checkpoint

VAE, ENCODER = "first_stage_model.", "cond_stage_model.transformer."
FILES = ("a.safetensors", "b.safetensors")


def read(name):
    return read_checkpoint(Path(name))


@pytest.fixture
def parts(tmp_path, monkeypatch, sd1_models):
    """Two models, and the VAE and text encoder of a third alone; the folder is current."""
    monkeypatch.chdir(tmp_path)
    for model in sd1_models:
        (tmp_path / model.name).symlink_to(model)
    third = read_checkpoint(tmp_path / "c.safetensors")
    for name, start in (("vae", VAE), ("te", ENCODER)):
        own = {key[len(start) :]: array for key, array in third.items() if key.startswith(start)}
        write_checkpoint(tmp_path / f"{name}.safetensors", own)
    return third


def assert_taken(file, third, starts):
    """Check that a file has these parts of the third model, and all else of the merged two."""
    a, b, found = map(read, (*FILES, file))
    assert found.keys() == a.keys()
    for key, array in found.items():
        if np.issubdtype(array.dtype, np.floating):
            exact = third[key] if key.startswith(starts) else (a[key] / 2 + b[key] / 2)
            np.testing.assert_allclose(array, exact, atol=2e-3, err_msg=key)


@pytest.mark.parametrize(
    ("options", "starts"),
    [
        (("--vae", "vae.safetensors"), (VAE,)),
        (("--vae", "c.safetensors"), (VAE,)),
        (("--text-encoder", "te.safetensors"), (ENCODER,)),
        (("--text-encoder", "te.safetensors", "--vae", "vae.safetensors"), (VAE, ENCODER)),
    ],
    ids=["vae", "of a model", "text encoder", "both"],
)
def test_parts_are_taken_and_the_recipe_gives_the_same_bytes(bmerge, parts, options, starts):
    called = bmerge("merge", "weighted_sum", *FILES, *options, "-o", "one.safetensors")
    assert called.status == 0, called.err
    assert "warning" not in called.err
    assert_taken("one.safetensors", parts, starts)
    told = json.loads(open_checkpoint("one.safetensors").metadata["bmerge.recipe"])
    names = {entry["name"] for entry in told["models"].values()}
    assert names == {*FILES, *options[1::2]}
    assert all("sha256" in entry for entry in told["models"].values())
    assert bmerge("recipe", "import", "one.safetensors", "-o", "r.yaml").status == 0
    for again in ("r.yaml", "one.safetensors"):
        called = bmerge("merge", again, "-o", "two.safetensors", "--force")
        assert called.status == 0, called.err
        assert Path("two.safetensors").read_bytes() == Path("one.safetensors").read_bytes()


def test_settings_of_the_merge_hold_beside_parts(bmerge, parts):
    words = ("--alpha", "IN00=1,*=0.5", "--clamp", "all", "--dtype", "bf16", "--seed", "3")
    called = bmerge(
        "merge", "weighted_sum", *FILES, *words, "--vae", "vae.safetensors", "-o", "o.safetensors"
    )
    assert called.status == 0, called.err
    assert {info.dtype for info in open_checkpoint("o.safetensors").tensors.values()} <= {
        "BF16", "I64",
    }  # fmt: skip
    found, b = read("o.safetensors"), read("b.safetensors")
    key = "model.diffusion_model.input_blocks.0.0.weight"
    np.testing.assert_allclose(found[key], b[key], atol=1e-2, rtol=1e-2)


def test_a_pickled_vae_is_taken(bmerge, parts, tmp_path):
    torch = pytest.importorskip("torch")
    own = {k: torch.from_numpy(v.copy()) for k, v in read("vae.safetensors").items()}
    own |= {"loss.logvar": torch.zeros(()), "model_ema.decay": torch.zeros(())}
    torch.save({"state_dict": own}, tmp_path / "kl.vae.pt")
    words = ("--vae", "kl.vae.pt", "-o", "o.safetensors")
    called = bmerge("merge", "weighted_sum", *FILES, *words)
    assert called.status == 0, called.err
    assert_taken("o.safetensors", parts, (VAE,))


@pytest.mark.parametrize("old", [False, True], ids=["now", "first versions"])
def test_a_vae_of_diffusers_is_taken(bmerge, parts, old):
    utils = pytest.importorskip("diffusers.loaders.single_file_utils")
    torch = pytest.importorskip("torch")
    whole = {key: torch.from_numpy(a.copy()) for key, a in parts.items() if key.startswith(VAE)}
    config = {"down_block_types": [""] * 4, "up_block_types": [""] * 4}
    own = utils.convert_ldm_vae_checkpoint(whole, config)
    names = {
        ".to_q.": ".query.",
        ".to_k.": ".key.",
        ".to_v.": ".value.",
        ".to_out.0.": ".proj_attn.",
    }
    for new, before in names.items() if old else ():
        own = {key.replace(new, before): tensor for key, tensor in own.items()}
    write_checkpoint(
        Path("diffusion_pytorch_model.safetensors"), {k: v.numpy() for k, v in own.items()}
    )
    words = ("--vae", "diffusion_pytorch_model.safetensors", "-o", "o.safetensors")
    called = bmerge("merge", "weighted_sum", *FILES, *words)
    assert called.status == 0, called.err
    assert "left out" not in called.err
    assert_taken("o.safetensors", parts, (VAE,))
    found = read("o.safetensors")
    for key in whole:
        assert found[key].shape == parts[key].shape
        np.testing.assert_array_equal(found[key], parts[key])


def test_parts_that_do_not_fit_or_give_nothing_are_one_line(bmerge, parts, tmp_path):
    wide = read("vae.safetensors")
    wide["decoder.conv_in.weight"] = np.zeros((4, 16, 3, 3), "f4")
    write_checkpoint(tmp_path / "wide.safetensors", wide)
    t5 = ("shared.weight", "encoder.block.0.layer.0.SelfAttention.q.weight")
    write_checkpoint(tmp_path / "t5.safetensors", dict.fromkeys(t5, np.zeros((4, 4))))
    encoder = ("--text-encoder", "te.safetensors")
    for words, message in (
        (("--vae", "wide.safetensors"), "error: wide.safetensors does not fit a.safetensors"),
        (("--vae", "te.safetensors"), "te.safetensors has no tensors of 'vae'"),
        (("--vae", "gone.safetensors"), "gone.safetensors"),
        (("--text-encoder", "t5.safetensors"), "t5.safetensors holds no part of a.safetensors"),
        (("--text-encoder", "vae.safetensors"), "vae.safetensors has no tensors of 'text_encoder'"),
        ((*encoder, "--text-encoder", "c.safetensors"),
         "error: --text-encoder te.safetensors: another file gives all that is in it"),
    ):  # fmt: skip
        called = bmerge("merge", "weighted_sum", *FILES, *words, "-o", "o.safetensors")
        assert called.status == 1, words
        assert message in called.err
        assert "Traceback" not in called.err
        assert not Path("o.safetensors").exists()
    Path("r.yaml").write_text("method: weighted_sum\nmodels: [a.safetensors, b.safetensors]\n")
    called = bmerge("merge", "r.yaml", "--vae", "vae.safetensors", "-o", "o.safetensors")
    assert called.status == 2
    assert "a recipe picks its own parts; leave 'vae.safetensors' out" in called.err


def test_text_encoder_goes_by_the_names_of_old_files(bmerge, parts, tmp_path):
    model = tiny_sd1(tmp_path / "old.safetensors", 1, old_text_encoder=True)
    words = ("--text-encoder", "te.safetensors", "-o", "o.safetensors")
    called = bmerge("merge", "weighted_sum", model, model, *words)
    assert called.status == 0, called.err
    found, own = read("o.safetensors"), read("te.safetensors")
    assert found.keys() == read_checkpoint(model).keys()
    for key, array in own.items():
        old = ENCODER + key.removeprefix("text_model.")
        if "position_ids" not in key:
            np.testing.assert_array_equal(found[old], array)


def test_a_vae_that_is_named_first_does_not_lead(bmerge, parts):
    a = read("a.safetensors")
    write_checkpoint(Path("told.safetensors"), a, metadata={"license": "cc0"})
    write_checkpoint(Path("v.safetensors"), read("vae.safetensors"), metadata={"license": "mit"})
    Path("r.yaml").write_text("""
        models: {v: v.safetensors, a: told.safetensors, b: b.safetensors}
        steps:
          mixed:
            {method: weighted_sum, models: [a, b], hyperparameters: {alpha: {IN00: 1, "*": 0.5}}}
          out: {pick: {vae: v, "*": mixed}}
    """)
    called = bmerge("merge", "r.yaml", "-o", "o.safetensors")
    assert called.status == 0, called.err
    found, b = read("o.safetensors"), read("b.safetensors")
    key = "model.diffusion_model.input_blocks.0.0.weight"
    np.testing.assert_allclose(found[key], b[key], atol=1e-3)
    metadata = open_checkpoint("o.safetensors").metadata
    assert metadata["license"] == "cc0"
    assert json.loads(metadata["bmerge.recipe"])["architecture"] == "sd1"


def test_a_text_encoder_may_lack_position_ids(bmerge, parts):
    own = {k: v for k, v in read("te.safetensors").items() if "position_ids" not in k}
    write_checkpoint(Path("new.safetensors"), own)
    words = ("--text-encoder", "new.safetensors", "-o", "o.safetensors")
    called = bmerge("merge", "weighted_sum", *FILES, *words)
    assert called.status == 0, called.err
    assert "position_ids' only in a.safetensors: left out" in called.err
    found = read("o.safetensors")
    assert all((found[ENCODER + key] == array).all() for key, array in own.items())


@pytest.mark.parametrize(
    "words",
    [
        (*FILES, "--vae", ""), (*FILES, "--text-encoder", ""), (*FILES, "--lora", ""),
        (FILES[0], ""),
    ],
    ids=["vae", "text encoder", "lora", "model"],
)  # fmt: skip
def test_an_empty_name_is_no_file(bmerge, parts, words):
    """As a variable of the shell gives that is not set."""
    called = bmerge("merge", "weighted_sum", *words, "-o", "one.safetensors")
    assert called.status == 1
    assert called.err.startswith("error: the name of a model is empty")
    assert not Path("one.safetensors").exists()


def test_excluded_tensors_are_told_to_have_the_loras_of_the_first_model(bmerge, parts):
    query = "model.diffusion_model.middle_block.1.transformer_blocks.0.attn1.to_q"
    rows, columns = read("a.safetensors")[f"{query}.weight"].shape
    name = f"lora_unet_{query.partition('model.')[2].partition('.')[2].replace('.', '_')}"
    up, down = np.ones((rows, 1), "f4"), np.ones((1, columns), "f4")
    lora = {f"{name}.lora_up.weight": up, f"{name}.lora_down.weight": down}
    write_checkpoint(Path("lora.safetensors"), lora)
    words = ("--lora", "lora.safetensors", "--exclude", "M00", "-o", "one.safetensors")
    called = bmerge("merge", "weighted_sum", *FILES, *words)
    assert called.status == 0, called.err
    told = [line for line in called.err.splitlines() if "excluded: kept" in line]
    assert [line.partition("kept as in ")[2] for line in told] == [
        "a.safetensors", "a.safetensors with its LoRAs"
    ]  # fmt: skip
    a, found = read("a.safetensors"), read("one.safetensors")
    key = f"{query}.weight"
    np.testing.assert_allclose(found[key], a[key].astype("f4") + 1, rtol=1e-3)


def test_excluded_part_is_told_to_be_kept_as_in_the_file_that_it_is_from(bmerge, parts):
    words = ("--exclude", "BASE", "--vae", "vae.safetensors")
    called = bmerge("merge", "weighted_sum", *FILES, *words, "-o", "one.safetensors")
    assert called.status == 0, called.err
    lines = [line for line in called.err.splitlines() if "excluded" in line]
    assert len(lines) == 2
    assert lines[0].endswith("excluded: kept as in a.safetensors")
    assert lines[1].startswith(f"note: 248 tensors ('{VAE}")
    assert lines[1].endswith("excluded: kept as in vae.safetensors")
    a, found = read("a.safetensors"), read("one.safetensors")
    for key, array in found.items():
        if key.startswith((VAE, ENCODER)):
            assert np.array_equal(array, (parts if key.startswith(VAE) else a)[key]), key
