from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bmerge import _native, load_registry, merge
from bmerge.cli.merge import command
from bmerge.cli.merge_explain import explanation, show_explanation
from bmerge.executors import ExecutionReport
from bmerge.executors.base import Processor, Reading, Writing
from bmerge.formats import open_checkpoint
from bmerge.host.named_merge import plan_of_method
from bmerge.method import TAKEN
from bmerge.testing import read_checkpoint, write_checkpoint

RECIPE = """
method: weighted_sum
models: [a.safetensors, b.safetensors]
hyperparameters:
  alpha: {BASE: 0.1, "IN00-OUT11": 0.5}
"""


def _expected(a, b, weight):
    """Return the float64 oracle of a weighted sum, rounded once to a's dtype."""
    return ((1 - weight) * a.astype("f8") + weight * b.astype("f8")).astype(a.dtype)


@pytest.fixture
def pair(tmp_path, monkeypatch):
    """Two small models in the current folder: one block of two layers."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    arrays = []
    for name in "ab":
        tensors = {f"layers.{i}.w": rng.normal(size=(7, 5)).astype("f4") for i in range(2)}
        write_checkpoint(tmp_path / f"{name}.safetensors", tensors)
        arrays.append(tensors)
    return arrays


def test_merge_gives_the_numbers_of_the_formula(bmerge, pair, tmp_path):
    files = ("a.safetensors", "b.safetensors")
    called = bmerge("merge", "weighted_sum", *files, "--alpha", "0.25", "-o", "out.safetensors")
    assert called.status == 0, called.err
    merged = read_checkpoint(tmp_path / "out.safetensors")
    for key, array in merged.items():
        np.testing.assert_allclose(array, _expected(pair[0][key], pair[1][key], 0.25), atol=1e-6)
    assert "out.safetensors" in called.out
    assert "native" in called.err


def test_negative_value_is_a_value(bmerge, pair):
    files = ("a.safetensors", "b.safetensors", "-o", "out.safetensors")
    assert bmerge("merge", "weighted_sum", *files, "--alpha", "-0.5").status == 0


def test_options_may_stand_anywhere(bmerge, pair, tmp_path):
    files = ("a.safetensors", "b.safetensors")
    bmerge("merge", "weighted_sum", *files, "--alpha", "0.3", "-o", "one.safetensors")
    called = bmerge("merge", "-o", "two.safetensors", "--alpha=0.3", "weighted_sum", *files)
    assert called.status == 0, called.err
    assert (tmp_path / "one.safetensors").read_bytes() == (
        tmp_path / "two.safetensors"
    ).read_bytes()


@pytest.mark.parametrize(
    ("value", "base", "in05", "m00"),
    [
        ("0.4", 0.4, 0.4, 0.4),
        ("IN00-IN05=0.2,M00=1,*=0.5", 0.5, 0.2, 1.0),
        (",".join(["0.1"] * 26), 0.1, 0.1, 0.1),
        ("GRAD_V,BASE=0.3", 0.3, None, None),
    ],
    ids=["number", "blocks", "list of 26", "preset"],
)
def test_weights_can_be_written_in_every_form(bmerge, sd1_models, value, base, in05, m00):
    called = bmerge(
        "merge", "weighted_sum", *sd1_models[:2], "--alpha", value, "--dry-run", "--json"
    )
    assert called.status == 0, called.err
    blocks = json.loads(called.out)["blocks"]
    assert blocks["BASE"]["alpha"] == base
    assert in05 is None or blocks["IN05"]["alpha"] == in05
    assert m00 is None or blocks["M00"]["alpha"] == m00


def test_dry_run_prints_the_plan_and_writes_nothing(bmerge, sd1_models, tmp_path):
    out = tmp_path / "out.safetensors"
    called = bmerge("merge", "weighted_sum", *sd1_models[:2], "-o", out, "--dry-run")
    assert called.status == 0
    assert "1130 merged, 1 copied" in called.out
    assert "OUT11" in called.out
    assert not out.exists()


def test_json_reports_what_was_done(bmerge, pair, tmp_path):
    called = bmerge(
        "merge", "weighted_sum", "a.safetensors", "b.safetensors", "-o", "out.safetensors", "--json"
    )
    data = json.loads(called.out)
    assert data["output"] == "out.safetensors"
    assert data["bytes"] == (tmp_path / "out.safetensors").stat().st_size
    assert data["executor"] == "native"
    assert data["recipe"]["method"] == "weighted_sum"


def test_executors_give_the_same_bytes(bmerge, sd1_models, tmp_path):
    files = []
    for name in ("native", "torch"):
        files.append(tmp_path / f"{name}.safetensors")
        options = ("--executor", name, "--device", "cpu", "--alpha", "0.3", "-o", files[-1])
        called = bmerge("merge", "weighted_sum", *sd1_models[:2], *options)
        assert called.status == 0, called.err
        assert name in called.err
    assert files[0].read_bytes() == files[1].read_bytes()


def test_recipe_file_finds_models_beside_itself(bmerge, sd1_models, tmp_path, monkeypatch):
    recipe = sd1_models[0].with_name("recipe.yaml")
    recipe.write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    called = bmerge("merge", recipe, "-o", "out.safetensors", "--dry-run", "--json")
    assert called.status == 0, called.err
    blocks = json.loads(called.out)["blocks"]
    assert (blocks["BASE"]["alpha"], blocks["M00"]["alpha"]) == (0.1, 0.5)


def test_options_go_before_the_recipe(bmerge, sd1_models):
    recipe = sd1_models[0].with_name("recipe.yaml")
    recipe.write_text(RECIPE + "dtype: fp16\n")
    called = bmerge("merge", recipe, "--dtype", "fp32", "--dry-run", "--json")
    assert set(json.loads(called.out)["dtypes"]) == {"F32", "I64"}


def test_recipe_with_another_hash_is_refused(bmerge, pair, tmp_path):
    models = f"[{{path: a.safetensors, sha256: '{'0' * 64}'}}, b.safetensors]"
    (tmp_path / "r.yaml").write_text(f"method: weighted_sum\nmodels: {models}\n")
    called = bmerge("merge", "r.yaml", "-o", "out.safetensors")
    assert called.status == 1
    assert "a.safetensors is not the file that the recipe was written for" in called.err


def test_output_that_exists_is_kept_unless_forced(bmerge, pair, tmp_path):
    out = tmp_path / "out.safetensors"
    out.write_text("precious")
    arguments = ("merge", "weighted_sum", "a.safetensors", "b.safetensors", "-o", out)
    called = bmerge(*arguments)
    assert called.status == 1
    assert called.err.splitlines() == [f"error: {out} exists", "hint: --force replaces it"]
    assert out.read_text() == "precious"
    assert bmerge(*arguments, "--force").status == 0
    assert read_checkpoint(out)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["a.safetensors"], 1, "weighted_sum takes 2 models (a, b), got 1"),
        (["a.safetensors", "x.safetensors"], 1, "no such file: x.safetensors"),
        (["a.safetensors", "b.safetensors", "--gamma", "1"], 2, "has no option --gamma; its hyper"),
        (["a.safetensors", "b.safetensors", "--alpha", "1,2,3,4,5"], 1, "--alpha: the list has 5"),
        (["a.safetensors", "b.safetensors", "--alpha", "IN77=1,*=0"], 1, "unknown block 'IN77'"),
        (["a.safetensors", "b.safetensors", "--dtype", "fp17"], 1, "unknown dtype 'fp17'"),
        (["a.safetensors", "b.safetensors", "--arch", "sd11"], 1, "unknown architecture 'sd11'"),
        (["a.safetensors", "b.safetensors", "--device", "tpu"], 1, "unknown device 'tpu'"),
        (["a.safetensors", "notes.txt"], 1, "notes.txt"),
    ],
    ids=[
        "models", "missing", "option", "list", "block", "dtype", "architecture", "device", "format",
    ],
)  # fmt: skip
def test_mistake_is_one_clear_line(bmerge, pair, tmp_path, arguments, status, message):
    (tmp_path / "notes.txt").write_text("hello")
    called = bmerge("merge", "weighted_sum", *arguments, "-o", "out.safetensors")
    assert called.status == status
    (line,) = [line for line in called.err.splitlines() if line.startswith("error: ")]
    assert message in line
    assert not list(tmp_path.glob("*out*"))


def test_output_is_needed(bmerge, pair):
    called = bmerge("merge", "weighted_sum", "a.safetensors", "b.safetensors")
    assert called.status == 2
    assert "missing option '-o'" in called.err


def test_recipe_takes_no_further_models(bmerge, pair, tmp_path):
    (tmp_path / "r.yaml").write_text(RECIPE)
    called = bmerge("merge", "r.yaml", "c.safetensors", "-o", "out.safetensors")
    assert (called.status, "leave 'c.safetensors' out" in called.err) == (2, True)


def test_help_of_a_method_shows_its_models_and_hyperparameters(bmerge):
    called = bmerge("merge", "tensor_sum", "--help")
    assert called.status == 0
    assert "bmerge merge tensor_sum A B -o FILE" in called.out
    assert "--beta VALUE" in called.out
    assert "Formula" in called.out


def test_help_of_every_method_can_be_shown(bmerge):
    for entry in json.loads(bmerge("methods", "--json").out):
        called = bmerge("merge", entry["name"], "--help")
        assert called.status == 0, called.err
        for parameter in (*entry["hyperparameters"], *entry["options"]):
            assert f"--{parameter['name']} " in called.out


FORMS = """
    from typing import Literal
    from bmerge import PerModel, Weight, hookimpl, merge_method

    @merge_method
    def add_up(*models, weight: PerModel[Weight] = 0.5, form: Literal["sum", "mean"] = "sum"):
        '''Add.'''
        total = sum(w * m for w, m in zip(weight, models))
        return total / len(models) if form == "mean" else total

    @hookimpl
    def bmerge_merge_methods():
        return [add_up]
"""


def test_options_of_a_method_choose_its_form(bmerge, pair, write_plugin, tmp_path):
    plugin = ("--plugin", write_plugin("adding.py", FORMS))
    arguments = ("add_up", "a.safetensors", "b.safetensors", "-o", "o.safetensors", *plugin)
    called = bmerge("merge", *arguments, "--weight_2", "1", "--form", "mean")
    assert called.status == 0, called.err
    for key, array in read_checkpoint(tmp_path / "o.safetensors").items():
        expected = (0.5 * pair[0][key].astype("f8") + pair[1][key]) / 2
        np.testing.assert_allclose(array, expected, atol=1e-6)
    called = bmerge("merge", *arguments, "--form", "maen")
    assert called.status == 2
    assert "'maen' is not one of 'sum', 'mean'" in called.err


def test_hyperparameter_of_a_plugin_is_an_option(bmerge, pair, example, tmp_path):
    files = ("a.safetensors", "b.safetensors", "-o", "out.safetensors")
    called = bmerge("merge", "from_middle", *files, "--pull", "1", *example)
    assert called.status == 0, called.err
    merged = read_checkpoint(tmp_path / "out.safetensors")
    for key, array in merged.items():
        np.testing.assert_allclose(array, pair[1][key], rtol=1e-5, atol=1e-6)


def test_hyperparameter_may_not_hide_an_option(bmerge, write_plugin):
    source = """
        from bmerge import Weight, hookimpl, merge_method

        @merge_method
        def odd(a, b, *, seed: Weight = 0.5):
            '''Mix.'''
            return a + seed * (b - a)

        @hookimpl
        def bmerge_merge_methods():
            return [odd]
    """
    called = bmerge("merge", "odd", "a", "b", "--plugin", write_plugin("odd_one.py", source))
    assert called.status == 1
    assert "odd has a hyperparameter 'seed', which is an option too" in called.err


def test_names_that_hyperparameters_should_not_have_are_those_of_options_and_keywords():
    spellings = {word for p in command.params for word in (*p.opts, *p.secondary_opts)} | {"--help"}
    options = {word[2:].replace("-", "_") for word in spellings if word.startswith("--")}
    keywords = inspect.signature(merge).parameters.values()
    assert {p.name for p in keywords if p.kind is p.KEYWORD_ONLY} | options == TAKEN


def test_observer_is_told_of_the_plan(bmerge, pair, write_plugin, tmp_path):
    source = f"""
        from pathlib import Path
        from bmerge import hookimpl

        @hookimpl
        def bmerge_merge_started(plan):
            Path({str(tmp_path / "seen")!r}).write_text(plan.title)
    """
    files = ("a.safetensors", "b.safetensors", "-o", "out.safetensors")
    called = bmerge("merge", "weighted_sum", *files, "--plugin", write_plugin("watcher.py", source))
    assert called.status == 0, called.err
    assert (tmp_path / "seen").read_text() == "weighted_sum"


def test_nonfinite_values_stop_the_merge_unless_reported(bmerge, pair, tmp_path):
    bad = {key: array.copy() for key, array in pair[0].items()}
    bad["layers.0.w"][0, 0] = np.nan
    write_checkpoint(tmp_path / "bad.safetensors", bad)
    arguments = ("merge", "weighted_sum", "bad.safetensors", "b.safetensors", "-o", "o.safetensors")
    called = bmerge(*arguments)
    assert called.status == 1
    assert "layers.0.w" in called.err
    assert not (tmp_path / "o.safetensors").exists()
    called = bmerge(*arguments, "--report-nonfinite")
    assert called.status == 0
    assert "warning: NaN or infinity in layers.0.w" in called.err


def test_strict_refuses_a_missing_key(bmerge, pair, tmp_path):
    del pair[1]["layers.1.w"]
    write_checkpoint(tmp_path / "b.safetensors", pair[1])
    arguments = ("merge", "weighted_sum", "a.safetensors", "b.safetensors", "-o", "o.safetensors")
    assert bmerge(*arguments, "--strict").status == 1
    assert bmerge(*arguments).status == 0


def test_native_merge_imports_no_torch_numpy_or_optuna(sd1_models, tmp_path):
    arguments = ["merge", "weighted_sum", *map(str, sd1_models[:2]), "--alpha", "GRAD_V"]
    arguments += ["--executor", "native", "-o", str(tmp_path / "out.safetensors")]
    command = [sys.executable, "-X", "importtime", "-m", "bmerge.cli", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = {line.split("|")[-1].strip() for line in result.stderr.splitlines() if "|" in line}
    assert "bmerge.pipeline" in imported
    assert not imported & {"torch", "numpy", "optuna", "scipy", "jinja2", "PIL"}


@pytest.mark.parametrize(
    ("output", "main"),
    [
        ("out.safetensors", "out.safetensors.index.json"),
        ("folder", "folder/model.safetensors.index.json"),
    ],
    ids=["beside one another", "new folder"],
)
def test_shard_size_gives_shards_and_an_index(bmerge, pair, tmp_path, output, main):
    files = ("a.safetensors", "b.safetensors", "--alpha", "0.25")
    assert bmerge("merge", "weighted_sum", *files, "-o", "one.safetensors").status == 0
    called = bmerge("merge", "weighted_sum", *files, "-o", output, "--shard-size", "0.3K")
    assert called.status == 0, called.err
    assert called.out.startswith(f"{main}  ")
    index = json.loads((tmp_path / main).read_text())["weight_map"]
    assert len(set(index.values())) == 2
    whole = read_checkpoint(tmp_path / "one.safetensors")
    for key, name in index.items():
        shard = read_checkpoint((tmp_path / main).with_name(name))
        assert shard[key].tobytes() == whole[key].tobytes()
    again = bmerge("merge", "weighted_sum", *files, "-o", output, "--shard-size", "0.3K")
    assert again.status == 1
    assert f"error: {main} exists" in again.err
    assert bmerge("inspect", main).status == 0


def test_new_folder_goes_when_nothing_was_written(bmerge, pair, tmp_path):
    bad = {key: array * np.nan for key, array in pair[0].items()}
    write_checkpoint(tmp_path / "bad.safetensors", bad)
    files = ("bad.safetensors", "b.safetensors", "-o", "folder", "--shard-size", "5G")
    assert bmerge("merge", "weighted_sum", *files).status == 1
    assert not (tmp_path / "folder").exists()


@pytest.mark.parametrize(
    ("option", "recipe", "hashed"),
    [(None, True, True), ("--no-hashes", True, False), ("--no-metadata", False, False)],
    ids=["default", "no hashes", "no metadata"],
)
def test_recipe_and_hashes_can_be_left_out(bmerge, pair, tmp_path, option, recipe, hashed):
    files = ("a.safetensors", "b.safetensors", "-o", "out.safetensors")
    called = bmerge("merge", "weighted_sum", *files, *([option] if option else []))
    assert called.status == 0, called.err
    header = (tmp_path / "out.safetensors").read_bytes()
    assert (b"bmerge.recipe" in header) is recipe
    assert (b"sha256" in header) is hashed


@pytest.fixture
def given(monkeypatch):
    """What the core is called with, each call's arguments; it runs all the same."""
    given = []
    merge = _native.merge
    monkeypatch.setattr(_native, "merge", lambda **call: given.append(call) or merge(**call))
    return given


@pytest.mark.parametrize(
    ("options", "budget"), [([], 64 << 20), (["--memory", "32M"], 32 << 20)], ids=["default", "32M"]
)
def test_memory_budget_reaches_the_core(bmerge, pair, given, options, budget):
    files = ("a.safetensors", "b.safetensors", "-o", "out.safetensors", "--threads", "1")
    assert bmerge("merge", "weighted_sum", *files, *options).status == 0
    (call,) = given
    assert (call["memory"], call["threads"], call["io"]) == (budget, 1, "auto")


def test_merge_is_the_same_through_memory_maps(bmerge, pair, given):
    files = ("a.safetensors", "b.safetensors", "-o", "out.safetensors")
    written = []
    for io in ("read", "mmap"):
        assert bmerge("merge", "weighted_sum", *files, "--io", io).status == 0
        assert given.pop()["io"] == io
        written.append(Path("out.safetensors").read_bytes())
        Path("out.safetensors").unlink()
    assert written[0] == written[1]


def test_many_tensors_in_many_layers_are_merged(bmerge, tmp_path):
    for name, value in (("a", 1.0), ("b", 3.0)):
        tensors = {f"layers.{i // 4}.w{i % 4}": np.full(1, value + i, "f4") for i in range(6_000)}
        write_checkpoint(tmp_path / f"{name}.safetensors", tensors, dtype="F32")
    out = tmp_path / "out.safetensors"
    files = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    called = bmerge("merge", "weighted_sum", *files, "--alpha", "L1499=1,*=0.5", "-o", out)
    assert called.status == 0, called.err
    merged = read_checkpoint(out)
    assert len(merged) == 6_000
    for i in (0, 1, 2_999, 5_995, 5_996, 5_999):
        expected = (3.0 if i >= 5_996 else 2.0) + i
        assert merged[f"layers.{i // 4}.w{i % 4}"] == expected


def test_name_of_a_megabyte_and_numbers_of_thousands_of_digits_are_names(bmerge, tmp_path):
    keys = ["k" * 1_000_000, f"layers.{'9' * 5000}.w", "layers.1.w", "layers.2.w"]
    for name, value in (("a", 1.0), ("b", 3.0)):
        tensors = dict.fromkeys(keys, np.full(2, value, "f4"))
        write_checkpoint(tmp_path / f"{name}.safetensors", tensors, dtype="F32")
    out = tmp_path / "out.safetensors"
    files = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    called = bmerge("merge", "weighted_sum", *files, "--alpha", "0.5", "-o", out)
    assert called.status == 0, called.err
    assert len(called.err) < 4000
    merged = read_checkpoint(out)
    assert list(merged) == keys
    assert all((array == 2).all() for array in merged.values())


@pytest.mark.skipif(sys.platform != "linux", reason="names that are no text")
@pytest.mark.parametrize("form", ["one", "shards", "ckpt"])
def test_names_that_are_not_utf_8_are_merged(bmerge, tmp_path, form):
    folder = os.fsencode(tmp_path)
    files = [Path(os.fsdecode(folder + b"/" + name)) for name in (b"a\xff", b"b\xfe")]
    files = [file.with_name(file.name + ".safetensors") for file in files]
    for file, value in zip(files, (1.0, 3.0), strict=True):
        write_checkpoint(tmp_path / "x.safetensors", {"w": np.full(9, value), "v": np.ones(9)})
        (tmp_path / "x.safetensors").rename(file)
    out = files[0].with_name("out" + files[0].name)
    if form == "ckpt":
        out = out.with_suffix(".ckpt")
    size = ["--shard-size", "100"] if form == "shards" else []
    for again in ([], ["--force"]):
        called = bmerge("merge", "weighted_sum", *files, "--alpha", "0.5", *size, "-o", out, *again)
        assert called.status == 0, called.err
    index = out.with_name(out.name.removesuffix(".safetensors") + ".safetensors.index.json")
    assert index.exists() == (form == "shards")
    found = open_checkpoint(index if index.exists() else out)
    assert set(found.tensors) == {"w", "v"}
    assert "a\\udcff.safetensors" in " ".join(found.metadata.values())
    assert bmerge("inspect", out if not index.exists() else index).status == 0


def test_explain_says_how_a_merge_was_done(bmerge, pair):
    files = ("a.safetensors", "b.safetensors", "-o", "out.safetensors", "--force", "--explain")
    called = bmerge("merge", "slerp", *files, "--threads", "2", "--memory", "48M", "--json")
    assert called.status == 0, called.err
    found = json.loads(called.out)["explanation"]
    assert found["jobs"] == {"merged": 2, "copied": 0, "repaired": 0}
    assert found["passes"] == {"2": 2}
    nbytes = 2 * 7 * 5 * 4
    assert found["expected"] == {"read": 2 * nbytes, "written": nbytes}
    assert found["done"] == {"read": 4 * nbytes, "written": nbytes, "copied": 0}
    assert found["processor"]["threads"] == 2
    assert found["processor"]["memory"] == 48 << 20
    assert found["reading"] is None  # too little for a choice
    text = bmerge("merge", "slerp", *files, "--threads", "2").out
    assert "2 over the inputs of 2 tensors" in text
    assert f"2 threads, {found['processor']['vectors']} vectors" in text


def test_explain_needs_a_merge(bmerge, pair):
    files = ("a.safetensors", "b.safetensors", "-o", "out.safetensors")
    called = bmerge("merge", "weighted_sum", *files, "--explain", "--dry-run")
    assert called.status == 2
    assert "--dry-run merges nothing" in called.err


@pytest.mark.parametrize(
    ("faster", "text"), [("read", "by reads: 0.200"), ("mmap", "by maps: 0.200")]
)
def test_explain_names_the_ways_that_were_measured(plain_plan, capsys, faster, text):
    reading, writing = Reading(faster, 0.2, 0.3), Writing(1 << 18, 0.1, 0.4)
    report = ExecutionReport("native", (), 4, 2, 0, (), reading, writing, Processor(2, "avx2", 64))
    show_explanation(explanation(plain_plan, report))
    told = capsys.readouterr().out
    assert text in told
    assert "in calls of 262 kB: 0.100 ns per byte by large ones" in told


@pytest.fixture
def plain_plan(pair):
    """A weighted sum of the pair."""
    files = ("a.safetensors", "b.safetensors")
    return plan_of_method("weighted_sum", files, load_registry(), values={}, changes={})
