"""Every example is a study file whose parts exist and take the options that it gives them."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from bmerge import load_registry
from bmerge.architectures import builtin
from bmerge.study_file.load import load_study
from bmerge.testing import tiny_sd1

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


def test_merges_in_memory_are_of_the_models_given(tmp_path, capsys):
    models = [tiny_sd1(tmp_path / f"{name}.safetensors", seed) for seed, name in enumerate("ab")]
    script = Path(__file__).parents[2] / "examples" / "live_merges.py"
    runpy.run_path(str(script))["main"](*map(str, models))
    told = [float(line.split()[3]) for line in capsys.readouterr().out.splitlines()]
    a, b = (load_file(model) for model in models)
    floats = [key for key in a if a[key].dtype.kind == "f"]
    wanted = [
        np.mean(
            [np.abs((1 - x) * a[k].astype(float) + x * b[k].astype(float)).mean() for k in floats]
        )
        for x in (0, 0.5, 1)
    ]
    assert told == pytest.approx(wanted, rel=1e-2)
