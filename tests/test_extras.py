"""The core works without what the extras bring, and whatever needs an extra names it."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bmerge import MissingExtraError, ScorerKind
from bmerge.extras import EXTRAS, as_missing_extra, install_line, require
from bmerge.testing import read_checkpoint, tiny_sd1, write_checkpoint

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PLUGINS = ROOT / "plugins" / "bmerge_plugins"


def _distribution(requirement: str) -> str:
    return re.split(r"[\[<>=]", requirement)[0].lower().replace("-", "_")


CORE = {_distribution(requirement) for requirement in PROJECT["dependencies"]}
BLOCKED = sorted(set().union(*EXTRAS.values()) - CORE)
BARE = f"import sys; sys.modules.update(dict.fromkeys({BLOCKED!r})); from bmerge.cli import main; "


def _bare(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process for which no extra is installed."""
    code = f"{BARE}main({list(arguments)!r})"
    environment = {k: v for k, v in os.environ.items() if k != "COLUMNS"}  # tables are not folded
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """A folder with two models and a study of them."""
    folder = tmp_path_factory.mktemp("models")
    for seed, name in enumerate("ab"):
        tiny_sd1(folder / f"{name}.safetensors", seed)
    (folder / "study.yaml").write_text((ROOT / "examples" / "demo.yaml").read_text())
    (folder / "demo-study").mkdir()
    (folder / "demo-study" / "study.db").write_bytes(b"")
    return folder


@pytest.mark.parametrize("extra", EXTRAS)
def test_modules_of_an_extra_are_those_of_its_distributions(extra):
    homes = importlib.metadata.packages_distributions()
    modules = {homes[module][0].lower().replace("-", "_") for module in EXTRAS[extra]}
    declared = {_distribution(r) for r in PROJECT["optional-dependencies"][extra]}
    assert modules == declared - {"pytest"}


def test_merging_and_inspecting_need_no_extra(models):
    merge = ("merge", "weighted_sum", "a.safetensors", "b.safetensors", "--alpha", "0.25")
    done = _bare(models, *merge, "-o", "mixed.safetensors")
    assert (done.returncode, "native streaming" in done.stderr) == (0, True), done.stderr
    a, b, mixed = (read_checkpoint(models / f"{n}.safetensors") for n in ("a", "b", "mixed"))
    key = next(key for key in mixed if "attn1.to_q" in key)
    np.testing.assert_allclose(mixed[key], 0.75 * a[key] + 0.25 * b[key], atol=1e-3)
    shown = json.loads(_bare(models, "inspect", "mixed.safetensors", "--json").stdout)
    assert shown["architecture"] == "sd1"


@pytest.mark.parametrize(
    ("arguments", "who", "line"),
    [
        (("run", "study.yaml"), "a study needs optuna", "'bmerge[study]'"),
        (("report", "demo-study"), "PIL", "'bmerge[study]'"),
        (("rate", "demo-study"), "starlette", "'bmerge[study]'"),
        (("lora", "extract", "a.safetensors", "b.safetensors"), "numpy", "'bmerge[lora]'"),
        (("rebasin", "a.safetensors", "b.safetensors"), "re-basin needs torch", "'bmerge[torch]'"),
        (("merge", "rotate"), "rotate needs torch and scipy", "'bmerge[torch]'"),
        (("merge", "weighted_sum", "--executor", "torch"), "the torch executor", "'bmerge[torch]'"),
    ],
    ids=["run", "report", "rate", "lora", "rebasin", "tensor method", "torch executor"],
)
def test_command_that_needs_an_extra_names_the_line_to_type(models, arguments, who, line):
    if arguments[0] in {"merge", "rebasin", "lora"}:
        files = ["a.safetensors", "b.safetensors"] if arguments[0] == "merge" else []
        arguments = (*arguments, *files, "-o", "never.safetensors")
    done = _bare(models, *arguments)
    *_, error, hint = done.stderr.splitlines()
    assert done.returncode == 1
    assert error.startswith("error: ")
    assert who in error
    assert error.endswith("installed")
    assert hint == f"hint: pip install {line}"
    assert not (models / "never.safetensors").exists()


def test_loras_are_baked_without_an_extra_and_what_needs_one_is_refused(models):
    a = read_checkpoint(models / "a.safetensors")
    key = next(key for key in a if "input_blocks.1.1" in key and "attn1.to_q" in key)
    layer = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    rng = np.random.default_rng(5)
    up, down = rng.standard_normal((a[key].shape[0], 2)), rng.standard_normal((2, a[key].shape[1]))
    alpha = {"alpha": np.array(1.0)}
    factors = {"lora_up.weight": up, "lora_down.weight": down, **alpha}
    tensors = {f"{layer}.{role}": values.astype("f4") for role, values in factors.items()}
    write_checkpoint(models / "plain.safetensors", tensors)
    rotations = rng.standard_normal((1, a[key].shape[0] // 2, 2, 2)).astype("f4")
    boft = {f"{layer}.oft_blocks": rotations - rotations.swapaxes(2, 3)}
    write_checkpoint(models / "boft.safetensors", boft)
    words = ("merge", "add_difference", "a.safetensors", "-o")
    done = _bare(models, *words, "baked.safetensors", "--lora", "plain.safetensors=0.8")
    assert done.returncode == 0, done.stderr
    baked = read_checkpoint(models / "baked.safetensors")[key]
    np.testing.assert_allclose(baked, a[key] + 0.8 * 0.5 * up @ down, atol=2e-2)
    done = _bare(models, *words, "never.safetensors", "--lora", "boft.safetensors")
    assert done.returncode == 1
    assert done.stderr.endswith("hint: pip install 'bmerge[lora]'\n")
    assert not (models / "never.safetensors").exists()


def test_what_is_not_installed_is_listed_as_such_and_stops_nothing(models):
    entries = {e["name"]: e for e in json.loads(_bare(models, "scorers", "--json").stdout)}
    assert entries["clip_score"]["missing"][:2] == ["torch", "open_clip"]
    assert entries["clip_score"]["install"] == "pip install 'bmerge[scorers]'"
    entries = {e["name"]: e for e in json.loads(_bare(models, "methods", "--json").stdout)}
    assert entries["weighted_sum"]["install"] is None
    assert entries["rotate"]["install"] == "pip install 'bmerge[torch]'"
    lines = _bare(models, "plugins").stdout.splitlines()
    assert any(re.match(r"cmaes .*NOT INSTALLED: pip install 'bmerge\[study\]'", x) for x in lines)
    assert not any("NOT WORKING" in line for line in lines)


def test_smallest_set_of_extras_is_named_and_what_is_in_none_itself():
    assert install_line(["optuna", "open_clip"]) == "pip install 'bmerge[study,scorers]'"
    assert install_line(["torch"]) == "pip install 'bmerge[torch]'"
    assert install_line(["torch", "madeup"]) == "pip install 'bmerge[torch]' madeup"


def test_plugin_that_needs_what_is_in_no_extra_says_so():
    kind = ScorerKind("odd", object, "needs what nobody has", needs=("no_such_module_at_all",))
    with pytest.raises(MissingExtraError, match="odd needs no_such_module_at_all") as caught:
        kind.check({})
    assert caught.value.hint == "pip install no_such_module_at_all"
    assert caught.value.blame == "study"


def test_failed_import_of_something_else_is_a_bug_and_no_missing_extra():
    assert as_missing_extra(ModuleNotFoundError("x", name="no_such_module_at_all")) is None
    assert as_missing_extra(ModuleNotFoundError("x", name="torch.nothing")) is None
    require(["json"], "nobody")


def _imported(file: Path) -> set[str]:
    """Return the modules of extras that a file imports, also within functions."""
    tree = ast.parse(file.read_text())
    hints = {id(n) for i in ast.walk(tree) if _is_typing(i) for b in i.body for n in ast.walk(b)}
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in hints:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found & set().union(*EXTRAS.values())


def _is_typing(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


HOOKS = {
    "methods": "bmerge_merge_methods",
    "optimisers": "bmerge_optimisers",
    "generators": "bmerge_generators",
    "scorers": "bmerge_scorers",
}


def _needs(kind: str, name: str) -> set[str]:
    """Return what the things of a plugin say that they need."""
    module = importlib.import_module(f"bmerge_plugins.{kind}.{name}")
    return {need for thing in getattr(module, HOOKS[kind])() for need in thing.needs}


def test_plugins_say_what_they_import():
    silent = {
        file.stem: unsaid
        for kind in HOOKS
        for file in (PLUGINS / kind).glob("[a-z]*.py")
        if (unsaid := _imported(file) - _needs(kind, file.stem))
    }
    assert not silent


def test_blocked_modules_are_blocked():
    code = f"{BARE}import torch"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ModuleNotFoundError" in done.stderr
