from __future__ import annotations

from functools import partial

from bmerge.architectures import Architecture, Outline, builtin, detect, outlines, whole
from bmerge.architectures.patterns import Contents
from bmerge.host import load_registry
from bmerge.testing.layouts import sd1_layout

KEYS = [key for key, *_ in sd1_layout("F16")]


def test_outlines_are_those_of_all_architectures():
    assert [outline.id for outline in outlines()] == [own.id for own in builtin()]
    assert tuple(map(whole, outlines())) == builtin()
    contents = Contents(KEYS)
    for outline, own in zip(outlines(), builtin(), strict=True):
        assert outline.certainty(contents) == own.certainty(contents)


def test_detection_makes_the_one_that_it_finds():
    made = []

    def noting(outline: Outline) -> Architecture:
        made.append(outline.id)
        return whole(outline)

    known = [each._replace(make=partial(noting, each)) for each in outlines()]
    assert detect(KEYS, known).id == "sd1"
    assert made == ["sd1"]


def test_registry_gives_whole_architectures():
    architectures = load_registry().architectures
    assert architectures["sdxl"] is architectures.find("sdxl")
    assert {type(each) for each in architectures.values()} == {Architecture}
    assert [each.id for each in architectures.known] == list(architectures)
