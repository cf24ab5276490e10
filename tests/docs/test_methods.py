"""docs/methods.md and docs/methods/ are what the methods' docstrings say, with their pictures."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
from PIL import Image

from bmerge import load_registry

DOCS = Path(__file__).parents[2] / "docs"
METHODS = DOCS / "methods"
MOST_BYTES = 3_000_000  # of all pictures together


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("methods_page", DOCS / "methods.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pages(script):
    return script.pages()


def test_pages_are_up_to_date(pages):
    assert {DOCS / "methods.md", *METHODS.glob("*.md")} == set(pages), "run `make docs`"
    stale = [file.name for file, text in pages.items() if file.read_text(encoding="utf-8") != text]
    assert not stale, "run `make docs`"


def test_each_page_tells_all_of_its_method(script, pages):
    for method in script.methods():
        page = pages[METHODS / f"{method.name}.md"]
        for parameter in (*method.hyperparameters, *method.options):
            assert f"- `{parameter.name}`: " in page
        assert "**Formula" in page
        assert "\nSource: " in page
        assert ("torch only" in page) == method.opaque
        assert f"]({method.name}.webp)" in page


def test_each_method_has_its_picture_and_no_other(script):
    files = {file.stem: file for file in METHODS.glob("*.webp")}
    names = {method.name for method in script.methods()}
    assert set(files) == names, "run `make docs-pictures`"
    assert sum(file.stat().st_size for file in files.values()) < MOST_BYTES
    for file in files.values():
        with Image.open(file) as image:
            image.load()
            colours = image.resize((64, 64)).getcolors(64 * 64)
        assert image.width > 500
        assert len(colours) > 500  # it is painted, not blank


def test_settings_of_the_pictures_are_of_the_methods(script):
    registry = load_registry()
    for name, numbers in script.settings().items():
        method = registry.method(name)
        assert method.name == name
        method.validate(numbers, len(method.model_names) + 2 * method.variadic)


def test_links_of_the_pages_lead_somewhere(pages):
    for file, text in pages.items():
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (file.parent / target).exists(), f"{file.name}: {target}"


def test_names_of_other_tools_lead_to_methods(script):
    known = {method.name for method in script.methods()}
    ours = {
        own or their
        for text in script.TOOLS.values()
        for their, _, own in (word.partition("=") for word in text.split())
    }
    assert ours <= known


SUPERMERGER = (
    "Weight sum", "Add difference", "Triple sum", "sum Twice", "trainDifference", "smoothAdd",
    "extract", "tensor", "tensor2", "self", "plus random", "Adjust", "cosineA", "cosineB",
)  # fmt: skip
SD_MEHS = (
    "weighted_sum", "weighted_subtraction", "tensor_sum", "add_difference", "sum_twice",
    "triple_sum", "euclidean_add_difference", "multiply_difference", "top_k_tensor_sum",
    "similarity_add_difference", "distribution_crossover", "ties_add_difference",
)  # fmt: skip
SD_MECHAS = (
    "weighted_sum", "n_average", "slerp", "add_difference", "scale", "add_perpendicular",
    "train_difference_mask", "add_opposite_mask", "add_strict_opposite_mask", "geometric_sum",
    "multiply_quotient", "add_cosine_a", "add_cosine_b", "crossover", "clamp", "tensor_sum",
    "top_k_tensor_sum", "rotate", "truncate_rank", "truncate_kronecker", "ties_sum",
    "ties_sum_extended", "ties_sum_with_dropout", "model_stock", "geometric_median", "dropout",
)  # fmt: skip
MERGEKITS = (
    "linear", "slerp", "nuslerp", "multislerp", "karcher", "task_arithmetic", "ties",
    "dare_linear", "dare_ties", "della", "della_linear", "breadcrumbs", "breadcrumbs_ties",
    "model_stock", "sce", "nearswap", "arcee_fusion", "passthrough", "ram", "ramplus_tl",
)  # fmt: skip


@pytest.mark.parametrize(
    ("tool", "theirs"),
    [
        ("supermerger", SUPERMERGER),
        ("sd-meh", SD_MEHS),
        ("sd-mecha", SD_MECHAS),
        ("mergekit", MERGEKITS),
    ],
)
def test_every_method_of_another_tool_has_its_counterpart(script, pages, tool, theirs):
    named = {word.partition("=")[0].replace("~", " ") for word in script.TOOLS[tool].split()}
    assert not set(theirs) - named
    assert f"- **{tool}**: " in pages[DOCS / "methods.md"]
