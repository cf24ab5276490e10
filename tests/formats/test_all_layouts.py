"""Every model that is known, in any layout and under any prefix, beside itself in any other.

At their true shapes, without weights: what each tensor is made of has to be the same bytes of the
model as when one converts it first. That layouts themselves are right, other tests have from the
functions of diffusers and the classes of ComfyUI.
"""

from __future__ import annotations

import gzip
import itertools
import json
from bisect import bisect_right
from functools import cache
from pathlib import Path

import pytest

from bmerge.architectures import builtin, detect
from bmerge.formats.one_layout import in_one_layout
from bmerge.formats.prefixes import parted
from comfyui import LAYOUTS, shapes_of, table_of
from ranges import Written, forms_of, ranges_of, without_prefix

DATA = Path(__file__).parents[1] / "data" / "layouts.json.gz"
PREFIXES = ("", "model.diffusion_model.", "net.", "transformer.")
PICTURES = ("model.diffusion_model.", "net.", "model.", "")
TEXT = ("d_clip_l", "d_clip_g", "d_t5xxl", "llama3_8b", "qwen2_7b", "d_vae")


@cache
def public():
    return json.loads(gzip.decompress(DATA.read_bytes()))


APART = ("sd_x4", "stable_audio1")
"""Attention is in other levels of the published x4 upscaler than in this one; and names of Stable
Audio begin with what is a prefix of others, so it merges under one prefix alone."""
MODELS = [name for name in LAYOUTS if not name.startswith("vae_") and name not in APART]
MODELS += [f"public {name}" for name in public() if name not in TEXT]


def forms(name):
    """Return layout → the picture model of a layout's name, all made of one file."""
    if not name.startswith("public "):
        return forms_of(table_of(shapes_of(name)))
    entries = public()[name.removeprefix("public ")]
    table = table_of({key: tuple(shape) for key, _, shape in entries})
    parts = parted(table)
    return forms_of(without_prefix(table, next(start for start in PICTURES if start in parts)))


def assert_as_converted(known, here, prefix, there, other):
    """Check a file that goes by another one: its tensors are those of a converted model."""
    lead = Written.of("a", known[here], prefix)
    written = Written.of("b", known[there], other)
    found = in_one_layout([lead.checkpoint, written.checkpoint])[1].tensors
    has = sorted({piece for tensor in known[there].values() for piece in ranges_of(tensor)})
    begins, ends = [begin for begin, _ in has], [*itertools.accumulate((b for _, b in has), max)]
    for key, tensor in known[here].items():
        wanted = ranges_of(tensor)
        if tensor.numel and all(
            (count := bisect_right(begins, first)) and last <= ends[count - 1]
            for first, last in wanted
        ):
            assert prefix + key in found, key
            assert written.origin(found[prefix + key]) == wanted, key
            assert found[prefix + key].shape == tensor.shape, key
    assert found.keys() <= lead.checkpoint.tensors.keys()


@pytest.mark.parametrize("name", MODELS)
def test_layout_goes_by_the_next_and_its_prefix(name):
    known = forms(name)
    names = itertools.cycle(zip([*known, *known], PREFIXES, strict=False))
    for (here, prefix), (there, other) in itertools.islice(itertools.pairwise(names), 4):
        assert_as_converted(known, here, prefix, there, other)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", MODELS)
def test_any_layout_under_any_prefix_goes_by_any_other(name):
    known = forms(name)
    places = list(itertools.product(known, PREFIXES))
    for one, other in itertools.permutations(places, 2):
        assert_as_converted(known, *one, *other)


@pytest.mark.parametrize("name", MODELS)
def test_all_layouts_are_the_same_model_with_the_same_blocks(name):
    known = forms(name)
    first = next(iter(known.values()))
    architecture = detect(first, builtin())
    starts = [tensor.offset for tensor in first.values()]
    blocks = [architecture.block_of(key) for key in first]
    for layout, tensors in known.items():
        found = detect(tensors, builtin())
        assert (found.id, found.variant, found.blocks) == (
            architecture.id, architecture.variant, architecture.blocks,
        ), layout  # fmt: skip
        for key, tensor in tensors.items():
            of = {blocks[bisect_right(starts, begin) - 1] for begin, _ in ranges_of(tensor)}
            assert of == {found.block_of(key)}, (layout, key)
