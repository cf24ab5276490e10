from __future__ import annotations

import pytest

from bmerge.architectures import (
    Architecture,
    Rule,
    builtin,
    detect,
    load_architecture,
    resolve,
)
from bmerge.errors import ArchitectureError

OURS = """
id: mine
name: My model
blocks: [BASE, L0-L1, END]
detect: ["net.layers.1."]
rules:
  "net.layers.{i}.": L{i}
  "[net.]head.": END
  "": BASE
follows: {END: BASE}
lists: {3: [L0-L1, END]}
"""


@pytest.mark.parametrize(
    ("rule", "key", "block"),
    [
        (Rule("a.{i}.", "IN{i:02}"), "a.7.w", "IN07"),
        (Rule("a.{i}.", "IN{i:02}"), "a.x.w", None),
        (Rule("a.{i}.", "IN{i:02}"), "b.a.7.w", None),
        (Rule("[p.]a.", "A"), "p.a.w", "A"),
        (Rule("[p.]a.", "A"), "a.w", "A"),
        (Rule("a.", "A"), "axw", None),
        (Rule("", "REST"), "anything", "REST"),
    ],
)
def test_rule_matches_the_start_of_a_key(rule, key, block):
    assert rule.match(key) == block


@pytest.mark.parametrize("pattern", ["a.{j}.", "a.{i}.{i}.", "a.[b", "a{"])
def test_bad_pattern_is_refused(pattern):
    with pytest.raises(ArchitectureError, match="bad key pattern"):
        Rule(pattern, "A").match("a.0.")


def test_loaded_architecture_maps_keys_and_is_detected():
    ours = load_architecture(OURS)
    keys = ["net.layers.0.w", "net.layers.1.w", "head.w", "other"]
    assert [ours.block_of(key) for key in keys] == ["L0", "L1", "END", "BASE"]
    assert detect(keys, [*builtin(), ours]) is ours
    assert ours.lists == {3: ("L0", "L1", "END")}


def test_architecture_can_be_loaded_from_a_file(tmp_path):
    (tmp_path / "a.yaml").write_text(OURS)
    assert load_architecture(tmp_path / "a.yaml") == load_architecture(OURS)


def test_block_number_that_does_not_exist_is_refused():
    with pytest.raises(ArchitectureError, match="block L7, which mine does not have"):
        load_architecture(OURS).block_of("net.layers.7.w")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1", "not a mapping"),
        ("id: [", "cannot be read"),
        ("id: x", "missing or of the wrong type: 'name'"),
        (OURS + "extra: 1", "unknown 'extra'"),
        (OURS.replace("3:", "4:"), "list of 4 names 3 blocks"),
        (OURS.replace('"": BASE', '"x": BASE'), "the last rule must have the key ''"),
        (OURS.replace("END: BASE", "END: NIX"), "no block 'NIX'"),
        (OURS.replace("[BASE, L0", "[BASE, BASE, L0"), "blocks must be some, and distinct"),
    ],
    ids=["list", "yaml", "missing", "unknown", "count", "catch-all", "follows", "twice"],
)
def test_unsound_architecture_is_refused(text, message):
    with pytest.raises(ArchitectureError, match=message):
        load_architecture(text)


def test_architectures_that_ask_for_more_are_preferred():
    def asking(name, *patterns):
        return Architecture(name, name, ("A",), (Rule("", "A"),), detect=patterns)

    known = [asking("one", "x."), asking("two", "x.", "y."), asking("also", "x.")]
    assert detect(["x.w", "y.w"], known).id == "two"
    assert detect(["x.w"], known).id == "one"


@pytest.mark.parametrize(
    ("name", "expected"), [(None, "sd1"), ("sdxl", "sdxl"), ("generic", "generic:x.2")]
)
def test_resolve_takes_the_named_or_the_detected(name, expected):
    keys = [f"model.diffusion_model.{part}_blocks.11.w" for part in ("input", "output")]
    keys += ["model.diffusion_model.middle_block.0.w"]
    if name == "generic":
        keys = ["x.0.w", "x.1.w"]
    assert resolve(name, keys, builtin()).id == expected


def test_resolve_hints_at_the_nearest_name():
    with pytest.raises(ArchitectureError, match="unknown architecture 'sdlx'") as caught:
        resolve("sdlx", ["a"], builtin())
    assert caught.value.hint == "did you mean 'sdxl'?"
