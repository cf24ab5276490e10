"""Options as data: a group is declared once, and whatever shows or reads it follows."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import click
import pytest

import bmerge
from bmerge import About, GeneratorKind, OptionGroup, PluginError, load_registry, option, unfolded
from bmerge.cli.executor import executor_options
from bmerge.executors import ExecutorKeywords, ExecutorOptions
from bmerge.options import meanings_of
from bmerge.options.about import about
from bmerge.schema import study_schema
from bmerge.study_file.executor import key_of, read_executor

ROOT = Path(__file__).parents[1]
EXECUTOR = ExecutorOptions.annotations()


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed(OptionGroup):
    """How fast something goes."""

    pace: float = option(1.0, "steps per second", above=0, incidental=True)
    gait: Literal["walk", "trot"] = option("walk", "how it moves")
    room: int | None = option(None, "memory that it may take", size=True)
    token: str = option("", "who asks", secret=True)


@unfolded
def make(*, name: str = "x", speed: Speed = Speed(pace=2.0), many: int = 1):
    """Make it.

    Args:
        name: what it is called,
            in full.
        speed: how fast
            it goes.
        many: how many of them.
    """
    return name, speed, many


KIND = GeneratorKind("horse", make, "a horse", incidental=("name",))


def test_group_is_unfolded_into_signature_and_docstring():
    assert str(inspect.signature(make)).count("pace") == 1
    assert [o.name for o in KIND.options] == ["name", "pace", "gait", "room", "token", "many"]
    types = {o.name: (o.type, o.default) for o in KIND.options}
    assert types["pace"] == ("float", 2.0)
    assert types["room"] == ("int | None", None)
    assert meanings_of(make) == {
        "name": "what it is called, in full.",
        "pace": "steps per second.",
        "gait": "how it moves.",
        "room": "memory that it may take.",
        "token": "who asks.",
        "many": "how many of them.",
    }


def test_options_are_given_by_name_or_as_a_group():
    assert make() == ("x", Speed(pace=2.0), 1)
    assert make(pace=3.0, many=2) == ("x", Speed(pace=3.0), 2)
    assert make(speed=Speed(gait="trot"), room="2K")[1] == Speed(gait="trot", room=2048)
    with pytest.raises(TypeError, match="unexpected keyword argument 'pce'"):
        make(pce=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pace": 0}, "must be above 0, not 0"),
        ({"pace": "fast"}, "must be a number, not text"),
        ({"gait": "fly"}, "must be one of 'walk', 'trot', not 'fly'"),
        ({"room": "much"}, "must be a size such as 512M or 4G, not 'much'"),
    ],
)
def test_values_are_checked_in_a_file_and_in_python(options, message):
    with pytest.raises(PluginError, match=message):
        KIND.check(options)
    with pytest.raises(PluginError, match=message):
        Speed(**options)


def test_what_changes_nothing_and_what_is_secret_is_kept_apart():
    assert KIND.without_effect() == {"name", "pace"}
    assert KIND.essentials({"gait": "trot"}).keys() == {"gait", "room", "token", "many"}
    assert "hush" not in repr(Speed(token="hush"))


def test_plain_signature_goes_on_and_may_say_the_same():
    def plain(*, pace: Annotated[float, About("steps", above=0, incidental=True)] = 1.0, other=2):
        return pace, other

    kind = GeneratorKind("plain", plain, "", incidental=("other",))
    assert kind.without_effect() == {"pace", "other"}
    kind.check({"pace": 0.5})
    with pytest.raises(PluginError, match="'pace' of plain must be above 0, not -1"):
        kind.check({"pace": -1})


@pytest.mark.parametrize("name", EXECUTOR)
def test_option_of_executors_is_declared_in_one_place(name):
    """All that offers it takes it from there; only the page's sentence is written by hand."""

    @click.command()
    @executor_options
    def command(where):
        return where

    (shown,) = (p for p in command.params if p.name == name)
    assert shown.help == about(EXECUTOR[name]).help
    key = study_schema(load_registry())["properties"]["executor"]["properties"][key_of(name)]
    assert key["description"] == shown.help
    assert name in inspect.signature(bmerge.merge).parameters
    assert name in ExecutorKeywords.__annotations__
    assert f"`{name}`" in meanings_of(bmerge.Study.run)["**where"]
    page = (ROOT / "docs" / "files.md").read_text().split("\n### executor\n")[1]
    assert re.search(rf"^\| `{key_of(name)}` \|", page, re.MULTILINE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("memory: much", "memory must be a size such as 512M or 4G, not 'much'"),
        ("threads: 0", "threads must be 1 or more, not 0"),
        ("io: maped", "io must be one of 'auto', 'read', 'mmap', not 'maped'"),
        ("threads: many", "threads must be a whole number, not text"),
        ("thread: 1", "unknown key 'thread'"),
    ],
)
def test_mistake_in_a_file_is_told_with_its_line(text, message):
    from bmerge.recipe.document import parse_document

    with pytest.raises(bmerge.RecipeError, match=message) as caught:
        read_executor(parse_document(f"\n{text}"))
    assert caught.value.line == 2


def test_what_was_asked_for_goes_before_the_file():
    asked, file = ExecutorOptions(memory="1M"), ExecutorOptions(memory="2M", threads=3)
    assert asked.or_else(file) == ExecutorOptions(memory=1 << 20, threads=3)
