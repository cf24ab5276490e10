"""docs/methods.md is what the methods' docstrings say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("methods_page", DOCS / "methods.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_page_is_up_to_date(script):
    written = (DOCS / "methods.md").read_text(encoding="utf-8")
    assert written == script.page(), "run `make docs`"


def test_page_has_each_method_with_all_its_parameters(script):
    sections = dict(part.split("\n", 1) for part in script.page().split("\n## ")[1:])
    for method in script.methods():
        section = sections[method.name]
        for parameter in (*method.hyperparameters, *method.options):
            assert f"- `{parameter.name}`: " in section
        assert "**Formula" in section
        assert "\nSource: " in section


def test_names_of_other_tools_lead_to_methods(script):
    known = {method.name for method in script.methods()}
    ours = {
        own or their
        for text in script.TOOLS.values()
        for their, _, own in (word.partition("=") for word in text.split())
    }
    assert ours <= known
