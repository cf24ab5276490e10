"""What pages show in console blocks is typed as it stands there, in a folder with small models.

Environment variables of options keep the longest small. ``start.md``, ``environment.md`` and
``cli.md`` have files of their own beside this one.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bmerge.testing import read_checkpoint, tiny_sd1, write_checkpoint
from bmerge_plugins.demo import assets
from consoles import PAGES as ALL_PAGES
from consoles import ROOT, Typed, blocks, typed
from example_study import EXAMPLE, write_example_study
from loras import low_rank
from servers.fake_a1111 import FakeA1111
from servers.file_hub import FileHub

ELSEWHERE = {"start.md", "environment.md", "cli.md"}
PAGES = [page for page in ALL_PAGES if page.name not in ELSEWHERE and typed(page)]
NOT_TYPED = {
    "pip": "tests/packaging installs, into environments of its own",
    "make": "it is what runs this test; the demo takes minutes",
    "hf": "it loads gigabytes from Hugging Face",
}
PLACES = ("/data/scorers", "/fast/disk", "~/models")
SMALL = {
    "README.md": {"INIT_JUDGE": "colourfulness", "INIT_PICTURES": "1", "INIT_TRIALS": "5"},
    "bench.md": {
        "BENCH_METHODS_METHOD": "weighted_sum add_difference",
        "BENCH_METHODS_TRIALS": "2",
        "BENCH_METHODS_HELD_OUT": "1",
        "BENCH_OPTIMISERS_OPTIMISER": "random",
        "BENCH_OPTIMISERS_LANDSCAPE": "smooth",
        "BENCH_OPTIMISERS_SEEDS": "1",
        "BENCH_OPTIMISERS_PICTURES": "240",
    },
    "rate.md": {"RATE_NO_OPEN": "1"},
}
PORTRAITS = """
name: portraits
merge: {method: weighted_sum, models: [a.safetensors, b.safetensors]}
space: {alpha: {per: single}}
payloads: {prompts: [one, two, three, four, five, six, seven, eight]}
generator: {name: swatch}
scorers: [{name: person}]
optimiser: {name: random, init_points: 2, n_iters: 2}
"""
MINE = """
import bmerge_example
from bmerge import OptimiserKind, hookimpl, merge_method, Weight

@merge_method
def mine(a, b, *, alpha: Weight = 0.5):
    \"\"\"a + alpha * (b - a).\"\"\"
    return a + alpha * (b - a)

@hookimpl
def bmerge_merge_methods():
    return [mine]

@hookimpl
def bmerge_optimisers():
    return [OptimiserKind("mine", bmerge_example.Walk, "walks")]
"""


def _write_loras(folder: Path) -> None:
    rng = np.random.default_rng(1)
    shape = read_checkpoint(folder / "a.safetensors")[f"{_LAYER}.weight"].shape
    for name in "xy":
        parts, _ = low_rank(rng, shape, rank=2)
        key = "lora_unet_" + _LAYER.removeprefix("model.diffusion_model.").replace(".", "_")
        tensors = {f"{key}.{role}": array for role, array in parts.items()}
        write_checkpoint(folder / f"{name}.safetensors", tensors)


_LAYER = "model.diffusion_model.input_blocks.1.1.proj_in"


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """Every model and LoRA that a page names."""
    folder = tmp_path_factory.mktemp("models")
    names = ("a", "b", "c", "base", "tuned", "p", "q", "model", "sd15")
    for seed, name in enumerate(names):
        tiny_sd1(folder / f"{name}.safetensors", seed)
    _write_loras(folder)
    return folder


@pytest.fixture
def here(models, tmp_path, monkeypatch, bmerge):
    """The models in the current folder, with merges of them; a web UI and a hub that answer."""
    folder = tmp_path / "here"
    shutil.copytree(models, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("BMERGE_SCORER_MODELS", str(tmp_path / "none"))
    for child, parents in {"merged": "ab", "child": "pq"}.items():
        names = [f"{name}.safetensors" for name in parents]
        called = bmerge("merge", "weighted_sum", *names, "-o", f"{child}.safetensors")
        assert called.status == 0, called.err
    scanned = tmp_path / "webui"
    scanned.mkdir()
    tiny_sd1(scanned / "resident.safetensors", 9)
    with FakeA1111(scanned) as server, FileHub(b"weights" * 100) as hub:
        monkeypatch.setenv("BMERGE_INIT_ADDRESS", server.url)
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield folder


def _prepare(page: Path, here: Path) -> None:
    """Write the files that the page shows, and the studies that it speaks of."""
    for text in (*blocks(page, "python"), *blocks(page, "yaml")):
        if named := re.match(r"# (\S+\.(?:py|yaml))\n", text):
            (here / named[1]).write_text(text)
        elif "@merge_method" in text:
            (here / "halves.py").write_text(text)
    if page.name == "bench.md":
        text = write_example_study(here).read_text()
        (here / "study.yaml").write_text(f"plugins: [{EXAMPLE}]\n{text}")
        shutil.copy(here / "a.safetensors", here / "base.safetensors")
        (here / "mine.py").write_text(
            f"import sys\nsys.path.append({str(EXAMPLE.parent)!r})\n{MINE}"
        )
    if page.name == "rebasin.md":  # it has to know the widths
        for name, demo in {"a": "shapes", "b": "colours"}.items():
            shutil.copy(assets.path(demo), here / f"{name}.safetensors")
    if page.name == "rate.md":
        (here / "study.yaml").write_text(f"plugins: [{EXAMPLE}]\n{PORTRAITS}")


@pytest.fixture
def start():
    """Start a command that does not end by itself; return what it says up to the answer's end."""
    started = []

    def start(entry: Typed) -> str:
        command = [sys.executable, "-m", "bmerge", *entry.split()[1][1:]]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdout=pipe, stderr=subprocess.STDOUT, text=True)
        started.append(process)
        said = ""
        while not entry.is_answered(said):
            line = process.stdout.readline()
            assert line, (entry.text, said)
            said += line
        return said

    yield start
    for process in started:
        process.terminate()
        process.communicate()


def _type(entry: Typed, bmerge, monkeypatch, here: Path) -> str:
    variables, words = entry.split()
    if words[0] == "export":
        variables |= dict(word.split("=", 1) for word in words[1:])
    for name, value in variables.items():
        monkeypatch.setenv(name, _at(here, value))
    if words[0] == "export":
        return ""
    assert words[0] == "bmerge", entry.text
    called = bmerge(*(_at(here, word) for word in words[1:]))
    assert called.status == 0, (entry.text, called.err)
    return called.out + called.err


def _at(here: Path, word: str) -> str:
    """Move what lies at one of the pages' places below the test's folder."""
    return str(here / word.lstrip("~/")) if word in PLACES else word


def _case(page: Path):
    """Return a page as a test's case; that of the benchmarks paints with the demo's models."""
    slow = (pytest.mark.slow, pytest.mark.timeout(1200)) if page.name == "bench.md" else ()
    return pytest.param(page, id=page.stem, marks=slow)


@pytest.mark.parametrize("page", [_case(page) for page in PAGES])
def test_commands_of_the_page_work(page, here, bmerge, start, monkeypatch):
    for name, value in SMALL.get(page.name, {}).items():
        monkeypatch.setenv(f"BMERGE_{name}", value)
    for place in PLACES:
        (here / place.lstrip("~/")).mkdir(parents=True)
    _prepare(page, here)
    for entry in typed(page):
        if entry.split()[1][0] in NOT_TYPED:
            continue
        waits = page.name == "rate.md"
        said = start(entry) if waits else _type(entry, bmerge, monkeypatch, here)
        assert entry.is_answered(said), (entry.text, said)


def test_what_is_typed_stands_in_console_blocks():
    for page in ALL_PAGES:
        for text in blocks(page, ""):
            assert not re.search(r"^(\$ )?bmerge ", text, re.MULTILINE), page.name


def test_python_of_the_readme_works(here, bmerge, monkeypatch):
    """The first block, after ``bmerge init``; the second is the plugin of a console block."""
    for name, value in SMALL["README.md"].items():
        monkeypatch.setenv(f"BMERGE_{name}", value)
    assert bmerge("init", "a.safetensors", "b.safetensors").status == 0
    first, plugin = blocks(ROOT / "README.md", "python")
    names: dict[str, object] = {}
    exec(compile(first.replace("trials=40", "trials=5"), "README.md", "exec"), names)
    assert len(names["table"]) == 5
    assert (here / "ab.safetensors").exists()
    assert "@merge_method" in plugin


def test_python_blocks_of_other_pages_are_run_by_tests_of_their_own():
    with_python = {page.name for page in ALL_PAGES if blocks(page, "python")}
    assert with_python == {"README.md", "python.md", "plugins.md"}
    named = [block.startswith("# ") for block in blocks(ROOT / "docs" / "plugins.md", "python")]
    assert all(named), "test_plugins.py takes blocks by their file's name"
