from __future__ import annotations

import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmerge.architectures import builtin
from bmerge.errors import RecipeError
from bmerge.recipe import (
    BlockWeights,
    ModelRef,
    PluginRef,
    Recipe,
    dump_recipe,
    load_recipe,
    parse_recipe,
    parse_weights,
    recipe_data,
)

SD1 = next(architecture for architecture in builtin() if architecture.id == "sd1")
TEXT = """\
method: weighted_sum
models:
  - a.safetensors
  - {path: b.safetensors, sha256: MODEL}
hyperparameters:
  alpha: {"*": 0.5, IN00: 0.25}
  beta: 1e-3
dtype: fp16
architecture: sd1
seed: 7
on_missing: error
on_nonfinite: report
clamp: ab
exclude: [M00, "*.norm*"]
prune: true
rounding: stochastic
plugins:
  - p.py
  - {path: q.py, sha256: CODE}
  - {distribution: bmerge-x, version: "1.2"}
""".replace("MODEL", "ab" * 32).replace("CODE", "cd" * 32)


def test_load_reads_every_field(tmp_path):
    file = tmp_path / "r.yaml"
    file.write_text(TEXT)
    assert load_recipe(file) == Recipe(
        method="weighted_sum",
        models=(ModelRef("a.safetensors"), ModelRef("b.safetensors", "ab" * 32)),
        hyperparameters={"alpha": BlockWeights(0.5, {"IN00": 0.25}), "beta": BlockWeights(0.001)},
        dtype="F16",
        architecture="sd1",
        seed=7,
        on_missing="error",
        on_nonfinite="report",
        clamp="ab",
        exclude=("M00", "*.norm*"),
        prune=True,
        rounding="stochastic",
        plugins=(
            PluginRef("p.py"),
            PluginRef("q.py", sha256="cd" * 32),
            PluginRef(distribution="bmerge-x", version="1.2"),
        ),
    )


def test_json_with_tabs_is_read_too():
    data = recipe_data(parse_recipe(TEXT))
    assert parse_recipe(json.dumps(data, indent="\t")) == parse_recipe(TEXT)


@pytest.mark.parametrize(
    "value",
    [
        "IN00-IN05=0.2,*=0.5",
        "GRAD_V",
        "GRAD_V:WRAP08@0.25,BASE=0.5",
        ",".join(["0.5"] * 26),
        [0.5] * 26,
        {"IN00-IN05": 1, "*": 0},
    ],
    ids=["text", "preset", "between presets", "text list", "list", "range"],
)
def test_weights_that_need_the_architecture_get_it(value):
    from bmerge.recipe import load_presets

    data = {"method": "m", "models": ["a"], "hyperparameters": {"alpha": value}}
    recipe = parse_recipe(json.dumps(data), architecture_of=lambda _: SD1)
    assert recipe.hyperparameters["alpha"] == parse_weights(value, SD1, presets=load_presets())
    named = parse_recipe(json.dumps({**data, "architecture": "sd1"}))
    assert named.hyperparameters == recipe.hyperparameters


def changed(**fields):
    return json.dumps({**recipe_data(parse_recipe(TEXT)), **fields})


@pytest.mark.parametrize(
    ("text", "line", "message", "hint"),
    [
        (TEXT.replace("dtype", "dtypo"), 8, "unknown key 'dtypo'", "did you mean 'dtype'?"),
        (TEXT.replace("path:", "paht:"), 4, "unknown key 'paht'", "did you mean 'path'?"),
        (TEXT.replace("seed: 7", "seed: x"), 10, "seed must be a whole number, not 'x'", None),
        (TEXT.replace("seed: 7", "seed: -1"), 10, "seed must be 0 or more, not -1", None),
        (TEXT.replace("seed: 7", f"seed: {1 << 64}"), 10, "seed must be below 2**64", None),
        (TEXT.replace("fp16", "fp61"), 8, "unknown dtype 'fp61'", "did you mean"),
        (TEXT.replace("error\n", "eror\n"), 11, "on_missing must be one of", "'error'?"),
        (TEXT.replace("1e-3", "lots"), 7, "beta: 'lots' is neither a number nor a preset", None),
        (TEXT.replace("IN00: 0.25", "IN00: x"), 6, "IN00 must be a number, not 'x'", None),
        (TEXT.replace("IN00: 0.25", "IN00: 1, IN00: 2"), 6, "'IN00' is given twice", None),
        (TEXT + "seed: 8\n", 21, "'seed' is given twice", None),
        (TEXT.replace("clamp: ab", "clamp: b"), 13, "clamp must be one of none, all, ab", None),
        (TEXT.replace('[M00, "*.norm*"]', "M00"), 14, "exclude must be a list, not 'M00'", None),
        (TEXT.replace("prune: true", "prune: 1"), 15, "prune must be true or false, not 1", None),
        (TEXT.replace("stochastic", "stochastik"), 16, "rounding must be one", "'stochastic'?"),
        (TEXT.replace("cd" * 32, "xyz"), 19, "sha256 must be 64 hexadecimal digits", None),
        (TEXT.replace("distribution", "dist"), 20, "unknown key 'dist'", None),
        (TEXT.replace("version:", "path:"), 20, "either a path or a distribution", None),
        (TEXT.replace("ab" * 32, "xyz"), 4, "sha256 must be 64 hexadecimal digits", None),
        (TEXT.replace("method: weighted_sum\n", ""), 1, "the recipe has no 'method'", None),
        (TEXT.replace("method: weighted_sum", "method: 3"), 1, "method must be text, not 3", None),
        ("[1]", 1, "the recipe must be a mapping, not a list", None),
        ("", 1, "the recipe is empty", None),
        ("method: [", 1, "not well-formed", None),
        ("a:\n\tb: 1", 2, "not well-formed: found character '\\t'", "indent with spaces"),
        ('a: "C:\\models"', 1, "unknown escape character 'm'", "write a path with / or in ''"),
        ('a: "C:\\users"', 1, "expected escape sequence", "write a path with / or in ''"),
        ("a: 1\n b: 2", 2, "mapping values", "begins in the same column"),
        ("a: [@b]", 1, "found character '@'", "goes in single quotes"),
        ("a: *b", 1, "undefined alias 'b'", "goes in single quotes"),
        ("a: 1\n---\na: 2", 2, "another document", "leave '---' out"),
        ("method:\n" + TEXT[TEXT.index("models") :], 1, "must be text, but it is empty", None),
        ("method: true\n" + TEXT[TEXT.index("models") :], 1, "must be text, not true", None),
        ("models: &x [1]\nmethod: *x\n", 1, "aliases (*name) are not allowed", None),
        ("a: 1\nb: " + "9" * 5000, 2, "the number 99999999999999999999… is too large", None),
        ("a: 1\nb: -1e400", 2, "the number -1e400 is too large", None),
        (TEXT + "threads: [" * 50 + "]" * 50, 21, "unknown key 'threads'", None),
        ("a: 1\nb: " + "[" * 101 + "]" * 101, 2, "nested too deeply; 100 levels", None),
        ('{"a":\n' + '{"b":' * 101 + "1" + "}" * 102, 2, "nested too deeply; 100 levels", None),
    ],
    ids=lambda value: str(value)[-25:].strip() if isinstance(value, str) else None,
)
def test_mistakes_are_named_with_file_and_line(tmp_path, text, line, message, hint):
    file = tmp_path / "r.yaml"
    file.write_text(text)
    with pytest.raises(RecipeError) as caught:
        load_recipe(file)
    assert str(caught.value).startswith(f"{file}:{line}: ")
    assert message in str(caught.value)
    assert hint is None or hint in caught.value.hint


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_text_of_windows_is_read_if_it_says_what_it_is(tmp_path, encoding):
    file = tmp_path / "r.yaml"
    marked = "\ufeff" if encoding == "utf-16-le" else ""
    file.write_bytes((marked + TEXT.replace("\n", "\r\n")).encode(encoding))
    assert load_recipe(file) == parse_recipe(TEXT)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16-le"])
def test_text_in_another_encoding_says_what_to_do(tmp_path, encoding):
    file = tmp_path / "r.yaml"
    file.write_bytes(f"# é\n{TEXT}".encode(encoding))
    with pytest.raises(RecipeError, match="r.yaml: not ") as caught:
        load_recipe(file)
    assert caught.value.hint == "an editor can save text as UTF-8"


def test_list_without_architecture_says_what_is_needed():
    text = '{"method": "m", "models": [], "hyperparameters": {"alpha": [1, 2]}}'
    with pytest.raises(RecipeError, match="need the recipe to name its architecture"):
        parse_recipe(text)


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 100_000, "- " * 100_000, "&a [*a]"])
def test_bombs_are_errors_of_their_file(tmp_path, text):
    file = tmp_path / "r.yaml"
    file.write_text(text)
    with pytest.raises(RecipeError, match=r"r\.yaml:.*(nested too deeply|aliases|well-formed)"):
        load_recipe(file)


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "long.yaml").write_text("#" * (1 << 25))
    for name, reason in (
        ("pipe.yaml", "it is a pipe or a device, not a file"),
        ("folder.yaml", "it is a folder"),
        ("long.yaml", "it is larger than 16 MiB"),
        ("a\0b.yaml", "no file can have such a name"),
        ("/dev/zero", "it is a pipe or a device, not a file"),
    ):
        with pytest.raises(RecipeError, match=reason):
            load_recipe(tmp_path / name)


@pytest.mark.parametrize(("content", "message"), [(None, "No such"), (b"\xff\xff", "not a text")])
def test_unreadable_file_is_named(tmp_path, content, message):
    file = tmp_path / "r.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(RecipeError, match=message) as caught:
        load_recipe(file)
    assert caught.value.path == file


numbers = st.floats(-1e6, 1e6) | st.integers(-5, 5).map(float)
# A key of YAML has at most 1,024 characters, and JSON writes twelve for one beyond the 16-bit ones.
words = st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=80)
weights = st.builds(
    BlockWeights,
    numbers,
    st.dictionaries(st.sampled_from(SD1.blocks), numbers, max_size=4),
    st.dictionaries(st.sampled_from(["*.bias", "*attn[12]*", "*a-b*"]), numbers, max_size=2),
)
recipes = st.builds(
    Recipe,
    method=words,
    models=st.lists(
        st.builds(ModelRef, words, st.none() | st.just("0f" * 32)), min_size=1, max_size=3
    ).map(tuple),
    hyperparameters=st.dictionaries(words, weights, max_size=2),
    dtype=st.none() | st.sampled_from(["F16", "BF16", "F8_E4M3"]),
    architecture=st.none() | words,
    seed=st.integers(0, 2**64 - 1),
    on_missing=st.sampled_from(["keep", "error"]),
    on_nonfinite=st.sampled_from(["error", "report"]),
    clamp=st.sampled_from(["none", "all", "ab"]),
    exclude=st.lists(words, max_size=2).map(tuple),
    prune=st.booleans(),
    rounding=st.sampled_from(["nearest", "stochastic"]),
    quantise=st.sampled_from(["auto", "none", "nvfp4"]),
)


@settings(max_examples=40)
@given(recipes)
def test_dumped_recipe_loads_back_equal(recipe):
    assert parse_recipe(dump_recipe(recipe)) == recipe


@settings(max_examples=40)
@given(recipes)
def test_recipe_data_loads_back_equal_through_json(recipe):
    assert parse_recipe(json.dumps(recipe_data(recipe))) == recipe


@pytest.mark.parametrize("word", ["no", "true", "1e3", "null", "0x10", "a: b", "é#", "~", " x "])
def test_words_stay_words(word):
    recipe = Recipe(word, (ModelRef(word),))
    assert parse_recipe(dump_recipe(recipe)) == recipe
