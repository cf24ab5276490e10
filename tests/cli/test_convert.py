"""``bmerge convert``: layouts, parts, prefixes and number formats, against diffusers."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from bmerge.formats import prefix_of
from coded import by_blocks
from comfyui import shapes_of
from layouts import CASES, PICTURE, by_diffusers, small_model
from quantised import write_layout

VAE, CLIP_L, CLIP_G = "first_stage_model.", "conditioner.embedders.0.", "conditioner.embedders.1."
IDS = "text_model.embeddings.position_ids"


@pytest.fixture(scope="module")
def sdxl():
    model = small_model("sdxl", 1, layers=0)
    ids = next(key for key in model if key.endswith(IDS))
    model[ids] = np.arange(model[ids].size, dtype="i8").reshape(model[ids].shape)
    return model


@pytest.fixture
def converted(bmerge, tmp_path):
    """Return what converts a file of some tensors, and gives those of the result."""

    def run(arrays, *options, files=None):
        save_file(arrays, tmp_path / "in.safetensors")
        for name, tensors in (files or {}).items():
            save_file(tensors, tmp_path / name)
        given = [str(tmp_path / o) if o in (files or {}) else o for o in options]
        out = tmp_path / "out.safetensors"
        called = bmerge("convert", tmp_path / "in.safetensors", *given, "--force", "-o", out)
        assert called.status == 0, called.err
        return load_file(out)

    return run


def part(arrays, start):
    return {k.removeprefix(start): v for k, v in arrays.items() if k.startswith(start)}


def under(start, arrays):
    return {start + key: value for key, value in arrays.items()}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    assert [key for key in expected if not np.array_equal(found[key], expected[key])] == []


def test_whole_model_becomes_the_components_of_diffusers_and_back(converted, sdxl):
    expected = {
        **under("unet.", by_diffusers(CASES["sdxl"][2], part(sdxl, PICTURE))),
        **under("vae.", by_diffusers(CASES["sd2"][2], part(sdxl, VAE))),
        **under("text_encoder.", part(sdxl, f"{CLIP_L}transformer.")),
        **under("text_encoder_2.",
                by_diffusers(CASES["sdxl_inpaint"][2], part(sdxl, f"{CLIP_G}model."))),
    }  # fmt: skip
    theirs = converted(sdxl, "--layout", "diffusers")
    assert_same(theirs, expected)
    again = converted(theirs, "--layout", "original")
    assert_same(again, {key: value for key, value in sdxl.items() if "logit_scale" not in key})


@pytest.mark.parametrize("name", ["sd1", "sd2", "sd3_medium_incl"])
def test_text_encoders_find_their_way_back(converted, name):
    model = small_model(name, 1, layers=0)
    dead = ("logit_scale", "position_ids")
    model = {k: v for k, v in model.items() if prefix_of(k) and not k.endswith(dead)}
    theirs = converted(model, "--layout", "diffusers")
    starts = {key.partition(".")[0].removesuffix("_2").removesuffix("_3") for key in theirs}
    assert starts <= {"unet", "transformer", "vae", "text_encoder"}
    assert_same(converted(theirs, "--layout", "original"), model)


def test_parts_are_taken_out_and_put_together(converted, sdxl):
    unet = converted(sdxl, "--parts", "unet")
    assert_same(unet, part(sdxl, PICTURE))
    vae = converted(sdxl, "--parts", "vae", "--layout", "diffusers")
    assert_same(vae, by_diffusers(CASES["sd2"][2], part(sdxl, VAE)))
    both = converted(sdxl, "--parts", "unet, vae")
    assert_same(converted(sdxl, "--parts", "unet", "--parts", "vae"), both)
    assert_same(both, {k: v for k, v in sdxl.items() if k.startswith((PICTURE, VAE))})
    files = {
        "vae.safetensors": vae,
        "l.safetensors": part(sdxl, f"{CLIP_L}transformer."),
        "g.safetensors": part(sdxl, f"{CLIP_G}model."),
    }
    encoders = ("--text-encoder", "l.safetensors", "--text-encoder", "g.safetensors")
    assert_same(converted(unet, "--vae", "vae.safetensors", *encoders, files=files), sdxl)


def test_diffusion_model_is_taken_out_without_its_moving_averages(converted):
    whole = small_model("sd1_ema", 1)
    assert any(key.startswith("model_ema.") for key in whole)
    found = converted(whole, "--parts", "unet")
    assert_same({k: v for k, v in found.items() if "." in k}, part(whole, PICTURE))


@pytest.mark.parametrize("start", [PICTURE, ""])
def test_layout_of_diffusers_has_no_moving_averages(bmerge, tmp_path, start):
    whole = small_model("sd1_ema", 1, layers=0)
    unet = part(whole, PICTURE)
    averages = {key: array for key, array in whole.items() if key.startswith("model_ema.")}
    save_file(under(start, unet) | averages, tmp_path / "in.safetensors")
    out = tmp_path / "out.safetensors"
    called = bmerge("convert", tmp_path / "in.safetensors", "--layout", "diffusers", "-o", out)
    assert called.status == 0, called.err
    assert "'model_ema.decay', …) of in.safetensors left out" in called.err
    exact = by_diffusers(CASES["sd1"][2], unet)
    assert_same({k.removeprefix("unet."): v for k, v in load_file(out).items()}, exact)


def test_diffusion_model_beside_moving_averages_merges_with_whole_checkpoints(bmerge, tmp_path):
    whole, other = small_model("sd1_ema", 1), small_model("sd1_ema", 2)
    bare = {key.removeprefix(PICTURE): array for key, array in other.items()
            if key.startswith((PICTURE, "model_ema."))}  # fmt: skip
    save_file(whole, tmp_path / "whole.safetensors")
    save_file(bare, tmp_path / "bare.safetensors")
    for order in ("whole", "bare"), ("bare", "whole"):
        files = [tmp_path / f"{name}.safetensors" for name in order]
        out = tmp_path / "out.safetensors"
        called = bmerge("merge", "weighted_sum", *files, "--alpha", 0.5, "-o", out, "--force")
        assert called.status == 0, called.err
        found = load_file(out)
        for key in part(whole, PICTURE):
            name = key if order[0] == "bare" else PICTURE + key
            exact = (whole[PICTURE + key] + other[PICTURE + key]) / 2
            np.testing.assert_allclose(found[name], exact, atol=1e-6, err_msg=key)


@pytest.mark.parametrize(
    ("parts", "message"), [("unet", "leaves it out"), ("vae", "keeps nothing else")]
)
def test_part_of_another_file_is_one_of_those_that_are_kept(bmerge, tmp_path, parts, message):
    save_file(small_model("sd1", 1), tmp_path / "in.safetensors")
    words = ("--parts", parts, "--vae", "vae.safetensors", "-o", tmp_path / "out.safetensors")
    called = bmerge("convert", tmp_path / "in.safetensors", *words)
    assert called.err.splitlines()[0] == (
        f"error: --vae vae.safetensors: --parts {parts} {message}"
    )


@pytest.mark.parametrize(
    ("given", "start"), [("none", ""), ("net", "net."), ("model.diffusion_model.", PICTURE)]
)
def test_prefix_is_what_is_asked_for(converted, given, start):
    arrays = small_model("cosmos_predict2_2b", 1)
    bare = part(arrays, "net.")
    assert_same(converted(arrays, "--prefix", given), under(start, bare))


@pytest.mark.parametrize("name", ["sd1_ema", "sd3_medium_incl"])
def test_nothing_is_lost_with_the_prefix(bmerge, tmp_path, name):
    """Tables of noise levels and copies for training have no prefix of their own."""
    arrays = small_model(name, 1)
    save_file(arrays, tmp_path / "in.safetensors")
    out = tmp_path / "out.safetensors"
    called = bmerge("convert", tmp_path / "in.safetensors", "--prefix", "none", "-o", out)
    assert called.status == 0, called.err
    assert called.err.count("ComfyUI loads the diffusion model alone") == 1
    expected = {
        key.removeprefix(PICTURE).removeprefix("model."): array for key, array in arrays.items()
    }
    found = load_file(out)
    assert found.keys() == expected.keys()
    same = (key for key in found if not key.endswith(IDS))
    assert all(np.array_equal(found[key], expected[key]) for key in same)


def test_parts_that_are_not_asked_for_are_not_called_lost(bmerge, tmp_path):
    save_file(small_model("sd1", 1), tmp_path / "in.safetensors")
    words = ("--layout", "comfy", "--parts", "unet", "-o", tmp_path / "out.safetensors")
    called = bmerge("convert", tmp_path / "in.safetensors", *words)
    assert called.status == 0, called.err
    assert "left out" not in called.err


def test_parts_that_name_none_are_an_error(bmerge, tmp_path):
    out = tmp_path / "out.safetensors"
    called = bmerge("convert", tmp_path / "in.safetensors", "--parts", ",", "-o", out)
    assert (called.status, "--parts names no part" in called.err) == (2, True)


def test_number_format_changes_floats_alone(converted, sdxl):
    found = converted(sdxl, "--dtype", "fp16", "--parts", "text_encoder")
    kinds = {key: str(array.dtype) for key, array in found.items()}
    assert {kind for key, kind in kinds.items() if not key.endswith(IDS)} == {"float16"}
    assert kinds[CLIP_L + "transformer." + IDS] == "int64"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--parts", "vae"), "has no vae"),
        (("--parts", "unet,bogus"), "has no bogus"),
        (("--layout", "comfy"), "no comfy layout of such a model is known"),
    ],
)
def test_what_cannot_be_done_is_said(bmerge, tmp_path, options, message):
    shapes = shapes_of("seedvr2_3b").items()
    model = {key: np.zeros([min(extent, 4) for extent in shape], "f4") for key, shape in shapes}
    save_file(model, tmp_path / "in.safetensors")
    out = tmp_path / "out.safetensors"
    called = bmerge("convert", tmp_path / "in.safetensors", *options, "-o", out)
    assert called.status == 1
    assert message in called.err
    assert not out.exists()


def test_what_the_layout_has_no_place_for_is_told(bmerge, tmp_path, sdxl):
    save_file(sdxl, tmp_path / "in.safetensors")
    convert = (
        "convert",
        tmp_path / "in.safetensors",
        "--force",
        "-o",
        tmp_path / "out.safetensors",
    )
    called = bmerge(*convert, "--layout", "diffusers")
    told = [line for line in called.err.splitlines() if "left out" in line]
    assert len(told) == 1
    assert "'conditioner.embedders.1.model.logit_scale' of in.safetensors left out" in told[0]
    assert "left out" not in bmerge(*convert, "--layout", "original").err


def test_merge_writes_the_layout_that_it_is_told(bmerge, tmp_path):
    a, b = (small_model("flux2_dev", seed) for seed in (1, 2))
    theirs = [by_diffusers(CASES["flux2_dev"][2], model) for model in (a, b)]
    files = [tmp_path / f"{name}.safetensors" for name in ("a", "b", "x", "y")]
    for file, arrays in zip(files, (a, b, *theirs), strict=True):
        save_file(arrays, file)
    one, other = tmp_path / "one.safetensors", tmp_path / "other.safetensors"
    asked = bmerge("merge", "weighted_sum", *files[:2], "--layout", "diffusers", "-o", one)
    assert asked.status == 0, asked.err
    assert bmerge("merge", "weighted_sum", *files[2:], "-o", other).status == 0
    assert_same(load_file(one), load_file(other))
    again = tmp_path / "again.safetensors"
    told = bmerge("merge", one, "--search", tmp_path, "-o", again)
    assert told.status == 0, told.err
    assert again.read_bytes() == one.read_bytes()


@pytest.fixture
def folder(tmp_path, sdxl):
    """Return a folder of diffusers with all that lies beside its weights, in another precision."""
    parts = {
        "unet": by_diffusers(CASES["sdxl"][2], part(sdxl, PICTURE)),
        "vae": by_diffusers(CASES["sd2"][2], part(sdxl, VAE)),
        "text_encoder": part(sdxl, f"{CLIP_L}transformer."),
        "text_encoder_2": by_diffusers(CASES["sdxl_inpaint"][2], part(sdxl, f"{CLIP_G}model.")),
    }
    folder = tmp_path / "base"
    for name, arrays in parts.items():
        (folder / name).mkdir(parents=True)
        file = "model" if "text" in name else "diffusion_pytorch_model"
        save_file(arrays, folder / name / f"{file}.fp16.safetensors")
        (folder / name / "config.json").write_text(json.dumps({"of": name}))
    for name, file in (("tokenizer", "vocab.json"), ("scheduler", "scheduler_config.json")):
        (folder / name).mkdir()
        (folder / name / file).write_text("{}")
    (folder / "safety_checker").mkdir()
    save_file({"x": np.zeros(1, "f4")}, folder / "safety_checker" / "model.safetensors")
    (folder / "LICENSE.md").write_text("free")
    entries = {name: ["diffusers", "Model"] for name in parts}
    (folder / "model_index.json").write_text(json.dumps(entries))
    return folder, parts


def files_of(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def assert_folder(out, base, parts):
    weights = {name: f"{'model' if 'text' in name else 'diffusion_pytorch_model'}.safetensors"
               for name in parts}  # fmt: skip
    beside = {file for file in files_of(base) if ".fp16." not in file}
    assert files_of(out) == beside | {f"{name}/{file}" for name, file in weights.items()}
    for file in beside:
        assert (out / file).read_bytes() == (base / file).read_bytes()
    for name, arrays in parts.items():
        assert_same(load_file(out / name / weights[name]), arrays)


def test_one_file_becomes_a_folder_with_the_configs_of_another(bmerge, tmp_path, sdxl, folder):
    base, parts = folder
    save_file(sdxl, tmp_path / "in.safetensors")
    out = tmp_path / "out"
    convert = ("convert", tmp_path / "in.safetensors", "--layout", "diffusers")
    lacking = bmerge(*convert, "-o", out)
    assert lacking.status == 1
    assert "the name has no suffix" in lacking.err
    assert "--configs FOLDER" in lacking.err
    called = bmerge(*convert, "--configs", base, "-o", out)
    assert called.status == 0, called.err
    assert_folder(out, base, parts)
    again = bmerge(*convert, "--configs", base, "--force", "-o", out)
    assert again.status != 0
    assert "exists" in again.err


def test_diffusion_model_alone_becomes_a_folder_with_the_other_parts_of_another(
    bmerge, tmp_path, sdxl, folder
):
    base, parts = folder
    start = "model.diffusion_model."
    unet = {key[len(start) :]: array + 1 for key, array in sdxl.items() if key.startswith(start)}
    save_file(unet, tmp_path / "in.safetensors")
    convert = ("convert", tmp_path / "in.safetensors", "--configs", base, "-o", tmp_path / "out")
    refused = bmerge(*convert)
    assert (refused.status, "--layout diffusers" in refused.err) == (1, True)
    called = bmerge(*convert, "--layout", "diffusers")
    assert called.status == 0, called.err
    weights = "unet/diffusion_pytorch_model.safetensors"
    found = load_file(tmp_path / "out" / weights)
    assert_same(found, {key: array + 1 for key, array in parts["unet"].items()})
    assert files_of(tmp_path / "out") - {weights} == {
        file for file in files_of(base) if not file.startswith("unet/") or ".json" in file
    }


def test_a_folder_without_configs_gives_none(bmerge, tmp_path, sdxl):
    save_file(sdxl, tmp_path / "in.safetensors")
    (tmp_path / "empty").mkdir()
    save_file(sdxl, tmp_path / "empty" / "model.safetensors")
    called = bmerge("convert", tmp_path / "in.safetensors", "--layout", "diffusers",
                    "--configs", tmp_path / "empty", "-o", tmp_path / "out")  # fmt: skip
    assert called.status == 1
    assert "empty has no configs or tokenizers" in called.err
    assert not (tmp_path / "out").exists()


def test_merge_of_a_folder_is_a_folder(bmerge, tmp_path, sdxl, folder):
    base, parts = folder
    save_file(sdxl, tmp_path / "b.safetensors")
    out = tmp_path / "out"
    called = bmerge("merge", "weighted_sum", base, tmp_path / "b.safetensors", "-o", out)
    assert called.status == 0, called.err
    assert_folder(out, base, parts)  # of equal models
    assert not [path for path in tmp_path.iterdir() if "bmerge-tmp" in path.name]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are told by /proc")
def test_no_file_in_a_folder_is_open_when_it_gets_its_name(
    bmerge, tmp_path, folder, sdxl, monkeypatch
):
    """For Windows does not rename such a folder."""
    base, _ = folder
    save_file(sdxl, tmp_path / "b.safetensors")
    held = []

    def rename(source, target):
        links = list(Path("/proc/self/fd").iterdir())
        opened = [str(link.readlink()) for link in links if link.is_symlink()]
        held.append([path for path in opened if path.startswith(str(source))])
        real(source, target)

    real = os.rename
    monkeypatch.setattr(os, "rename", rename)
    models = base, tmp_path / "b.safetensors"
    called = bmerge("merge", "weighted_sum", *models, "-o", tmp_path / "out")
    assert called.status == 0, called.err
    assert held == [[]]


def test_language_model_keeps_its_tokenizer(bmerge, tmp_path):
    models = []
    for number in (1, 2):
        folder = tmp_path / f"llm{number}"
        folder.mkdir()
        save_file(small_model("qwen2_7b", number), folder / "model.safetensors")
        for name in ("config.json", "tokenizer.json", "merges.txt"):
            (folder / name).write_text(f"{name} of {number}")
        (folder / "original").mkdir()
        (folder / "original" / "consolidated.pth").write_bytes(b"large")
        models.append(folder)
    out = tmp_path / "out"
    called = bmerge("merge", "weighted_sum", *models, "--alpha", "0.5", "-o", out)
    assert called.status == 0, called.err
    assert files_of(out) == {"model.safetensors", "config.json", "tokenizer.json", "merges.txt"}
    assert (out / "merges.txt").read_text() == "merges.txt of 1"
    a, b = (load_file(model / "model.safetensors") for model in models)
    found = load_file(out / "model.safetensors")
    assert all(np.allclose(found[key], (a[key] + b[key]) / 2) for key in a)
    shards = tmp_path / "shards"
    called = bmerge("merge", "weighted_sum", *models, "--shard-size", "100K", "-o", shards)
    assert called.status == 0, called.err
    assert {"config.json", "tokenizer.json", "merges.txt"} < files_of(shards)


def test_what_lies_beside_shards_is_whole_or_not_there(bmerge, tmp_path):
    folder, shards = tmp_path / "llm", tmp_path / "shards"
    folder.mkdir()
    save_file(small_model("qwen2_7b", 1), folder / "model.safetensors")
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer.json").write_bytes(b"words " * 500_000)
    words = ("convert", folder, "--dtype", "fp16", "--shard-size", "100K", "-o", shards)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, limits[1]))
    try:
        called = bmerge(*words)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert called.status == 0, called.err
    assert f"what lies beside the weights in {folder} cannot be copied" in called.err
    assert {name for name in files_of(shards) if "model" not in name} == {"config.json"}
    (shards / "config.json").write_text("of another model")
    called = bmerge(*words, "--force")
    assert called.status == 0, called.err
    assert f"not copied from {folder}, as {shards} has others: config.json" in called.err
    assert (shards / "config.json").read_text() == "of another model"
    assert (shards / "tokenizer.json").read_bytes() == b"words " * 500_000
    called = bmerge(*words, "--force")
    assert "tokenizer.json" not in called.err


def test_a_folder_whose_weights_stay_codes_still_says_so(bmerge, tmp_path):
    layer = by_blocks(np.random.default_rng(1))
    folder = tmp_path / "model"
    folder.mkdir()
    write_layout(folder / "model.safetensors", layer.layout(), contents=layer.contents())
    config = {"quantization_config": {"quant_method": "fp8"}, "vocab_size": 9}
    (folder / "config.json").write_text(json.dumps(config))
    for options, left in (((), config), (("--quantise", "none"), {"vocab_size": 9})):
        out = tmp_path / f"out{len(options)}"
        called = bmerge("convert", folder, "-o", out, *options)
        assert called.status == 0, called.err
        assert json.loads((out / "config.json").read_text()) == left


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sd35_medium", "read by bmerge alone"),
        ("wan21_t2v_1_3b", "ComfyUI does not read this model by diffusers' names"),
        ("zimage_comfy", ""),
    ],
)
def test_a_file_by_names_of_diffusers_says_who_does_not_read_it(bmerge, tmp_path, name, said):
    model = small_model(name, 1, layers=1)
    if name == "sd35_medium":
        model["first_stage_model.decoder.conv_in.weight"] = np.ones((4, 4, 3, 3), "f4")
    save_file(model, tmp_path / "in.safetensors")
    words = ("convert", tmp_path / "in.safetensors", "--layout", "diffusers", "-o")
    called = bmerge(*words, tmp_path / "out.safetensors")
    assert called.status == 0, called.err
    assert (said in called.err) if said else ("read" not in called.err)


def small_vaes():
    import diffusers

    flux2 = diffusers.AutoencoderKLFlux2(
        block_out_channels=(8, 8, 8, 8), latent_channels=4, norm_num_groups=4, layers_per_block=1
    )
    return {"wan": diffusers.AutoencoderKLWan(base_dim=4, z_dim=4), "flux2": flux2}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", ["wan", "flux2"])
def test_vaes_of_other_families_are_parts_alone(bmerge, tmp_path, family):
    arrays = {key: value.numpy() for key, value in small_vaes()[family].state_dict().items()}
    there, back = tmp_path / "there.safetensors", tmp_path / "back.safetensors"
    file = tmp_path / "vae.safetensors"
    save_file(arrays, file)
    for source, layout, out in ((file, "original", there), (there, "diffusers", back)):
        called = bmerge("convert", source, "--layout", layout, "-o", out)
        assert called.status == 0, called.err
    found, other = load_file(back), load_file(there)
    assert found.keys() == arrays.keys() != other.keys()
    assert all(np.array_equal(found[key], array) for key, array in arrays.items())
    told = json.loads(bmerge("inspect", there, "--json").out)
    assert [*told["components"]] == ["VAE"]
