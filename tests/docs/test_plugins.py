"""The examples of docs/plugins.md work as they are written."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bmerge import ops
from bmerge.host import hookspecs
from bmerge.host.manager import HOOKS

PAGE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text()


def test_page_has_one_example_of_each_kind(example_files):
    assert set(example_files) == {
        "hello.py",
        "inside.py",
        "steady.py",
        "climb.py",
        "warmth.py",
        "patch.py",
        "paced.py",
        "halves.py",
        "study.yaml",
        "test_plugins.py",
    }


def test_hello_says_what_the_page_says(bmerge, examples):
    assert bmerge("--plugin", "hello.py", "hello").out == "hello, world\n"


def test_tests_of_the_page_pass(examples):
    (examples / "conftest.py").write_text("import sys; sys.path.insert(0, '.')")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_plugins.py"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_patch_passes_the_suite_of_generators(examples):
    from bmerge import Payload, load_registry
    from bmerge.testing import check_generator

    class Model:
        def __init__(self, name):
            self.path = examples / f"{name}.safetensors"

        def into(self, state_dict):
            raise NotImplementedError

        def file(self):
            return self.path

    kind = load_registry([str(examples / "patch.py")]).generator("patch")
    payloads = [Payload(f"p{seed}", "x", seed=seed, width=24) for seed in range(3)]
    check_generator(kind.create(options={"side": 16}), [Model("a"), Model("b")], payloads)


def test_options_of_a_group_are_those_of_the_factory(examples):
    from bmerge import PluginError, load_registry

    kind = load_registry([str(examples / "paced.py")]).scorer("paced")
    assert {o.name: o.default for o in kind.options} == {"words": "", "batch": 4, "strict": 0.5}
    assert kind.create(options={"strict": 0.1}).pace.strict == 0.1
    assert kind.without_effect() == {"batch"}
    with pytest.raises(PluginError, match="'strict' of paced must be 1 or less, not 2"):
        kind.check({"strict": 2})


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented_with_its_arguments(hook):
    code = getattr(hookspecs, hook).__code__
    arguments = ", ".join(code.co_varnames[: code.co_argcount])
    assert f"| `{hook}({arguments})` |" in PAGE


@pytest.mark.parametrize("name", sorted(set(ops.__all__) - {"Axis", "Tensor"}))
def test_every_op_is_listed(name):
    table = PAGE.split("| for | `ops.` |")[1].split("\n\n")[0]
    assert re.search(rf"[`\s]{name}[`\s]", table)
