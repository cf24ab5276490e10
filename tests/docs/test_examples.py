"""Every example is a study file whose parts exist and take the options that it gives them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bmerge import load_registry
from bmerge.architectures import builtin
from bmerge.study.load import load_study

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
ARCHITECTURES = {"sdxl": "sdxl", "flux": "flux", "z_image": "z-image"}


@pytest.fixture(scope="module")
def registry():
    return load_registry()


def _blocks(name: str) -> tuple[str, ...]:
    """Return the blocks of a full-size model of an architecture."""
    (architecture,) = [each for each in builtin() if each.id == name]
    blocks = []
    for block in architecture.blocks:
        stem, has_number, _ = block.partition("{")
        blocks += [f"{stem}{i:02}" for i in range(60)] if has_number else [block]
    return tuple(blocks)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_example_names_what_there_is(file, registry):
    study = load_study(file)
    registry.method(study.merge.method).check_models(len(study.merge.models))
    registry.generator(study.generator.name).check(study.generator.options)
    registry.optimiser(study.optimiser.name).check(study.optimiser.options)
    for scorer in study.scorers:
        registry.scorer(scorer.name).check(scorer.options)
    assert study.payloads
    known = set(_blocks(ARCHITECTURES.get(file.stem, "sd1")))
    for space in study.space.values():
        named = [*space.blocks, *(b for group in space.groups.values() for b in group)]
        assert all(part in known for block in named for part in block.split("-")), named


def test_there_is_one_for_each_way_to_begin():
    kinds = {file.stem for file in EXAMPLES}
    assert kinds >= {"demo", "sd15", "sdxl", "flux", "z_image", "person", "diffusers"}
