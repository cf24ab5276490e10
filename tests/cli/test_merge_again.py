"""A merged file is all that is needed to make it again: `merge FILE` and `recipe import FILE`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bmerge.formats import open_checkpoint, sha256_of
from bmerge.testing import read_checkpoint, write_checkpoint
from merges import names_in

SD1 = ("--arch", "sd1")
LAYER = "model.diffusion_model.input_blocks.1.1.proj_in.weight"


@pytest.fixture(autouse=True)
def _models(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    draw = np.random.default_rng(0)
    for name in "abc":
        arrays = {
            LAYER: draw.normal(size=(6, 6)),
            "model.diffusion_model.out.0.bias": draw.random(3),
        }
        write_checkpoint(
            Path(f"{name}.safetensors"), arrays, dtype="F16", metadata={"license": name}
        )
    lora = {
        "lora_unet_input_blocks_1_1_proj_in.lora_up.weight": draw.normal(size=(6, 2)),
        "lora_unet_input_blocks_1_1_proj_in.lora_down.weight": draw.normal(size=(2, 6)),
    }
    write_checkpoint(Path("lora.safetensors"), lora)


def ok(called):
    assert called.status == 0, called.err
    return called


def merge(bmerge, first, second, output, *options):
    models = (f"{first}.safetensors", f"{second}.safetensors")
    where = ("--alpha", "IN01=0.3,*=0.7", *SD1, "-o", output)
    ok(bmerge("merge", "weighted_sum", *models, *where, *options))
    return Path(output)


STEPS = """
models: {a: a.safetensors, b: b.safetensors, c: {path: c.safetensors, content: model}}
steps:
  d: {method: weighted_sum, models: [b - a, c - a], hyperparameters: {alpha: 0.25}}
  e: {method: add, models: [a, d], seed: 4}
  f: {pick: {"*": e, "*.bias": c}}
result: f
dtype: BF16
rounding: stochastic
seed: 9
"""
DIFFERENCE = """
models: {a: a.safetensors, d: {path: c.safetensors, content: difference}}
steps: {e: {method: add, models: [a, d], hyperparameters: {weight: 0.5}}}
result: e
"""
MERGES = {
    "options": ("weighted_sum", "a.safetensors", "b.safetensors", "--alpha", "IN01=0.1,*=0.9", *SD1,
                "--dtype", "fp32", "--seed", "3", "--exclude", "*.bias", "--clamp", "all"),
    "three": ("add_difference", "a.safetensors", "b.safetensors", "c.safetensors"),
    "lora": ("add_difference", "a.safetensors", "--lora", "lora.safetensors=IN01=0.5,*=0.2", *SD1),
    "steps": ("steps.yaml",),
    "difference": ("difference.yaml",),
    "option": ("ties", "a.safetensors", "b.safetensors", "c.safetensors", "--vote", "count"),
}  # fmt: skip


@pytest.mark.parametrize("way", ["merge", "import"])
@pytest.mark.parametrize("arguments", MERGES.values(), ids=MERGES)
def test_same_bytes_come_out_of_what_a_file_tells(bmerge, arguments, way):
    Path("steps.yaml").write_text(STEPS)
    Path("difference.yaml").write_text(DIFFERENCE)
    ok(bmerge("merge", *arguments, "-o", "out.safetensors"))
    source = "out.safetensors"
    if way == "import":
        ok(bmerge("recipe", "import", source, "-o", "r.yaml"))
        source = "r.yaml"
    ok(bmerge("merge", source, "-o", "again.safetensors"))
    assert Path("again.safetensors").read_bytes() == Path("out.safetensors").read_bytes()


def test_merged_ckpt_and_shards_tell_it_too(bmerge):
    for output in ("out.ckpt", "set.safetensors"):
        merge(bmerge, "a", "b", output, "--shard-size" if output[0] == "s" else "--seed", "300")
    ok(bmerge("merge", "out.ckpt", "-o", "again.ckpt"))
    assert Path("again.ckpt").read_bytes() == Path("out.ckpt").read_bytes()
    ok(
        bmerge(
            "merge", "set.safetensors.index.json", "--shard-size", "300", "-o", "new.safetensors"
        )
    )
    old, new = (open_checkpoint(f"{name}.safetensors.index.json") for name in ("set", "new"))
    assert len(old.files) > 1
    for one, two in zip(old.files, new.files, strict=True):
        assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("hashes", [[], ["--no-hashes"]], ids=["hashes", "none"])
def test_inputs_that_are_gone_are_made_again_over_two_generations(bmerge, hashes):
    merge(bmerge, "a", "b", "ab.safetensors", *hashes)
    merge(bmerge, "ab", "c", "abc.safetensors", *hashes)
    last = merge(bmerge, "abc", "ab", "last.safetensors", *hashes)
    Path("ab.safetensors").unlink()
    Path("abc.safetensors").unlink()
    before = names_in(Path())
    called = ok(bmerge("merge", "last.safetensors", "-o", "again.safetensors", *hashes))
    assert Path("again.safetensors").read_bytes() == last.read_bytes()
    assert called.err.count("ab.safetensors is gone: making it again first") == 1
    assert names_in(Path()) == sorted([*before, "again.safetensors"])


def test_dry_run_makes_nothing_again(bmerge):
    merge(bmerge, "a", "b", "ab.safetensors")
    merge(bmerge, "ab", "c", "abc.safetensors")
    Path("ab.safetensors").unlink()
    called = bmerge("merge", "abc.safetensors", "--dry-run")
    assert called.status == 1
    assert "ab.safetensors is gone and has to be made again first" in called.err


def test_input_that_comes_out_as_another_file_is_refused(bmerge):
    merge(bmerge, "a", "b", "ab.safetensors", "--no-metadata")
    merge(bmerge, "ab", "c", "abc.safetensors")
    called = bmerge("recipe", "import", "abc.safetensors")
    assert called.status == 0
    Path("ab.safetensors").unlink()
    called = bmerge("merge", "abc.safetensors", "-o", "x.safetensors")
    assert called.status == 1
    assert "not to be found: ab.safetensors (sha256 " in called.err
    merge(bmerge, "a", "b", "ab.safetensors")
    merge(bmerge, "ab", "c", "abc.safetensors", "--force")
    Path("ab.safetensors").unlink()
    text = Path("abc.safetensors").read_bytes()
    parts = json.loads(open_checkpoint("abc.safetensors").metadata["bmerge.recipe"])
    digest = parts["models"][0]["sha256"]
    Path("abc.safetensors").write_bytes(text.replace(digest.encode(), b"0" * 64))
    called = bmerge("merge", "abc.safetensors", "-o", "x.safetensors")
    assert called.status == 1
    assert "made again it is another file than it was" in called.err
    assert not Path("x.safetensors").exists()


def test_all_missing_inputs_are_named_before_anything_is_made(bmerge):
    merge(bmerge, "a", "b", "ab.safetensors")
    merge(bmerge, "ab", "c", "abc.safetensors")
    for name in ("ab", "b", "c"):
        Path(f"{name}.safetensors").unlink()
    for command in (("merge", "abc.safetensors", "-o", "x.safetensors"),
                    ("recipe", "import", "abc.safetensors")):  # fmt: skip
        called = bmerge(*command)
        assert called.status == 1
        assert "not to be found: b.safetensors (sha256 " in called.err
        assert "c.safetensors (sha256 " in called.err
        assert "making it again" not in called.err
        assert "hint: put it beside the merged file" in called.err


def test_gone_inputs_become_steps_of_an_imported_recipe(bmerge, tmp_path):
    """In float32 nothing is rounded between steps, so the numbers are the same."""
    merge(bmerge, "a", "b", "ab.safetensors", "--dtype", "fp32", "--seed", "5")
    merge(bmerge, "ab", "c", "abc.safetensors", "--dtype", "fp32")
    last = merge(bmerge, "abc", "ab", "last.safetensors", "--dtype", "fp32")
    Path("ab.safetensors").unlink()
    Path("abc.safetensors").unlink()
    (tmp_path / "there").mkdir()
    ok(bmerge("recipe", "import", last, "-o", tmp_path / "there" / "r.yaml"))
    text = (tmp_path / "there" / "r.yaml").read_text()
    assert text.count("method: weighted_sum") == 3
    assert sha256_of(Path("c.safetensors")) in text
    ok(bmerge("merge", tmp_path / "there" / "r.yaml", "-o", "again.safetensors"))
    expected, found = read_checkpoint(last), read_checkpoint(Path("again.safetensors"))
    assert list(found) == list(expected)
    for key, array in expected.items():
        assert found[key].tobytes() == array.tobytes()


def test_steps_draw_with_the_seed_that_they_had(bmerge):
    drawn = ("merge", "comparative_interpolation", "a.safetensors", "b.safetensors", *SD1)
    ok(bmerge(*drawn, "--dtype", "fp32", "--seed", "5", "-o", "ab.safetensors"))
    last = merge(bmerge, "ab", "c", "last.safetensors", "--dtype", "fp32", "--seed", "6")
    Path("ab.safetensors").unlink()
    ok(bmerge("recipe", "import", last, "-o", "r.yaml"))
    ok(bmerge("merge", "r.yaml", "-o", "again.safetensors"))
    expected, found = read_checkpoint(last), read_checkpoint(Path("again.safetensors"))
    assert all(found[key].tobytes() == array.tobytes() for key, array in expected.items())


@pytest.mark.parametrize("option", ["--prune", "--exclude=*.bias"])
def test_what_cannot_be_a_step_is_told(bmerge, option):
    merge(bmerge, "a", "b", "ab.safetensors", option)
    merge(bmerge, "ab", "c", "abc.safetensors")
    Path("ab.safetensors").unlink()
    called = bmerge("recipe", "import", "abc.safetensors")
    assert called.status == 1
    assert "ab.safetensors is gone and cannot be a step: it was made with" in called.err
    ok(bmerge("merge", "abc.safetensors", "-o", "again.safetensors"))
    assert Path("again.safetensors").read_bytes() == Path("abc.safetensors").read_bytes()


def test_inputs_are_found_where_they_are_now(bmerge, tmp_path):
    """Another file has the name; the right one was hashed elsewhere under another name."""
    out = merge(bmerge, "a", "b", "out.safetensors")
    (tmp_path / "else").mkdir()
    moved = Path("b.safetensors").rename(tmp_path / "else" / "was-b.safetensors")
    Path("b.safetensors").write_bytes(Path("c.safetensors").read_bytes())
    called = bmerge("merge", out, "-o", "again.safetensors")
    assert called.status == 1
    assert "not to be found: b.safetensors" in called.err
    sha256_of(moved)
    ok(bmerge("merge", out, "-o", "again.safetensors"))
    assert Path("again.safetensors").read_bytes() == out.read_bytes()
    ok(bmerge("merge", out, "-o", "other.safetensors", "--unverified"))
    assert (
        read_checkpoint(Path("other.safetensors"))[LAYER].tobytes()
        != read_checkpoint(out)[LAYER].tobytes()
    )


def test_file_that_was_not_merged_is_refused(bmerge):
    called = bmerge("merge", "a.safetensors", "-o", "x.safetensors")
    assert called.status == 1
    assert "a.safetensors: its metadata has neither bmerge.recipe nor" in called.err
    forgotten = bmerge("merge", "a.safetensors", "b.safetensors", "-o", "x.safetensors")
    assert forgotten.status == 2
    assert "'a.safetensors' is not a merge method" in forgotten.err


@pytest.mark.parametrize("damaged", ['{"method": "weigh', "[1]", ""], ids=["cut", "list", "empty"])
def test_a_damaged_recipe_in_the_metadata_is_called_so(bmerge, damaged):
    write_checkpoint("x.safetensors", {LAYER: np.ones((2, 2))}, metadata={"bmerge.recipe": damaged})
    called = bmerge("merge", "x.safetensors", "-o", "y.safetensors")
    assert called.status == 1
    assert "x.safetensors: bmerge.recipe in its metadata is damaged" in called.err
    assert not Path("y.safetensors").exists()


@pytest.mark.parametrize(
    "recipe",
    [
        {"method": "weighted_sum", "models": [3]},
        {"method": "weighted_sum", "models": [{"name": "../a.safetensors"}] * 2},
        {"method": "weighted_sum", "models": [{"name": 5, "ancestor": 0}] * 2},
        {"method": "weighted_sum", "models": {"a": {"name": "a.safetensors"}}},
        {"method": "weighted_sum"},
        {"method": "weighted_sum", "models": 3},
        {"method": "weighted_sum", "models": [{"sha256": None}] * 2},
        {"method": "weighted_sum", "models": [{"name": "a.safetensors", "loras": 3}] * 2},
        {"method": "weighted_sum", "models": [{"name": "a.safetensors", "loras": [{}]}] * 2},
        {"rebasin": {"seed": 0}, "models": [{"name": "a.safetensors"}]},
    ],
    ids=range(10),
)
def test_spoilt_metadata_is_one_clear_line(bmerge, recipe):
    text = json.dumps({"version": 2, **recipe})
    arrays = read_checkpoint(Path("a.safetensors"))
    write_checkpoint(Path("bad.safetensors"), arrays, metadata={"bmerge.recipe": text})
    for command in (("merge", "bad.safetensors", "-o", "x.safetensors"),
                    ("merge", "--like", "bad.safetensors"),
                    ("recipe", "import", "bad.safetensors")):  # fmt: skip
        called = bmerge(*command)
        assert called.status == 1, called.out
        assert called.err.startswith("error: ")
        assert "bug" not in called.err
    assert not Path("x.safetensors").exists()


def test_like_says_that_the_bytes_are_the_same_and_leaves_nothing(bmerge, monkeypatch, tmp_path):
    merge(bmerge, "a", "b", "ab.safetensors")
    before = names_in(Path())
    called = ok(bmerge("merge", "--like", "ab.safetensors"))
    assert called.out == "the bytes are the same as those of ab.safetensors\n"
    assert names_in(Path()) == before
    data = json.loads(ok(bmerge("merge", "--like", "ab.safetensors", "--json", "-o", "x.sft")).out)
    assert (data["same"], data["output"]) == (True, "x.sft")
    assert Path("x.sft").read_bytes() == Path("ab.safetensors").read_bytes()


@pytest.mark.parametrize("options", [["--no-hashes"], []], ids=["no hashes", "hashes"])
@pytest.mark.parametrize("output", ["out.ckpt", "out.safetensors"])
def test_like_repeats_any_output(bmerge, output, options):
    merge(bmerge, "a", "b", output, *options)
    assert "the bytes are the same" in ok(bmerge("merge", "--like", output)).out


def test_like_compares_shards_tensor_by_tensor(bmerge):
    merge(bmerge, "a", "b", "set.safetensors", "--shard-size", "300")
    called = ok(bmerge("merge", "--like", "set.safetensors.index.json"))
    assert "tensors and metadata are the same" in called.out


def test_like_names_the_tensors_that_came_out_otherwise(bmerge):
    out = merge(bmerge, "a", "b", "ab.safetensors")
    data = bytearray(out.read_bytes())
    data[-1] ^= 1
    out.write_bytes(data)
    called = bmerge("merge", "--like", out)
    assert called.status == 1
    assert called.out.startswith("not as in ab.safetensors: 1 tensor, model.diffusion_model.")


def test_like_tells_metadata_from_tensors(bmerge):
    out = merge(bmerge, "a", "b", "ab.safetensors")
    metadata = {**open_checkpoint(out).metadata, "license": "changed"}
    write_checkpoint(out, read_checkpoint(out), dtype="F16", metadata=metadata)
    called = bmerge("merge", "--like", out)
    assert called.status == 1
    lines = called.out.splitlines()
    assert lines == [
        "every tensor is the same as in ab.safetensors, to the byte",
        "the metadata differs in license",
    ]


def test_models_are_found_in_the_folders_that_are_named_by_name_or_hash(bmerge, tmp_path):
    merge(bmerge, "a", "b", "ab.safetensors")
    (tmp_path / "cache" / "bmerge" / "sha256.json").unlink()
    far = tmp_path / "far" / "deep"
    far.mkdir(parents=True)
    Path("a.safetensors").rename(far / "a.safetensors")
    Path("b.safetensors").rename(far / "renamed.safetensors")
    called = bmerge("merge", "--like", "ab.safetensors")
    assert called.status == 1
    assert "--search FOLDER" in called.err
    called = ok(bmerge("merge", "--like", "ab.safetensors", "--search", tmp_path / "far"))
    assert "the bytes are the same" in called.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--like", "a.safetensors", "--dtype", "fp32"], "leave 'dtype' out"),
        (["weighted_sum", "--like", "a.safetensors"], "leave 'weighted_sum' out"),
        (["--like", "a.safetensors"], "its metadata has neither bmerge.recipe"),
        (["--like", "study.yaml"], "--like takes a merged file"),
        (
            ["weighted_sum", "a.safetensors", "--search", ".", "--dry-run"],
            "--search is for recipes",
        ),
        (["recipe.yaml", "--search", ".", "-o", "x.safetensors"], "--search is for merged files"),
        ([], "missing argument 'METHOD'"),
    ],
    ids=lambda value: " ".join(value[:3]) if isinstance(value, list) else "",
)
def test_like_and_search_refuse_what_they_are_not_for(bmerge, words, said):
    before = names_in(Path())
    called = bmerge("merge", *words)
    assert called.status != 0
    assert said in called.err
    assert names_in(Path()) == before
