"""Whatever a plugin raises, wherever it is called: one line with its file, and nothing written."""

from __future__ import annotations

import pytest

from bmerge.testing import tiny_sd1

PLUGIN = """
import os
from bmerge import Format, ScorerKind, hookimpl, merge_method, tensor_method

class Panic(BaseException):
    "What a library in Rust raises where it panics."

class Unprintable(Exception):
    def __str__(self):
        raise ValueError("no text")

def at(place):
    if place == os.environ["PLACE"]:
        raise eval(os.environ["RAISED"])

at("import")

@hookimpl
def bmerge_merge_methods():
    at("hook")
    @merge_method
    def lerp(a, b):
        "a"
        at("body")
        return (a + b) / 2
    @tensor_method
    def whole(a, b):
        "a"
        at("tensors")
        return (a + b) / 2
    return [lerp, whole]

def open_odd(path, named):
    at("format")

def lay_out_odd(path, tensors, metadata):
    at("layout")

@hookimpl
def bmerge_formats():
    return [Format("odd", frozenset({".odd"}), open_odd, lay_out_odd)]

@hookimpl
def bmerge_merge_started(plan):
    at("observer")

class Judge:
    def score(self, pictures):
        return [0.5 for _ in pictures]
    def check(self, *, paint):
        at("check")

@hookimpl
def bmerge_scorers():
    return [ScorerKind("judge", Judge, "judges")]

@hookimpl
def bmerge_commands(group):
    @group.command()
    def own():
        at("command")
"""
STUDY = """
merge: {method: weighted_sum, models: [a.safetensors, b.safetensors]}
space: {alpha: {range: [0, 1]}}
payloads: {prompts: [x], seeds: [1]}
generator: {name: demo}
scorers: [{name: judge}]
optimiser: {name: random, init_points: 1, n_iters: 1}
plugins: [odd.py]
"""
MERGE = ("merge", "lerp", "a.safetensors", "b.safetensors", "-o")
PLACES = {
    "import": (*MERGE, "out.safetensors"),
    "hook": (*MERGE, "out.safetensors"),
    "body": (*MERGE, "out.safetensors"),
    "tensors": ("merge", "whole", *MERGE[2:], "out.safetensors"),
    "format": ("convert", "c.odd", "-o", "out.safetensors"),
    "layout": (*MERGE, "out.odd"),
    "check": ("run", "study.yaml", "--out", "out.safetensors"),
}
RAISED = {
    "SystemExit(0)": "SystemExit: 0",
    "GeneratorExit()": "GeneratorExit",
    "StopIteration()": "StopIteration",
    "Panic('out of\\nrange')": "Panic: out of range",
    "Unprintable()": "Unprintable: its text cannot be told: ValueError",
}


@pytest.fixture
def failing(bmerge, tmp_path, monkeypatch):
    """Call bmerge with a plugin that raises something somewhere."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd.py").write_text(PLUGIN)
    (tmp_path / "study.yaml").write_text(STUDY)
    for seed, name in enumerate(("a.safetensors", "b.safetensors", "c.odd")):
        tiny_sd1(tmp_path / name, seed=seed)

    def call(place, raised, *arguments):
        monkeypatch.setenv("PLACE", place)
        monkeypatch.setenv("RAISED", raised)
        return bmerge(*arguments, "--plugin", "odd.py")

    return call


@pytest.mark.parametrize("raised", RAISED)
@pytest.mark.parametrize("place", PLACES)
def test_a_plugin_that_raises_anything_is_told_in_one_line(failing, tmp_path, place, raised):
    if place == "tensors":
        pytest.importorskip("torch")
    called = failing(place, raised, *PLACES[place])
    assert called.status == 1, called.err
    (told,) = [line for line in called.err.splitlines() if "odd.py" in line]
    assert RAISED[raised] in told
    assert "bug in bmerge" not in called.err
    assert not any(path.is_file() for path in tmp_path.rglob("out.*"))


@pytest.mark.parametrize("raised", RAISED)
def test_an_observer_that_raises_anything_stops_nothing(failing, tmp_path, raised):
    called = failing("observer", raised, *MERGE, "out.safetensors")
    assert called.status == 0
    assert f"failed in bmerge_merge_started: {RAISED[raised]}" in called.err
    assert (tmp_path / "out.safetensors").exists()


def test_a_command_of_a_plugin_ends_the_process_as_it_likes(failing):
    assert failing("command", "SystemExit(7)", "own").status == 7
    assert "plugin 'odd' failed: Panic" in failing("command", "Panic()", "own").err
